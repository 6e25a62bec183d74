"""A run from end to end on a tiny model: trained, found by its name, stale when a prompt changes, forgotten."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from agent.ask import outdated, template_of
from agent.errors import SetupError, UsageError
from agent.llm import weights
from agent.llm.adapters import About, about, drop_learned, run_folder, write
from agent.llm.connect import adapter_of
from agent.llm.files import sha256
from agent.settings import Settings
from agent.training import session
from agent.training.learning import Recipe
from agent.training.session import Order
from agent.types import Event, Item
from agent.wiring import Rapport, open_model

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="training needs PyTorch")


@pytest.fixture
def settings(tiny: Path, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", cache=tmp_path / "cache", llm=f"gguf:{tiny}", embedder="hashing")


def order(tiny: Path) -> Order:
    return Order(
        ("reading",),
        "mine",
        f"gguf:{tiny}",
        count=20,
        held=6,
        measured=6,
        recipe=Recipe(rank=2, alpha=4.0, epochs=1, pack_tokens=1200, pack_examples=8, check_every=2),
    )


@needs_torch
def test_from_examples_to_a_model_that_answers(tiny, settings):
    told: list[str] = []
    with Rapport(settings) as rapport:
        report = session.train(rapport, order(tiny), told.append)
    assert report.difference < 0.05
    assert report.course.best is not None
    assert report.course.best.unseen < report.before_loss
    assert report.before is not None
    assert report.after is not None
    assert {one.prompt for one in report.after.chosen} <= {"sentiment", "opinion", "intent"}
    assert report.curve.read_text().startswith("<svg")
    assert json.loads((run_folder(settings.adapters_folder, "mine") / "report.json").read_text())["difference"] < 0.05
    assert any("tokens a second" in line for line in told)
    known = about(report.adapter)
    assert known.skill == "reading"
    assert known.base == sha256(tiny)
    assert outdated(known.prompts) == []
    assert not known.histories
    with Rapport(settings) as rapport:
        # The run is done: again it learns nothing more, and says the same.
        again = session.train(rapport, order(tiny), told.append)
    assert again.course.step == report.course.step
    assert again.course.points == report.course.points
    named = settings.model_copy(update={"llm": f"gguf:{tiny}+mine"})
    llm = open_model(named)
    try:
        assert "+mine" in llm.name
        assert llm.generate([session.reading.examples(1, 1, 0).training[0].chat()], max_tokens=4)
    finally:
        llm.close()  # type: ignore[attr-defined]


@needs_torch
def test_an_estimate_writes_nothing(tiny, settings):
    with Rapport(settings) as rapport:
        foretold = session.foretell(rapport, order(tiny))
    assert foretold.steps > 0
    assert foretold.peak_bytes > 0
    assert not settings.adapters_folder.exists()


def test_names_and_bases_that_are_none(tiny, settings):
    with Rapport(settings) as rapport:
        with pytest.raises(UsageError, match="names no adapter"):
            session.gathered(rapport, Order(("reading",), "../up"))
        with pytest.raises(UsageError, match="too little history"):
            session.gathered(rapport, Order(("judging",), "judge"))
    with pytest.raises(SetupError, match="no model that runs here"):
        weights.base("openai:gpt")


def test_a_prompt_that_changed_makes_an_adapter_stale():
    here = template_of("sentiment", "en").id
    assert outdated([here]) == []
    old = ["sentiment.en@1-00000000", "nothing.en@1-0"]
    assert outdated([here, *old]) == old


def test_a_stale_adapter_says_so_when_it_is_opened(tiny, settings, caplog):
    write_empty(settings, "old", tiny, prompts=("sentiment.en@1-00000000",))
    llm = open_model(settings.model_copy(update={"llm": f"gguf:{tiny}+old"}))
    llm.close()  # type: ignore[attr-defined]
    assert "stale: sentiment.en@1-00000000 changed since" in caplog.text


def test_which_adapter_a_spec_names(tiny, settings):
    write_empty(settings, "mine", tiny)
    folder = settings.adapters_folder
    assert adapter_of("builtin", folder) is None
    assert adapter_of(f"gguf:{tiny}", folder) is None
    assert adapter_of("openai:model+name", folder) is None
    assert adapter_of("builtin+mine", folder) == folder / "mine.gguf"
    with pytest.raises(SetupError, match="there are mine"):
        adapter_of("builtin+other", folder)


def test_who_is_forgotten_takes_along_what_was_learned_from_histories(tiny, settings):
    write_empty(settings, "judge", tiny, histories=True)
    write_empty(settings, "words", tiny)
    run_folder(settings.adapters_folder, "judge").mkdir()
    settings.cache.mkdir()
    kept, gone = settings.cache / "tiny+words.F16-0.gguf", settings.cache / "tiny+judge.F16-0.gguf"
    for path in (kept, gone):
        path.touch()
    assert drop_learned(settings.adapters_folder, settings.cache) == ["judge"]
    assert sorted(path.name for path in settings.adapters_folder.iterdir()) == ["words.gguf"]
    assert [path.name for path in settings.cache.iterdir()] == [kept.name]


def test_forgetting_a_person_does_that_and_keeps_what_was_made_up(tiny, settings):
    write_empty(settings, "judge", tiny, histories=True)
    write_empty(settings, "words", tiny)
    with Rapport(settings.model_copy(update={"llm": "none"})) as rapport:
        rapport.store.add_items([Item("a", "A Tale")])
        rapport.store.add_events([Event(1, "ann", "a", "like")])
        rapport.forget("ann")
    assert [path.name for path in settings.adapters_folder.glob("*.gguf")] == ["words.gguf"]


def write_empty(settings: Settings, name: str, base: Path, *, prompts=(), histories: bool = False) -> None:
    tensors = {
        "blk.0.attn_q.weight.lora_a": np.zeros((2, 64), np.float32),
        "blk.0.attn_q.weight.lora_b": np.zeros((64, 2), np.float32),
    }
    about = About("reading", sha256(base), tuple(prompts), 4.0, 2, histories=histories)
    write(settings.adapters_folder / f"{name}.gguf", tensors, about)
