"""Forgetting with proof: DESIGN promise 6, TRUST 1.7."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import StoreError, UnknownUser
from agent.history.conversations import Conversations, StoredWish, Summary
from agent.history.explored import Explored
from agent.history.jobs import Jobs
from agent.history.store import Store, event_id
from agent.privacy import erasure
from agent.privacy.erasure import TELLING, drop_lines, forget, pieces, spread
from agent.types import Arm, Call, Event, Item, Profile, Receipt, Slot, Tag, TagEdit

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PRIVATE = "my sister's kitchen burnt down that evening and I watched it twice"
SHARED = "Great product, would buy it again and again, five stars."


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path}/home/rapport.db") as store:
        yield store


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def wrote(user: str, item: str, text: str, day: int = 0) -> Event:
    at = NOON + timedelta(days=day)
    return Event(event_id(user, item, "review", at), user, item, "review", 4.0, text, at)


def fill(store: Store, user: str, text: str) -> None:
    store.add_items([Item("i1", "One", "A thing."), Item("i2", "Two")])
    store.add_events([wrote(user, "i1", text), wrote(user, "i2", SHARED, 1)])
    tag = Tag(
        "Quiet",
        1,
        0.5,
        "observed",
        "word:quiet",
        (Receipt(event_id(user, "i1", "review", NOON), "i1", NOON, text[:40]),),
    )
    store.save_profile(
        Profile(user, (tag,), f"Somebody who said: {text}", version=1),
        tally=json.dumps({"marks": {"i1": {"quote": text}}}),
    )
    store.add_edit(TagEdit(user, "quiet", "", "add", 1, NOON))
    store.log_call(Call(NOON, "p", "m", 1, 1, 1.0, "ok", user))
    Jobs(store, "work", "here").plan([user])
    store.keep_answer(user, "question", json.dumps({"text": f"You said: {text}"}))
    Explored(store).add([Slot(user, NOON, 10, "i1", f"explore:{text}", 0.5, (Arm(f"explore:{text}", 1, 2, ("i1",)),))])
    talk = Conversations(store)
    talk.add_turn(user, "evening", NOON, text, json.dumps({"words": f"Noted: {text}", "cards": [{"reason": text}]}))
    talk.summarise(user, "evening", Summary(f"told: {text}", 1))
    talk.wish(
        StoredWish(user, "words", "evening", 1, NOON, NOON + timedelta(hours=1), text, json.dumps({"words": text}))
    )


def held(home: Path, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_every_row_goes_and_the_proof_counts_them(store, home):
    fill(store, "ann", PRIVATE)
    assert held(home, PRIVATE)
    proof = forget(store, home, "ann")
    rows = {"events": 2, "profiles": 1, "tallies": 1, "tag_edits": 1, "calls": 1, "jobs": 1, "answers": 1}
    rows |= {"edit_steps": 1, "api_keys": 0, "replies": 0}
    rows |= {"conversations": 1, "turns": 1, "wishes": 1, "explored": 1}
    assert proof.rows == rows
    assert proof.searched >= 2
    assert proof.files >= 1
    assert proof.found == 0
    assert not held(home, PRIVATE)
    assert not store.has_user("ann")
    with pytest.raises(UnknownUser):
        forget(store, home, "ann")


def test_what_others_wrote_too_is_no_trace(store, home):
    """The same words, the same template, the same catalogue text: none of it is this person's."""
    fill(store, "ann", PRIVATE)
    store.add_items([Item("i3", "Three", f"They say: {PRIVATE}")])
    fill(store, "ben", "something else entirely, and longer than twenty-four characters")
    persona = "Too little is known yet: 3 events, and nothing stands out."
    for user in ("ann", "ben"):
        store.save_profile(Profile(user, (), persona, version=2))
    assert forget(store, home, "ann").found == 0
    assert [event.text for event in store.events("ben")][1] == SHARED
    assert held(home, persona)


def test_bytes_that_stay_make_it_fail(store, home):
    fill(store, "ann", PRIVATE)
    (home / "copy.txt").write_text(f"kept by somebody: {PRIVATE}")
    with pytest.raises(StoreError, match=r"traces stay in .*copy\.txt"):
        forget(store, home, "ann")
    assert not store.has_user("ann")


def test_a_long_id_is_looked_for_as_well(store, home):
    user = "AHDFKJ3487FHWEKJFH3487FHKJ"
    fill(store, user, PRIVATE)
    (home / "index.txt").write_text(f"...{user}...")
    with pytest.raises(StoreError, match=r"index\.txt"):
        forget(store, home, user)


@pytest.mark.parametrize("length", [30, 5_000])
def test_a_text_that_a_database_scatters_is_found_by_its_pieces(store, home, length):
    text = " ".join(f"word{at}" for at in range(length // 6))
    fill(store, "ann", text)
    (home / "tail.bin").write_bytes(b"\x00" * 100 + text.encode()[-80:])
    with pytest.raises(StoreError, match=r"tail\.bin"):
        forget(store, home, "ann")


def test_quotes_and_lines_do_not_hide_a_text(store, home):
    text = 'he said "nothing of the sort will ever happen here"\nand left the room without a word'
    fill(store, "ann", text)
    (home / "dump.json").write_text(json.dumps({"text": text}))
    with pytest.raises(StoreError, match=r"dump\.json"):
        forget(store, home, "ann")


def test_pieces_are_telling_and_verbatim():
    assert list(pieces({"events": [{"text": "short", "source": "x" * 50}]})) == []
    found = list(pieces({"events": [{"text": "a" * 150}]}))
    assert [len(piece) for piece in found] == [64, 64]
    assert all(len(piece) >= TELLING for piece in found)


def test_the_search_is_bounded():
    found = spread(str(at) for at in range(100_000))
    assert len(found) <= erasure.MOST
    assert found[0] == "0"
    assert int(found[-1]) > 99_000


def lines(*raws: str) -> str:
    return "".join(json.dumps({"file": "ann.csv", "line": 1, "reason": "no item", "raw": raw}) + "\n" for raw in raws)


def test_refused_rows_of_one_person_go_and_those_of_the_others_stay(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(lines("ann,,5", "joanna,,5", "annette,,4", '{"user": "ann"}', "ben,,1"))
    assert drop_lines(path, "ann") == 2
    kept = [json.loads(line)["raw"] for line in path.read_text().splitlines()]
    assert kept == ["joanna,,5", "annette,,4", "ben,,1"]
    assert drop_lines(path, "ann") == 0


def test_a_short_id_does_not_take_every_row_with_it(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(lines("1,,5", "12,,31", "21,,11"))
    assert drop_lines(path, "1") == 1


def test_a_torn_or_odd_line_is_no_obstacle(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(lines("ann,,5").encode() + b'{"file": "x", "raw": "ann, tor\n' + b"\xff\xfe ben\n")
    assert drop_lines(path, "ann") == 2
    assert path.read_bytes() == b"\xff\xfe ben\n"


def test_refused_rows_count_in_the_proof(store, home):
    fill(store, "ann", PRIVATE)
    (home / "refused").mkdir()
    (home / "refused" / "x.jsonl").write_text(lines(f"ann,{PRIVATE}", "ben,hello"))
    assert forget(store, home, "ann").lines == 1
    assert not held(home, PRIVATE)
