"""The engine `ray` on a real local Ray: the table of jobs decides, Ray only spreads the work."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from agent import sample
from agent.batch.budget import Budget, Limits
from agent.batch.cluster import cluster, tag_on_ray
from agent.batch.runner import Order
from agent.errors import SetupError, UsageError
from agent.settings import Settings
from agent.wiring import open_rapport


def filled(home):
    rapport = open_rapport(settings=Settings(home=home, llm="none", embedder="hashing"))
    rapport.store.add_items(sample.films())
    rapport.store.add_events(sample.events())
    return rapport


def test_a_budget_is_refused_before_anything_starts(tmp_path):
    with filled(tmp_path) as rapport, pytest.raises(UsageError, match="not shared between machines"):
        tag_on_ray(rapport, Order(budget=Budget(None, Limits(tokens=1))))


def test_without_ray_the_message_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SetupError, match="ray"), cluster(Settings(home=tmp_path)):
        pytest.fail("there is no Ray")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # Ray's own, of several libraries
def test_everybody_is_tagged_once_and_a_second_run_finds_nothing_to_do(tmp_path):
    pytest.importorskip("ray")
    with filled(tmp_path / "home") as rapport:
        people = rapport.store.users()
        seen = []
        first = tag_on_ray(rapport, Order(progress=seen.append))
        assert (first.tagged, first.unchanged, first.remaining, first.failures) == (len(people), 0, 0, ())
        assert seen
        assert seen[-1].done == len(people)
        assert [len(rapport.store.profile_history(user)) for user in people] == [1] * len(people)
        second = tag_on_ray(rapport, replace(Order(), users=people))
        assert (second.tagged, second.unchanged) == (0, len(people))
