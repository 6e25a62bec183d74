from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from agent.errors import OtherRequest
from agent.history import replies as module
from agent.history.replies import Replies
from agent.history.store import Store, event_id
from agent.types import Event


def event(n: int) -> Event:
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=n)
    return Event(event_id("ann", "x", "view", at), "ann", "x", "view", None, "", at)


def test_the_same_key_has_one_effect_and_one_reply_whoever_comes_when(store):
    replies, done, go = Replies(store), [], threading.Barrier(8)

    def act() -> str:
        done.append(1)
        store.add_events([event(len(done))])
        return f"reply {len(done)}"

    def ask(_: int) -> list[str]:
        go.wait()
        return [replies.once("me", "key", "request", "ann", act) for _ in range(20)]

    with ThreadPoolExecutor(8) as threads:
        answers = {one for each in threads.map(ask, range(8)) for one in each}
    assert answers == {"reply 1"}
    assert (len(done), store.count_events()) == (1, 1)


def test_what_fails_leaves_neither_an_effect_nor_a_reply(store):
    def fail() -> str:
        store.add_events([event(1)])
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Replies(store).once("me", "key", "request", "ann", fail)
    assert store.count_events() == 0
    assert Replies(store).find("me", "key") is None
    assert Replies(store).once("me", "key", "request", "ann", lambda: "later") == "later"


def test_a_key_is_for_one_request_of_one_caller(store):
    replies = Replies(store)
    assert replies.once("me", "key", "one", "ann", lambda: "mine") == "mine"
    with pytest.raises(OtherRequest):
        replies.once("me", "key", "other", "ann", lambda: "never")
    assert replies.once("you", "key", "other", "ann", lambda: "yours") == "yours"


def test_replies_are_kept_for_a_day(store, monkeypatch):
    replies = Replies(store)
    replies.once("me", "key", "one", "ann", lambda: "first")
    monkeypatch.setattr(module, "KEPT", timedelta(0))
    assert replies.once("me", "key", "one", "ann", lambda: "second") == "second"


def test_two_processes_agree(url):
    with Store.open(url) as one, Store.open(url) as other:
        assert Replies(one).once("me", "key", "r", "ann", lambda: "first") == "first"
        assert Replies(other).once("me", "key", "r", "ann", lambda: "second") == "first"
