"""Training for real: the built-in model learns judging from the bundled sample, in a few minutes on two cores."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from agent import demo
from agent.settings import load
from agent.training import session
from agent.training.learning import Recipe
from agent.training.parity import TOLERANCE
from agent.wiring import open_rapport


@pytest.mark.long
@pytest.mark.model
@pytest.mark.skipif(find_spec("torch") is None, reason="training needs PyTorch")
def test_the_built_in_model_learns_judging_from_the_bundled_sample(tmp_path):
    settings = load(home=tmp_path / "home", llm="none", domain="film")
    with open_rapport(settings=settings) as rapport:
        demo.prepare(rapport)
        order = session.Order(
            ("judging",),
            "judge",
            count=60,
            held=12,
            minutes=4.0,
            measured=8,
            recipe=Recipe(rank=8, alpha=16.0, epochs=3, check_every=4),
        )
        told: list[str] = []
        report = session.train(rapport, order, told.append)
    assert report.difference < TOLERANCE
    assert report.course.best is not None
    # Few people, few steps: what is learned is which letters may be said, and that they are said at all.
    assert report.course.best.unseen < report.before_loss
    assert report.after is not None
    assert report.after.chosen[0].asked > 0
    assert any("GiB of memory" in line for line in told)
    answering = settings.model_copy(update={"llm": "builtin+judge"})
    with open_rapport(settings=answering) as rapport:
        assert rapport.llm.name.startswith("SmolLM2-135M-Instruct+writer+judge.")
        assert rapport.recommend("mara", 3).items
