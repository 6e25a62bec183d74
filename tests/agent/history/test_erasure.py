from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import StoreBusy
from agent.history.conversations import Conversations, StoredWish, Summary
from agent.history.explored import Explored
from agent.history.jobs import Jobs
from agent.history.keys import Keys
from agent.history.replies import Replies
from agent.history.store import Store, event_id
from agent.types import Arm, Call, Event, Profile, Slot, TagEdit

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TABLES = {"events", "profiles", "tallies", "tag_edits", "calls", "jobs", "answers", "edit_steps", "api_keys", "replies"}
TABLES |= {"conversations", "turns", "wishes", "explored"}


def token(person: int) -> str:
    return f"CANARY-{person:04}-XYZZY"


def fill(store: Store, people: range) -> None:
    for person in people:
        user, text = token(person), f"{token(person)} wrote this " * 20
        times = [NOON + timedelta(minutes=n) for n in range(15)]
        store.add_events(
            Event(event_id(user, f"i{n}", "review", at), user, f"i{n}", "review", 4.0, text, at)
            for n, at in enumerate(times)
        )
        store.save_profile(Profile(user, persona=text, version=1), tally=json.dumps(text))
        store.add_edit(TagEdit(user, token(person), "", "add", 1, NOON))
        store.log_call(Call(NOON, "p", "m", 1, 1, 1.0, "ok", user))
        Keys(store).add(text[:80], user=user)
        Replies(store).once("caller", user, "request", user, lambda text=text: json.dumps(text))
        store.keep_answer(user, "question", json.dumps({"text": text}))
        talk = Conversations(store)
        talk.add_turn(user, "evening", NOON, text, json.dumps({"words": text}))
        talk.summarise(user, "evening", Summary(text, 1))
        talk.wish(StoredWish(user, "words", "evening", 1, NOON, NOON, text, json.dumps({"words": text})))
        Explored(store).add([Slot(user, NOON, 10, text, text, 0.5, (Arm(text, 1.0, 2.0, (text,)),))])
        jobs = Jobs(store, "work", "here")
        jobs.plan([user])
        job = jobs.lease([user])
        assert job
        jobs.fail(job, "StoreError", text)


def hits(folder: Path, person: int) -> int:
    return sum(file.read_bytes().count(token(person).encode()) for file in folder.rglob("*") if file.is_file())


def test_not_a_byte_of_an_erased_person_is_left_in_any_file(store, tmp_path):
    fill(store, range(60))
    gone, kept = range(0, 60, 3), [person for person in range(60) if person % 3]
    assert all(hits(tmp_path, person) > 0 for person in range(60)), "the tokens must be there before"
    for person in gone:
        counts = store.erase_user(token(person))
        assert counts == {
            "events": 15,
            "profiles": 1,
            "tallies": 1,
            "tag_edits": 1,
            "calls": 1,
            "jobs": 1,
            "answers": 1,
            "edit_steps": 1,
            "api_keys": 1,
            "replies": 1,
            "conversations": 1,
            "turns": 1,
            "wishes": 1,
            "explored": 1,
        }
    assert [hits(tmp_path, person) for person in gone] == [0] * len(gone)
    assert all(hits(tmp_path, person) > 0 for person in kept)
    store.close()
    assert [hits(tmp_path, person) for person in gone] == [0] * len(gone)


def test_nobody_else_loses_a_row(store):
    fill(store, range(2))
    before = store.export_user(token(1))
    store.erase_user(token(0))
    assert store.export_user(token(1)) == before
    assert not store.has_user(token(0))
    assert store.erase_user(token(0)) == dict.fromkeys(TABLES, 0)


def test_every_table_with_a_column_for_the_person_is_erased(store, url):
    raw = sqlite3.connect(url.removeprefix("sqlite:///"))
    tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    personal = {
        name for name in tables if "user" in [column[1] for column in raw.execute(f"PRAGMA table_info({name})")]
    }
    raw.close()
    assert personal == TABLES == set(store.erase_user("nobody"))


def test_a_reader_that_holds_the_journal_makes_it_busy_and_calling_again_finishes(url, tmp_path):
    with Store.open(url, busy_s=0.05) as store:
        fill(store, range(3))
        reader = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        with pytest.raises(StoreBusy, match="journal"):
            store.erase_user(token(0))
        assert not store.has_user(token(0))
        reader.execute("ROLLBACK")
        reader.close()
        store.erase_user(token(0))
        assert hits(tmp_path, 0) == 0
