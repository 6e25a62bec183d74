from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from agent.errors import StoreError
from agent.history.store import Store, event_id
from agent.recommend import collaborative_file
from agent.recommend.collaborative import CollaborativeConfig, Taken, train
from agent.recommend.collaborative_file import load, refresh, save
from agent.types import Event

START = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = CollaborativeConfig(fewest_people=3)


def events(user: str, items: str) -> list[Event]:
    found = []
    for day, item in enumerate(items):
        at = START + timedelta(days=day)
        found.append(Event(event_id(user, item, "purchase", at), user, item, "purchase", at=at))
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'rapport.db'}") as opened:
        for user in range(20):
            opened.add_events(events(f"u{user}", "abcde"))
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "collaborative.npz"


def same(one, other) -> bool:
    return one.items == other.items and all(
        np.array_equal(getattr(getattr(one, name), part), getattr(getattr(other, name), part))
        for name in collaborative_file.PARTS
        for part in ("starts", "columns", "values")
    )


def test_what_is_kept_comes_back(path):
    crowd = [Taken(("a", "b", "\ud800"), 3), Taken(("a", "b"), 2), Taken(("b", "\ud800"), 1)]
    trained = train(crowd, 7, CONFIG)
    assert trained is not None
    save(trained, path)
    back = load(path, CONFIG)
    assert back is not None
    assert same(trained, back)
    assert (back.events, back.config) == (7, CONFIG)


def test_no_file_is_no_weights(path):
    assert load(path, CONFIG) is None


def test_weights_of_another_meaning_are_not_taken(store, path, monkeypatch):
    refresh(store, path, CONFIG)
    assert load(path, CONFIG.model_copy(update={"ridge": 7.0})) is None
    asked_with_all = load(path, CONFIG.model_copy(update={"counts": "had"}))
    assert asked_with_all is not None
    assert asked_with_all.config.counts == "had"
    monkeypatch.setattr(collaborative_file, "VERSION", 99)
    assert load(path, CONFIG) is None


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not really", b"words"])
def test_a_damaged_file_is_said_and_trained_again(store, path, damage):
    path.write_bytes(damage)
    with pytest.raises(StoreError, match="rapport index"):
        load(path, CONFIG)
    assert refresh(store, path, CONFIG) is not None
    assert load(path, CONFIG) is not None


def test_a_file_that_would_run_something_is_not_opened(path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(path.parent / "ran"),))

    with path.open("wb") as file:
        np.savez(file, head=np.array([Bomb()], dtype=object))
    with pytest.raises(StoreError):
        load(path, CONFIG)
    assert not (path.parent / "ran").exists()


def test_training_happens_again_only_when_events_have_grown(store, path):
    refresh(store, path, CONFIG)
    first = path.stat().st_mtime_ns
    store.add_events(events("one", "ab"))
    refresh(store, path, CONFIG)
    assert path.stat().st_mtime_ns == first
    store.add_events(events("more", "abcde"))
    trained = refresh(store, path, CONFIG)
    assert trained is not None
    assert trained.events == store.count_events()
    assert trained.people_with("a", "b") == 22
    refresh(store, path, CONFIG, anew=True)
    assert path.stat().st_mtime_ns != first


def test_a_file_outlived_by_its_people_goes(store, path):
    refresh(store, path, CONFIG)
    for user in store.users()[2:]:
        store.erase_user(user)
    assert refresh(store, path, CONFIG) is None
    assert not path.exists()


def test_a_file_is_written_whole_or_not_at_all(store, path, monkeypatch):
    refresh(store, path, CONFIG)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match="No space left"):
        refresh(store, path, CONFIG, anew=True)
    assert path.read_bytes() == before


def test_the_same_events_give_the_same_bytes(store, path):
    refresh(store, path, CONFIG)
    first = path.read_bytes()
    refresh(store, path, CONFIG, anew=True)
    assert path.read_bytes() == first
