from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from agent.history.store import ItemStats
from agent.recommend.fusion import Fusion
from agent.recommend.gate import BUCKETS
from agent.types import Event
from eval.fusion import CUTS, WEIGHTS, Case, best, run, share, split
from eval.gate import without
from eval.movielens import FOLDER
from tests.eval.test_board_a import PEOPLE, walks, write

START = datetime(2026, 1, 1, tzinfo=UTC)


def rated(item: str, stars: float, day: int) -> Event:
    return Event(day + 1, "ann", item, "rating", stars, at=START + timedelta(days=day))


HISTORY = [rated("a", 5, 0), rated("b", 4, 1), rated("c", 5, 2), rated("d", 1, 3)]


@pytest.mark.parametrize(
    ("counts", "shown", "hidden", "dropped"), [("had", "abc", "d", "d"), ("liked", "ab", "c", "cd")]
)
def test_a_history_is_cut_before_its_last_item(counts, shown, hidden, dropped):
    found = split(HISTORY, counts)
    assert found is not None
    assert ("".join(one.item for one in found.shown), found.hidden) == (shown, hidden)
    assert "".join(one.item for one in found.dropped) == dropped


def test_nothing_of_the_hidden_item_is_shown():
    found = split([rated("d", 5, 0), *HISTORY], "had")
    assert found is not None
    assert "d" not in {one.item for one in found.shown}


@pytest.mark.parametrize("events", [[], HISTORY[:1]])
def test_a_history_of_one_item_has_nothing_to_ask_with(events):
    assert split(events, "had") is None
    assert split(events, "liked") is None


def test_popularity_without_what_was_taken_off():
    stats = {"c": ItemStats(3, 2, 4.0), "d": ItemStats(1, 0, 1.0), "e": ItemStats(2, 2, 5.0)}
    found = without(stats, [rated("c", 5, 0), rated("d", 1, 1)])
    assert {id: (one.events, one.positive) for id, one in found.items()} == {"c": (2, 1), "e": (2, 2)}


def case(person: int, good: float, items: int = 10) -> Case:
    """Hidden item first under the weight `good`, else nowhere."""
    return Case(person, items, tuple(1.0 if weight == good else np.inf for weight in WEIGHTS), np.inf)


def test_the_weight_is_the_best_and_its_worth_is_told_by_others():
    found = share([*(case(person, 8.0) for person in range(9)), case(9, 2.0)], 6, 20)
    assert (found.weight, found.cases, found.alone) == (8.0, 10, 0.0)
    assert (found.ndcg, found.without) == (0.9, 0.0)
    assert 0.5 < found.low < 0.9 < found.high
    assert dict(found.curve) == {weight: {8.0: 0.9, 2.0: 0.1}.get(weight, 0.0) for weight in WEIGHTS}


def test_what_only_the_person_themselves_speaks_for_is_not_told():
    """One person likes a weight that nobody else does: the choice of the others does not find it for them."""
    found = share([case(0, 32.0)], 6, 20)
    assert (found.weight, found.ndcg) == (32.0, 0.0)


def test_of_equals_the_smallest_and_nothing_without_cases():
    assert WEIGHTS[best(np.zeros((3, len(WEIGHTS))))] == 0.0
    empty = share([case(1, 8.0)], 21, 100)
    assert (empty.weight, empty.cases, empty.ndcg) == (0.0, 0, 0.0)


def test_weights_are_fitted_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setenv("RAPPORT_EMBEDDER", "hashing")
    write(tmp_path / FOLDER, walks())
    found = Fusion.model_validate_json(json.dumps(run(tmp_path, None, PEOPLE)))
    assert "; had, " in found.data
    assert [(one.at_least, one.at_most) for one in found.shares] == list(BUCKETS)
    assert sum(one.cases for one in found.shares) == PEOPLE * len(CUTS)
    # What follows what is all that these people have in common.
    assert all(one.ndcg > one.without for one in found.shares if one.cases)


def test_last_events_are_not_needed_to_ask(tmp_path, monkeypatch):
    """Another last film of everybody, which is what board A holds out: the same weights and figures."""
    monkeypatch.setenv("RAPPORT_EMBEDDER", "hashing")
    one, other = walks(), walks()
    for user in other:
        other[user][-1] = next(film for film in range(1, 31) if film not in one[user])
    results = []
    for name, histories in (("a", one), ("b", other)):
        write(tmp_path / name / FOLDER, histories)
        results.append(replace_time(Fusion.model_validate_json(json.dumps(run(tmp_path / name, None, 20)))))
    assert results[0] == results[1]


def replace_time(fusion):
    return fusion.model_copy(update={"measured_at": None})
