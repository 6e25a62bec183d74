from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.errors import UnknownUser
from agent.history.store import Store, TagEdit
from agent.recommend.known import Acquaintances
from agent.types import Event, Item, Profile

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    with Store.open(f"sqlite:///{tmp_path / 'rapport.db'}") as opened:
        opened.add_items([Item("m1", "One"), Item("m2", "Two")])
        opened.add_events([Event(1, "ann", "m1", "like", at=NOON)])
        yield opened


class Profiling:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, user: str) -> Profile:
        self.asked += 1
        if user == "nobody":
            raise UnknownUser(user)
        return Profile(user)


def test_nothing_is_read_twice_while_nothing_changes(store):
    profiling = Profiling()
    known = Acquaintances(store, profiling)
    assert known("ann") is known("ann")
    assert profiling.asked == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.add_events([Event(2, "ann", "m2", "like", at=NOON)]),
        lambda store: store.add_events([Event(1, "ann", "m1", "rating", 2.0, at=NOON)]),
        lambda store: store.remove_events("ann", [1]),
        lambda store: store.add_edit(TagEdit("ann", "drama", "", "add", 1, NOON)),
        lambda store: store.save_profile(Profile("ann", version=1)),
    ],
)
def test_a_change_is_seen_at_once(store, change):
    profiling = Profiling()
    known = Acquaintances(store, profiling)
    known("ann")
    change(store)
    assert list(known("ann").events) == store.events("ann")
    assert profiling.asked == 2


def test_what_is_taken_back_is_a_change(store):
    known = Acquaintances(store, Profiling())
    store.add_edit(TagEdit("ann", "drama", "", "add", 1, NOON))
    first = known("ann")
    store.replace_edits("ann", [])
    assert known("ann") is not first


def test_another_persons_events_change_nothing(store):
    known = Acquaintances(store, Profiling())
    first = known("ann")
    store.add_events([Event(3, "bob", "m2", "like", at=NOON)])
    assert known("ann") is first


def test_what_cannot_be_known_is_raised_and_not_remembered(store):
    profiling = Profiling()
    known = Acquaintances(store, profiling)
    for _ in range(2):
        with pytest.raises(UnknownUser):
            known("nobody")
    assert profiling.asked == 2
