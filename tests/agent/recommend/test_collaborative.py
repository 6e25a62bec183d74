from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.recommend import collaborative
from agent.recommend.collaborative import (
    FAINT,
    TOGETHER,
    CollaborativeConfig,
    Taken,
    aged,
    apart,
    ease,
    largest,
    nearness,
    sequel,
    taken,
    together,
    train,
)
from agent.types import Event, EventKind

START = datetime(2026, 1, 1, tzinfo=UTC)
SMALL = CollaborativeConfig(fewest_people=2, ridge=1.0, sequel_ridge=1.0)


def event(item: str, kind: EventKind = "rating", value: float | None = 5.0, day: int | None = 0) -> Event:
    return Event(0, "ann", item, kind, value, at=None if day is None else START + timedelta(days=day))


def rows(*histories: list[int]) -> list[np.ndarray]:
    return [np.array(one, np.intp) for one in histories]


def people(*histories: str, dated: bool = True) -> list[Taken]:
    """ "abc" is somebody who took a, then b, then c."""
    return [Taken(tuple(one), len(one) if dated else 0) for one in histories]


# what counts


def test_a_history_is_every_item_once_at_its_last_event():
    events = [event("x", day=None), event("a", day=1), event("b", day=2), event("a", day=3)]
    assert taken(events, "liked") == Taken(("x", "b", "a"), 2)


def test_an_undated_item_that_comes_again_with_a_date_has_a_place():
    assert taken([event("a", day=None), event("b", day=None), event("a", day=1)], "had") == Taken(("b", "a"), 1)


@pytest.mark.parametrize(
    ("one", "liked", "had"),
    [
        (event("a", value=5.0), True, True),
        (event("a", value=3.5), True, True),
        (event("a", value=1.0), False, True),
        (event("a", "dislike", None), False, True),
        (event("a", "skip", None), False, True),
        (event("a", "view", None), True, True),
        (event("a", "purchase", None), True, True),
        (event("a", "search", None), False, False),
        (event("", "search", None), False, False),
    ],
)
def test_what_is_disliked_counts_only_where_everything_does(one, liked, had):
    others = [event("z", value=3.5), one]
    assert ("a" in taken(others, "liked").items) == liked
    assert ("a" in taken(others, "had").items) == had


def test_the_last_word_on_an_item_counts():
    assert taken([event("a", value=5.0, day=1), event("a", value=1.0, day=2)], "liked").items == ()


# the three matrices


def test_together_counts_people():
    assert together(rows([0, 1], [0, 1, 2], [2]), 3).tolist() == [[2, 2, 1], [2, 2, 1], [1, 1, 2]]


def test_ease_is_the_regression_of_each_item_on_the_others():
    """Column j of B solves the ridge regression of item j on all other items: computed here one by one."""
    generator = np.random.default_rng(0)
    x = (generator.random((40, 7)) < 0.4).astype(np.float64)
    found = ease((x.T @ x).astype(np.float32), 3.0)
    for j in range(7):
        others = [at for at in range(7) if at != j]
        a = x[:, others]
        wanted = np.linalg.solve(a.T @ a + 3.0 * np.eye(6), a.T @ x[:, j])
        assert found[others, j] == pytest.approx(wanted, abs=1e-4)
        assert found[j, j] == 0


def test_nearness_by_hand():
    config = CollaborativeConfig(near_window=2, damping=1.0)
    found = nearness(rows([0, 1, 2], [2, 0]), np.array([2, 1, 2], np.float32), config)
    # 0 and 2: two apart, then next to each other the other way round; (2 + 1) people each.
    assert found[0] == pytest.approx([0, 1 / (3 * 2) ** 0.5, (1 / 2 + 1) / 3])
    assert found == pytest.approx(found.T)
    assert not np.diag(found).any()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), unique=True), max_size=6), st.lists(st.floats(0, 2), max_size=4))
def test_pairs_apart_are_those_of_a_double_loop(histories, weights):
    wanted = np.zeros((6, 6))
    for one in histories:
        for first in range(len(one)):
            for second in range(first, len(one)):
                if second - first < len(weights):
                    wanted[one[first], one[second]] += weights[second - first]
    assert apart(rows(*histories), 6, weights) == pytest.approx(wanted, abs=1e-5)


def test_sequel_is_the_regression_on_the_decayed_history():
    """The states of every history written out one after the other, and the normal equations solved directly."""
    histories, config = rows([0, 1, 2, 3], [3, 1, 4], [2, 4, 0, 1]), CollaborativeConfig(sequel_decay=0.6, window=2)
    before, after = np.zeros((5, 5)), np.zeros((5, 5))
    for one in histories:
        state = np.zeros(5)
        for at in range(60):  # goes on long after the end
            state = 0.6 * state
            if at < len(one):
                state[one[at]] += 1
            before += np.outer(state, state)
            for ahead in (1, 2):
                if at + ahead < len(one):
                    after[:, one[at + ahead]] += state / ahead
    wanted = np.linalg.solve(before + config.sequel_ridge * np.eye(5), after)
    assert sequel(histories, 5, config) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("kept", [1, 3, 100])
def test_only_the_largest_of_a_row_are_kept(kept):
    matrix = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
    matrix[2, 3] = 0
    found = largest(matrix, kept)
    for at in range(8):
        order = np.argsort(-np.abs(matrix[at]))[:kept]
        wanted = np.zeros(8, np.float32)
        wanted[order] = matrix[at, order]
        assert found.among(np.array([at]), np.arange(8)).tolist() == [wanted.tolist()]
        assert found.at(at, int(order[0])) == matrix[at, order[0]]
    assert found.at(2, 3) == 0


