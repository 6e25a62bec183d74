from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.recommend.explore import ExploreConfig, believed, chances, explored, places, reaction, unlogged
from agent.recommend.retrieve import UNDER_SHOWN
from agent.types import Arm, Candidate, Event, Item, Profile, Slot, Source, Tag

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
CONFIG = ExploreConfig()


def candidate(id: str, *voters: str) -> Candidate:
    return Candidate(Item(id, id), 1.0, tuple(Source(voter, int(id[1:]) + 1, 0.5) for voter in voters))


POOL = [
    *(candidate(f"x{at}", "tag:Horror") for at in range(10)),
    *(candidate(f"g{at}", "explore:Jazz") for at in range(6)),
    *(candidate(f"r{at}", "explore:Opera", UNDER_SHOWN) for at in range(3)),
]
BELIEFS = [Arm("explore:Jazz", 2, 4), Arm("explore:Opera", 1, 3), Arm(UNDER_SHOWN, 1.6, 3.4)]


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 60), st.floats(0, 1), st.floats(0, 1))
def test_places_keep_to_the_share(n, surprise, share):
    found = places(n, surprise, share)
    assert found == sorted(set(found))
    for first in range(1, n + 1):
        assert sum(place <= first for place in found) == int(first * surprise * share + 1e-9)


def test_the_dial_goes_from_nothing_to_half():
    assert [len(places(10, surprise, 0.5)) for surprise in (0.0, 0.2, 0.6, 1.0)] == [0, 1, 3, 5]


@pytest.mark.parametrize("arms", [BELIEFS, BELIEFS[:1], [Arm("a", 1, 1), Arm("b", 40, 160)], [Arm("a", 9, 3)] * 2])
def test_chances_are_those_of_the_draws(arms):
    random, draws = np.random.default_rng(7), 40_000
    thrown = np.stack([random.beta(one.yes, one.no, draws) for one in arms])
    counted = np.bincount(thrown.argmax(axis=0), minlength=len(arms)) / draws
    assert chances(arms) == pytest.approx(counted, abs=0.01)


def test_logged_probabilities_are_how_often_it_happens():
    runs = 4000
    firsts, told = Counter[str](), dict[str, float]()
    for seed in range(runs):
        _, given_away = explored(POOL[:10], POOL, [10], BELIEFS, CONFIG, np.random.default_rng(seed))
        ((_, item, _, probability, _),) = given_away
        firsts[item] += 1
        assert told.setdefault(item, probability) == probability
    assert sum(told.values()) == pytest.approx(1.0, abs=1e-6)
    for item, probability in told.items():
        assert firsts[item] / runs == pytest.approx(probability, abs=4 * (probability / runs) ** 0.5)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 10), st.floats(0, 1), st.integers(0, 1000))
def test_a_list_stays_a_list(n, surprise, seed):
    shown = POOL[:n]
    slots = places(n, surprise, 0.5)
    after, given_away = explored(shown, POOL, slots, BELIEFS, CONFIG, np.random.default_rng(seed))
    ids = [one.item.id for one in after]
    assert len(ids) == len(set(ids)) == n
    assert [place for place, *_ in given_away] == slots
    assert all(ids[place - 1] == item and 0 < probability <= 1 for place, item, _, probability, _ in given_away)
    assert [one.score for one in after] == sorted((one.score for one in after), reverse=True)
    left = [id for id in ids if id not in {item for _, item, *_ in given_away}]
    assert left == [one.item.id for one in shown][: len(left)]


def test_the_same_seed_gives_the_same_places():
    once, again = (explored(POOL[:10], POOL, [5, 10], BELIEFS, CONFIG, np.random.default_rng(3)) for _ in range(2))
    assert once == again


def test_without_anything_to_try_the_list_stays():
    after, given_away = explored(POOL[:10], POOL[:10], [10], BELIEFS, CONFIG, np.random.default_rng(0))
    assert ([one.item.id for one in after], given_away) == ([one.item.id for one in POOL[:10]], [])


# what is believed


PROFILE = Profile("ann", (Tag("Jazz", 1, 0.4, "latent", "category:Jazz"), Tag("Horror", 1, 0.9, "observed", "")))


def slot(item: str = "g1", arm: str = "explore:Jazz", hours: int = 0) -> Slot:
    return Slot("ann", NOON + timedelta(hours=hours), 10, item, arm, 0.5)


def event(item: str, kind="like", value: float | None = None, hours: int = 1) -> Event:
    return Event(hours, "ann", item, kind, value, at=NOON + timedelta(hours=hours))


def mean(arms: list[Arm], name: str) -> float:
    (arm,) = (one for one in arms if one.name == name)
    return arm.yes / (arm.yes + arm.no)


def test_only_guesses_are_tried_and_what_hardly_anybody_had():
    assert {one.name for one in believed(PROFILE, [], [], CONFIG)} == {"explore:Jazz", UNDER_SHOWN}
    assert all(one.yes >= 1 and one.no >= 1 for one in believed(PROFILE, [], [], CONFIG))


def test_an_answer_moves_the_belief_at_once():
    before = mean(believed(PROFILE, [slot()], [], CONFIG), "explore:Jazz")
    liked = mean(believed(PROFILE, [slot()], [event("g1")], CONFIG), "explore:Jazz")
    disliked = mean(believed(PROFILE, [slot()], [event("g1", "dislike")], CONFIG), "explore:Jazz")
    never_shown = mean(believed(PROFILE, [], [], CONFIG), "explore:Jazz")
    ignored = mean(believed(PROFILE, [slot()], [event("other")], CONFIG), "explore:Jazz")
    assert disliked < ignored < never_shown < liked
    assert before == never_shown, "who did nothing at all has not said no"


def test_the_same_list_seen_again_is_one_try():
    first, again, other = slot(), slot(hours=1), slot("g2", hours=1)
    assert unlogged([again, other], [first], []) == [other]
    assert unlogged([again], [first], [event("x", hours=-1)]) == []
    assert unlogged([slot(hours=3)], [first], [event("x", hours=2)]) == [slot(hours=3)]


def test_one_guess_answered_leaves_the_others():
    before = believed(PROFILE, [slot()], [], CONFIG)
    after = believed(PROFILE, [slot()], [event("g1")], CONFIG)
    assert mean(before, UNDER_SHOWN) == mean(after, UNDER_SHOWN)


@pytest.mark.parametrize(
    ("events", "sign"),
    [
        ([], None),
        ([event("g1", hours=-1)], None),
        ([event("other")], None),
        ([event("g1", "rating", 5.0)], 1),
        ([event("g1", "rating", 1.0)], -1),
        ([event("g1", "like"), event("g1", "dislike", hours=2)], -1),
        ([event("g1", "click")], 1),
    ],
)
def test_what_counts_as_an_answer(events, sign):
    answer = reaction(slot(), events)
    assert (None if answer is None else np.sign(answer)) == sign
