from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.history.importing import import_path
from agent.recommend.gate import Gate
from agent.settings import Settings
from agent.types import Candidate, Event, EventKind, Item
from agent.wiring import Rapport
from eval.gate import GateTask, Trial, gain, halves, hold_out, interval, measure, unknowing
from eval.movielens import FOLDER
from tests.eval.test_board_a import walks, write

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 2, 1, tzinfo=UTC)
TASK = GateTask(draws=200)


def event(user: str, item: str, day: int, kind: EventKind = "rating", value: float | None = 5.0) -> Event:
    return Event(0, user, item, kind, value, at=START + timedelta(days=day))


def candidates(ids: Sequence[str]) -> list[Candidate]:
    return [Candidate(Item(id, f"Film {id}"), 1 / (at + 1)) for at, id in enumerate(ids)]


def histories(people: int, length: int) -> list[tuple[str, list[Event]]]:
    """Each person's last item is "<user>-next"."""
    return [
        (user, [*(event(user, f"{user}-{day}", day) for day in range(length)), event(user, f"{user}-next", 99)])
        for user in (f"u{at}" for at in range(people))
    ]


class World:
    """Candidates that hold the next item at place 8, and what the model path was handed."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[Event, ...]]] = []

    def recommend(self, user: str, events: Sequence[Event]) -> list[Candidate]:
        self.seen.append((user, tuple(events)))
        return candidates([*(f"other{at}" for at in range(7)), f"{user}-next", *(f"more{at}" for at in range(20))])


def run(vote, people: int = 60, length: int = 3):
    world = World()
    done = measure(
        histories(people, length), world.recommend, vote, model="m", prompt="p", data="toy", measured_at=NOW, task=TASK
    )
    return done, world


def clairvoyant(user: str, events: Sequence[Event], shown: Sequence[Candidate]) -> list[float]:
    return [float(one.item.id.endswith("-next")) for one in shown]


def contrary(user: str, events: Sequence[Event], shown: Sequence[Candidate]) -> list[float]:
    return [-score for score in clairvoyant(user, events, shown)]


def silent(user: str, events: Sequence[Event], shown: Sequence[Candidate]) -> list[float]:
    return [0.0] * len(shown)


def test_a_model_that_helps_opens_the_gate_for_that_length_only():
    done, _ = run(clairvoyant)
    gate = Gate(measurements=(done,))
    assert gate.weight("m", 3) == done.buckets[0].weight > 0
    assert gate.weight("m", 50) == 0
    assert done.buckets[0].low > 0
    assert done.buckets[0].users == done.buckets[0].reachable


@pytest.mark.parametrize("vote", [contrary, silent])
def test_a_model_that_harms_or_says_nothing_does_not(vote):
    done, _ = run(vote)
    assert Gate(measurements=(done,)).weight("m", 3) == 0


def test_a_model_that_guesses_does_not():
    generator = np.random.default_rng(3)
    done, _ = run(lambda user, events, shown: generator.normal(size=len(shown)).tolist())
    assert done.buckets[0].low <= 0


def test_only_the_window_is_voted_on():
    sizes = []

    def vote(user, events, shown):
        sizes.append(len(shown))
        return silent(user, events, shown)

    run(vote, people=3)
    assert sizes == [20, 20, 20]


def test_the_hidden_item_never_enters_the_model_path():
    handed = []

    def vote(user, events, shown):
        handed.append((user, tuple(events)))
        return silent(user, events, shown)

    _, world = run(vote)
    assert len(handed) == len(world.seen) == 60
    for user, events in [*handed, *world.seen]:
        assert all(one.item != f"{user}-next" for one in events)
        assert all(one.user == user for one in events)


def test_who_cannot_be_reached_counts_as_no_difference():
    done = measure(
        histories(40, 3), lambda user, events: candidates(["a", "b", "c"]), clairvoyant,
        model="m", prompt="p", data="toy", measured_at=NOW, task=TASK,
    )  # fmt: skip
    assert (done.buckets[0].delta, done.buckets[0].reachable) == (0.0, 0)
    assert done.buckets[0].users > 10


def test_no_candidates_at_all_is_no_difference():
    done = measure(
        histories(10, 3), lambda user, events: [], clairvoyant,
        model="m", prompt="p", data="toy", measured_at=NOW, task=TASK,
    )  # fmt: skip
    assert done.buckets[0].delta == 0


def test_the_same_seed_gives_the_same_file():
    assert run(clairvoyant)[0].model_dump_json() == run(clairvoyant)[0].model_dump_json()


def test_the_weight_is_chosen_on_others_than_it_is_reported_on():
    trials = [Trial(f"u{at}", 3, (), (), "x") for at in range(200)]
    one, other = halves(trials, 0)
    assert not {trial.user for trial in one} & {trial.user for trial in other}
    assert 60 < len(one) < 140
    assert halves(trials[:50], 0)[0] == [trial for trial in one if trial in trials[:50]]


@pytest.mark.parametrize(
    ("events", "shown", "hidden"),
    [
        ([event("u", "a", 1), event("u", "b", 2), event("u", "c", 3, value=2.0)], ["a"], "b"),
        ([event("u", "a", 1), event("u", "b", 2), event("u", "a", 3)], ["a"], "b"),
        ([event("u", "a", 1, "view", None), event("u", "b", 2, "view", None), event("u", "a", 3, "like")], ["b"], "a"),
        ([event("u", "a", 1, "view", None)], None, ""),
        ([event("u", "a", 1, "play", 3.0)], [], "a"),
        ([event("u", "a", 1, value=3.5)], None, ""),
        ([], None, ""),
    ],
)  # fmt: skip
def test_the_last_positive_event_with_a_new_item_is_hidden_and_nothing_after_it_is_shown(events, shown, hidden):
    held = hold_out(events)
    if shown is None:
        assert held is None
        return
    assert held is not None
    assert ([one.item for one in held.shown], held.hidden) == (shown, hidden)


@settings(deadline=None, derandomize=True)
@given(st.permutations(range(30)), st.integers(1, 30))
def test_ndcg_with_one_relevant_item(order, k):
    ranked = candidates([str(at) for at in order])
    place = order.index(7) + 1
    assert gain(ranked, "7", k) == (1 / math.log2(place + 1) if place <= k else 0.0)


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(0.3, 1.0, 400).tolist()
    found = interval(values, 2000, 0)
    wanted = 1.96 * np.std(values) / math.sqrt(400)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.high - found.mean == pytest.approx(wanted, rel=0.15)
    assert found.mean - found.low == pytest.approx(wanted, rel=0.15)


def test_retrieval_is_measured_without_what_is_hidden(tmp_path, monkeypatch):
    """Another last film of everybody: others' histories and popularity say the same, where all of it was learned."""
    monkeypatch.setenv("RAPPORT_EMBEDDER", "hashing")
    one, other = walks(), walks()
    for user in other:
        other[user][-1] = next(film for film in range(1, 31) if film not in one[user])
    found = []
    for name, histories in (("a", one), ("b", other)):
        write(tmp_path / name / FOLDER, histories)
        with Rapport(Settings(home=tmp_path / name / "home", llm="none", embedder="hashing")) as rapport:
            import_path(rapport.store, tmp_path / name / FOLDER)
            rapport.build_index()
            rapport.train()
            retrieve, stats = unknowing(rapport)
            held = [hold_out(rapport.store.events(user)) for user in rapport.store.users()]
            assert retrieve.others is not None
            told = [list(retrieve.others(one.shown).ranked()) for one in held if one]
            found.append((told, retrieve.popular, {id: (one.events, one.positive) for id, one in stats.items()}))
    assert all(found[0][0])
    assert found[0] == found[1]
