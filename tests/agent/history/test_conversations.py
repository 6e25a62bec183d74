from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agent.history.conversations import Conversations, StoredWish, Summary

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def wish(user: str, slot: str, body: str = "{}", hours: int = 1, at: datetime = NOON) -> StoredWish:
    return StoredWish(user, slot, "c", 1, at, at + timedelta(hours=hours), "said so", body)


def test_turns_are_numbered_within_their_conversation_and_person(store):
    talk = Conversations(store)
    assert [talk.add_turn("ann", "c", NOON, f"t{n}", "{}") for n in range(3)] == [1, 2, 3]
    assert talk.add_turn("ann", "d", NOON, "other", "{}") == 1
    assert talk.add_turn("bob", "c", NOON, "bob's", "{}") == 1
    assert [one.text for one in talk.turns("ann", "c")] == ["t0", "t1", "t2"]
    assert [one.text for one in talk.turns("ann", "c", 2)] == ["t1", "t2"]
    assert [one.text for one in talk.turns("bob", "c")] == ["bob's"]


def test_a_body_is_replaced_in_its_place(store):
    talk = Conversations(store)
    for _ in range(2):
        talk.add_turn("ann", "c", NOON, "x", "{}")
    talk.set_body("ann", "c", 1, '{"a": 1}')
    talk.set_body("bob", "c", 2, '{"b": 1}')
    assert [one.body for one in talk.turns("ann", "c")] == ['{"a": 1}', "{}"]


def test_conversations_are_known_the_newest_first(store):
    talk = Conversations(store)
    talk.add_turn("ann", "old", NOON, "x", "{}")
    talk.add_turn("ann", "new", NOON + timedelta(hours=1), "x", "{}")
    talk.add_turn("ann", "old", NOON, "x", "{}")
    assert talk.known("ann") == [("new", NOON + timedelta(hours=1), 1), ("old", NOON, 2)]
    assert talk.known("bob") == []


def test_a_summary_stands_for_the_turns_that_are_folded(store):
    talk = Conversations(store)
    assert talk.summary("ann", "c") == Summary()
    talk.add_turn("ann", "c", NOON, "x", "{}")
    talk.summarise("ann", "c", Summary("in short", 1))
    assert talk.summary("ann", "c") == Summary("in short", 1)


def test_a_newer_wish_takes_the_place_of_the_one_in_its_slot(store):
    talk = Conversations(store)
    assert talk.wish(wish("ann", "year>", '"old"')) is None
    assert talk.wish(wish("ann", "year>", '"new"')).body == '"old"'
    assert [one.body for one in talk.wishes("ann", NOON)] == ['"new"']
    assert talk.wishes("bob", NOON) == []


def test_what_has_expired_is_in_force_no_more(store):
    talk = Conversations(store)
    talk.wish(wish("ann", "a", hours=1))
    talk.wish(wish("ann", "b", hours=2))
    assert [one.slot for one in talk.wishes("ann", NOON + timedelta(hours=1))] == ["b"]


def test_wishes_are_revoked_by_slot_or_all(store):
    talk = Conversations(store)
    for slot in "abc":
        talk.wish(wish("ann", slot))
    talk.wish(wish("bob", "a"))
    assert talk.revoke("ann", ["a", "z"]) == 1
    assert talk.revoke("ann", []) == 0
    assert talk.revoke("ann") == 2
    assert len(talk.wishes("bob", NOON)) == 1


def test_everybody_s_turns_page_by_page(store, monkeypatch):
    monkeypatch.setattr("agent.history.conversations._PAGE", 3)
    talk = Conversations(store)
    said = [(user, name, n) for user in ("ann", "bob") for name in ("c", "d") for n in (1, 2)]
    for user, name, _ in said:
        talk.add_turn(user, name, NOON, "x", "{}")
    assert [(one.user, one.conversation, one.number) for one in talk.everybody()] == said


def test_removed_events_are_gone_with_what_was_counted_from_them(store):
    from agent.history.store import event_id
    from agent.types import Event, Profile

    def event(user: str, item: str) -> Event:
        return Event(event_id(user, item, "like", NOON), user, item, "like", None, "", NOON)

    ann, bob = event("ann", "i1"), event("bob", "i1")
    store.add_events([ann, event("ann", "i2"), bob])
    store.save_profile(Profile("ann", version=1), tally="{}")
    assert store.remove_events("ann", [ann.id, bob.id, 7]) == 1
    assert [one.item for one in store.events("ann")] == ["i2"]
    assert store.events("bob") == [bob]
    assert store.tally("ann") is None
    store.save_profile(Profile("ann", version=2), tally="{}")
    assert store.remove_events("ann", [7]) == 0
    assert store.tally("ann") == "{}"
