from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from agent.recommend.explore import ExploreConfig, explored
from agent.types import Arm, Candidate, Item, Slot, Source
from eval.replay import POLICIES, chance, evenly, greedily, thompson, worth

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
ARMS = [Arm("a", 3, 2), Arm("b", 2, 4), Arm("c", 1.5, 3)]
LIKED = {"a": 0.3, "b": 0.6, "c": 0.1}
"""How often what an arm brings is liked in truth; the beliefs are wrong about b."""
POOL = [
    Candidate(Item(f"{arm.name}{at}", "x"), 1.0, (Source(arm.name, at + 1, 1.0),)) for arm in ARMS for at in range(5)
]
SHOWN = [Candidate(Item(f"s{at}", "x"), 1.0) for at in range(10)]


@pytest.fixture(scope="module")
def log() -> list[Slot]:
    found = []
    for seed in range(3000):
        _, given = explored(SHOWN, POOL, [10], ARMS, ExploreConfig(), np.random.default_rng(seed))
        found += [Slot("ann", NOON, *one) for one in given]
    return found


def true_worth(policy) -> float:
    return sum(share * LIKED[arm.name] for arm, share in zip(ARMS, policy(ARMS), strict=True))


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_the_replay_finds_what_a_policy_is_worth(log, policy):
    random = np.random.default_rng(1)
    earned = [float(random.random() < LIKED[one.item[0]]) for one in log]
    found = worth(log, earned, policy)
    assert found.low < true_worth(policy) < found.high
    assert found.places == len(log)


def test_the_policy_of_the_log_has_full_weight(log):
    assert worth(log, [1.0] * len(log), thompson).mean == pytest.approx(1.0, abs=1e-6)
    assert worth(log, [1.0] * len(log), thompson).effective == pytest.approx(len(log))
    assert worth(log, [1.0] * len(log), evenly).effective < len(log)


def test_what_a_policy_never_does_has_no_chance(log):
    chosen = next(one for one in log if one.arm == "c")
    assert chance(chosen, greedily) == 0
    assert chance(chosen, evenly) == pytest.approx(1 / 15)


def test_an_empty_log_says_nothing():
    assert worth([], [], evenly).effective == 0