@pytest.mark.parametrize("rows", [0, 1, 8, 2 * TOGETHER + 3])
def test_rows_are_asked_some_at_a_time(rows):
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(60, 60)).astype(np.float32)
    matrix[rng.random((60, 60)) < 0.5] = 0
    matrix[3] = 0
    found, asked = largest(matrix, 60), rng.permutation(60)[:rows]
    weights = np.linspace(0.1, 1, rows, dtype=np.float32)
    assert found.total(asked, weights) == pytest.approx(weights @ matrix[asked], abs=1e-5)
    columns = np.array([7, 3, 59])
    assert found.among(asked, columns).tolist() == matrix[np.ix_(asked, columns)].tolist()


def test_what_is_too_old_to_be_seen_in_a_sum_is_left_out():
    found = largest(np.ones((3, 3), np.float32), 3)
    weights = np.array([FAINT / 2, 0.5], np.float32)
    assert found.total(np.array([0, 1]), weights).tolist() == [0.5] * 3


def test_what_has_no_time_has_no_order():
    assert aged(Taken(("a", "b", "c"), 0), 0.5).tolist() == [1, 1, 1]
    assert aged(Taken(("a", "b", "c", "d"), 2), 0.5).tolist() == [0.25, 0.25, 0.5, 1]


# trained and asked

CROWD = people(*["abc"] * 6, *["xyz"] * 6, "aq", "xr")


def history(*items: str) -> list[Event]:
    return [event(item, day=day) for day, item in enumerate(items)]


def test_what_others_had_with_it_comes_first():
    trained = train(CROWD, 40, SMALL)
    assert trained is not None
    assert next(id for id, _ in trained(history("a")).ranked() if id != "a") in ("b", "c")
    assert "x" not in [id for id, _ in trained(history("a")).ranked()][:2]


def test_each_proposal_names_what_it_rests_on_and_how_many_had_both():
    trained = train(CROWD, 40, SMALL)
    assert trained is not None
    voice = trained(history("a", "x"))
    assert voice.loudest(["b", "y", "b"], {"a", "x"}) == {"b": "a", "y": "x"}
    assert voice.loudest(["b", "y"], {"x"}, {"a", "x"}) == {"b": "a", "y": "x"}
    assert voice.loudest(["b", "y"], set()) == voice.loudest(["b", "y"]) == {}
    assert trained.people_with("a", "b") == 6
    assert trained.people_with("a", "y") == trained.people_with("a", "nothing") == 0


def test_scores_are_the_sum_of_what_each_own_item_adds():
    trained = train(CROWD, 40, SMALL)
    assert trained is not None
    voice = trained(history("a", "x"))
    parts = voice.said(voice.ids)
    whole = parts.sum(axis=0)
    assert voice.heard == pytest.approx(whole, abs=1e-4)
    assert voice.scores - voice.scores.mean() == pytest.approx(whole - whole.mean(), abs=1e-4)
    for id, own in voice.loudest(voice.ids, set(voice.own)).items():
        column = parts[:, voice.ids.index(id)]
        assert own == voice.own[int(np.argmax(column))]


def test_the_order_is_whole_however_long_it_is(monkeypatch):
    trained = train(CROWD, 40, SMALL)
    assert trained is not None
    ids = [id for id, _ in trained(history("a", "x")).ranked()]
    monkeypatch.setattr(collaborative, "FIRST", 2)
    found = list(trained(history("a", "x")).ranked())
    assert [id for id, _ in found] == ids
    assert len(ids) > 2
    assert found == sorted(found, key=lambda hit: (-hit[1], hit[0]))


def test_somebody_of_whom_nothing_is_known_hears_nothing():
    trained = train(CROWD, 40, SMALL)
    assert trained is not None
    assert list(trained([]).ranked()) == []
    assert list(trained(history("unheard of")).ranked()) == []


def test_what_the_person_disliked_does_not_pull():
    trained = train(CROWD, 40, SMALL)
    assert trained is not None
    events = [*history("a"), event("x", value=0.5, day=9)]
    assert all(id in "abcq" for id, _ in list(trained(events).ranked())[:3])


def test_too_few_people_teach_nothing():
    assert train(people("abc", "abd"), 6, CollaborativeConfig(fewest_people=3)) is None
    assert train(people("ab", "cd"), 4, SMALL) is None
    assert train([], 0, SMALL) is None


def test_an_item_that_one_person_had_is_not_in_it():
    trained = train(CROWD, 40, SMALL)
    assert trained is not None
    assert trained.items == ("a", "b", "c", "x", "y", "z")


def test_a_large_catalogue_is_cut_to_what_most_people_had():
    trained = train([*CROWD, *people("ac", "ac")], 44, SMALL.model_copy(update={"most_items": 2}))
    assert trained is not None
    assert trained.items == ("a", "c")


def test_undated_histories_teach_what_goes_together_and_no_order():
    trained = train(people(*["abc"] * 6, *["xyz"] * 6, dated=False), 36, SMALL)
    assert trained is not None
    assert len(trained.near.values) == len(trained.sequel.values) == 0
    voice = trained([event("a", day=None), event("b", day=None)])
    assert next(id for id, _ in voice.ranked() if id not in "ab") == "c"


def test_training_tells_how_far_it_is():
    told: list[tuple[int, int]] = []
    train(CROWD, 40, SMALL, lambda done, steps: told.append((done, steps)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
