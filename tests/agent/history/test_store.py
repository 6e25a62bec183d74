from __future__ import annotations

import os
import sqlite3
import stat
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import SetupError, StoreBusy, StoreError
from agent.history import codec
from agent.history.store import Counts, ItemStats, Store, event_id
from agent.types import Call, Event, Item, Profile, Provenance, Receipt, Sentiment, Tag, TagEdit

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def happened(user="ann", item="i1", kind="rating", value=4.0, at=NOON, text="", source="test") -> Event:
    return Event(event_id(user, item, kind, at), user, item, kind, value, text, at, source)


# items


def test_an_item_comes_back_as_it_was_given(store):
    item = Item(
        "i1", "Solaris", "A planet.", ("Drama", "科幻"), {"year": 1972, "price": 9.5, "creator": ("A", "B")}, NOON
    )
    assert store.add_items([item]) == Counts(added=1)
    assert store.item("i1") == item
    assert store.item("nobody") is None


def test_adding_again_changes_nothing_and_a_difference_replaces(store):
    store.add_items([Item("i1", "Solaris"), Item("i2", "Stalker")])
    assert store.add_items([Item("i1", "Solaris"), Item("i2", "Stalker", "Zone")]) == Counts(changed=1, unchanged=1)
    assert store.items(["i2", "i1", "i9"]) == {"i2": Item("i2", "Stalker", "Zone"), "i1": Item("i1", "Solaris")}


def test_a_bare_reference_never_replaces_a_title_but_is_replaced_by_one(store):
    store.add_items([Item("i1", "Solaris"), Item("i2", "")])
    assert store.add_items([Item("i1", ""), Item("i2", "Stalker")]) == Counts(changed=1, unchanged=1)
    assert store.add_items([Item("i3", "Mirror"), Item("i3", "")]) == Counts(added=1, unchanged=1)
    assert [item.title for item in store.all_items()] == ["Solaris", "Stalker", "Mirror"]
    assert (store.count_items(), store.count_items(titled=True)) == (3, 3)


def test_more_items_than_one_page_come_back_once_each(store):
    ids = [f"{number:05}" for number in range(12_345)]
    store.add_items(Item(id, f"Title {id}") for id in ids)
    assert [item.id for item in store.all_items()] == ids
    assert list(store.items(reversed(ids))) == ids[::-1]


# events


def test_an_event_comes_back_as_it_was_given(store):
    event = happened(kind="review", text="Slow, and good.", at=NOON + timedelta(microseconds=1))
    assert store.add_events([event]) == Counts(added=1)
    assert store.events("ann") == [event]
    assert store.add_events([event]) == Counts(unchanged=1)


def test_an_event_of_an_unknown_item_makes_a_row_without_a_title(store):
    store.add_events([happened(item="ghost")])
    assert store.item("ghost") == Item("ghost", "")
    assert (store.count_items(), store.count_items(titled=True)) == (1, 0)


def test_a_changed_event_replaces_and_counts_as_new_since(store):
    store.add_events([happened(value=2.0), happened(item="i2")])
    seen = store.last_seq("ann")
    assert store.add_events([happened(value=5.0), happened(item="i2")]) == Counts(changed=1, unchanged=1)
    assert store.events_after("ann", seen) == [happened(value=5.0)]
    assert store.count_events() == 2


def test_the_same_event_twice_in_one_call_is_one(store):
    assert store.add_events([happened(), happened()]) == Counts(added=1, unchanged=1)


def test_events_are_oldest_first_and_the_undated_come_before_in_the_order_they_were_added(store):
    late, early = happened(item="late", at=NOON + timedelta(days=2)), happened(item="early", at=NOON)
    first, second = happened(item="z", kind="play", at=None), happened(item="a", kind="play", at=None)
    store.add_events([late, first, early, second])
    assert [event.item for event in store.events("ann")] == ["z", "a", "early", "late"]
    since = int((NOON + timedelta(days=1)).timestamp())
    assert [event.item for event in store.events("ann", since=since)] == ["late"]
    assert store.events("ann", since=int(NOON.timestamp())) == [early, late]


def test_what_is_new_since_a_sequence_number(store):
    store.add_events([happened(item="1"), happened(user="bob", item="2")])
    seen = store.last_seq("ann")
    store.add_events([happened(item="0", at=NOON - timedelta(days=9)), happened(user="bob", item="3")])
    assert [event.item for event in store.events_after("ann", seen)] == ["0"]
    assert store.last_seq("nobody") == 0
    assert store.events_after("ann", store.last_seq("ann")) == []


def test_people_are_counted_and_listed(store):
    store.add_events([happened(user="bob"), happened(user="ann"), happened(user="ann", item="i2")])
    assert (store.count_users(), store.users(), store.users(limit=1)) == (2, ["ann", "bob"], ["ann"])
    assert (store.has_user("ann"), store.has_user("eve")) == (True, False)
    store.save_profile(Profile("eve"))
    assert store.has_user("eve")


def test_people_are_found_by_a_part_of_their_id_and_paged(store):
    store.add_events([happened(user, item=f"i{n}") for user in ("ann", "an_b", "bea", "%") for n in range(2)])
    assert [(one.user, one.events) for one in store.people()] == [("%", 2), ("an_b", 2), ("ann", 2), ("bea", 2)]
    assert [one.user for one in store.people("an", limit=1)] == ["an_b"]
    assert [one.user for one in store.people("an", after="an_b")] == ["ann"]
    assert [one.user for one in store.people("%")] == ["%"], "a part is no pattern"
    assert [one.user for one in store.people("_")] == ["an_b"]
    assert store.people("ann")[0].last == NOON


def test_calls_are_added_up_by_model_and_outcome(store):
    def call(model: str, outcome: str, at: datetime) -> Call:
        return Call(at, "p@1", model, 10, 2, 1.5, outcome, "ann")

    store.log_calls([call("a", "ok", NOON), call("a", "ok", NOON), call("a", "TimedOut", NOON), call("b", "ok", NOON)])
    (first, *others) = store.usage()
    assert (first.model, first.outcome, first.calls) == ("a", "ok", 2)
    assert (first.prompt_tokens, first.completion_tokens, first.ms) == (20, 4, 3.0)
    assert {(one.model, one.outcome) for one in others} == {("a", "TimedOut"), ("b", "ok")}
    assert store.usage(NOON + timedelta(seconds=1)) == []


def test_there_is_something_to_undo_after_an_edit_and_nothing_after_it_was_undone(store):
    assert not store.undoable("ann")
    store.add_edit(TagEdit("ann", "Jazz", "", "add", 1, NOON))
    assert store.undoable("ann")
    assert not store.undoable("ben")
    store.undo_edits("ann")
    assert not store.undoable("ann")


def test_all_events_of_everybody_in_the_order_they_were_added(store):
    events = [happened(user=f"u{number % 7}", item=f"i{number}") for number in range(6_001)]
    store.add_events(events)
    assert list(store.all_events()) == events


def test_popularity_counts_yes_and_averages_stars(store):
    store.add_events(
        [
            happened(user="a", value=5.0),
            happened(user="b", value=2.0),
            happened(user="c", kind="review", value=4.0),
            happened(user="d", kind="like", value=None),
            happened(user="e", kind="view", value=None),
            happened(user="a", item="i2", kind="play", value=900.0),
            happened(user="a", item="i3", kind="dislike", value=None),
        ]
    )
    assert store.popularity() == {
        "i1": ItemStats(events=5, positive=3, mean_stars=pytest.approx(11 / 3)),
        "i2": ItemStats(events=1, positive=1, mean_stars=None),
        "i3": ItemStats(events=1, positive=0, mean_stars=None),
    }


def test_an_event_id_tells_apart_what_differs():
    parts = [("a", "bc", "play", None), ("ab", "c", "play", None), ("a", "bc", "view", None), ("a", "bc", "play", NOON)]
    parts += [
        ("a", "bc", "play", NOON + timedelta(microseconds=1)),
        ("1 1", "", "play", None),
        ("1", "1 ", "play", None),
    ]
    ids = {event_id(*part) for part in parts}
    assert len(ids) == len(parts)
    assert all(0 <= id < 2**63 for id in ids)
    assert event_id("a", "b", "play", NOON) == event_id("a", "b", "play", NOON.astimezone(timezone(timedelta(hours=8))))


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_keep_every_microsecond(at):
    assert codec.from_micros(codec.to_micros(at)) == at


# profiles, edits, calls, meta


def a_profile(version: int = 1) -> Profile:
    receipt = Receipt(2**62 + 1, "i1", NOON, "好看")
    tag = Tag("slow films", -1, 0.25, "observed", "category:Drama", (receipt,), NOON, None)
    provenance = Provenance("model", ("persona@1-8c1f02aa",), 10, 5, 1.5, version, ("a note",))
    return Profile("ann", (tag,), "Likes.", "model", Sentiment(1, 2, 3), "zh", ("Why?",), version, 7, NOON, provenance)


def test_a_profile_comes_back_as_it_was_given_and_versions_are_kept(store):
    assert store.profile("ann") is None
    assert store.profile_seq("ann") == 0
    store.add_events([happened()])
    for version in (1, 2, 10):
        store.save_profile(a_profile(version))
    store.save_profile(replace(a_profile(2), persona="Again."), seq=0)
    assert store.profile("ann") == a_profile(10)
    assert store.profile_seq("ann") == store.last_seq("ann") > 0
    assert [(profile.version, profile.persona) for profile in store.profile_history("ann")] == [
        (1, "Likes."),
        (2, "Again."),
        (10, "Likes."),
    ]


def test_a_damaged_profile_is_a_store_error(store, url):
    store.save_profile(a_profile())
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        raw.execute("UPDATE profiles SET body = '{'")
    raw.close()
    with pytest.raises(StoreError, match="profile"):
        store.profile("ann")


def test_edits_replace_by_name_and_feature_and_can_be_taken_back(store):
    first = TagEdit("ann", "jazz", "category:Jazz", "add", 1, NOON)
    other = TagEdit("ann", "jazz", "", "mute", -1, NOON + timedelta(days=1))
    store.add_edit(first)
    store.add_edit(other)
    store.add_edit(replace(first, action="remove"))
    assert store.edits("ann") == [replace(first, action="remove"), other]
    assert store.edits("bob") == []
    assert store.remove_edit("ann", "jazz", "category:Jazz")
    assert not store.remove_edit("ann", "jazz", "category:Jazz")
    assert store.edits("ann") == [other]


def test_the_log_of_calls_is_newest_first(store):
    calls = [Call(NOON, f"p@{n}", "m", n, n, 1.5, "ok", "ann" if n % 2 else "") for n in range(5)]
    for call in calls:
        store.log_call(call)
    assert store.calls(2) == [calls[4], calls[3]]
    assert store.calls(9, user="ann") == [calls[3], calls[1]]


def test_meta_keeps_the_last_value(store):
    assert store.meta("generation") is None
    store.set_meta("generation", "1")
    store.set_meta("generation", "2")
    assert store.meta("generation") == "2"


# a person's data out


def test_export_has_every_row_of_one_person_and_nobody_elses(store):
    store.add_events([happened(text="mine"), happened(user="bob", text="not mine")])
    store.save_profile(a_profile())
    store.add_edit(TagEdit("ann", "jazz", "", "add", 1, NOON))
    store.log_call(Call(NOON, "p", "m", 1, 1, 1.0, "ok", "ann"))
    out = store.export_user("ann")
    assert out["user"] == "ann"
    assert [event["text"] for event in out["events"]] == ["mine"]
    assert out["events"][0]["at"] == "2024-05-01T12:00:00+00:00"
    assert out["profiles"][0]["body"]["persona"] == "Likes."
    assert (len(out["tag_edits"]), len(out["calls"])) == (1, 1)
    assert "not mine" not in str(out)


# transactions, threads, processes


def test_a_trial_counts_and_leaves_nothing(store):
    with store.trial():
        assert store.add_items([Item("i1", "Solaris")]) == Counts(added=1)
        assert store.add_events([happened()]) == Counts(added=1)
        assert store.add_events([happened()]) == Counts(unchanged=1)
    assert (store.count_items(), store.count_events()) == (0, 0)
    assert store.add_events([happened()]) == Counts(added=1)


def test_an_error_inside_a_batch_leaves_nothing_of_it(store):
    with pytest.raises(StoreError):
        store.add_events([happened(), happened(user="\ud800")])
    assert store.count_events() == 0
    assert store.add_events([happened()]) == Counts(added=1)


def test_many_threads_read_while_one_writes(store):
    store.add_events([happened(item=str(number)) for number in range(50)])
    failures: list[BaseException] = []
    short: list[int] = []

    def read() -> None:
        try:
            for _ in range(20):
                if len(store.events("ann")) < 50:
                    short.append(1)
        except BaseException as error:  # noqa: BLE001  the test reports whatever a thread met
            failures.append(error)

    def write(name: str) -> None:
        try:
            for number in range(20):
                store.add_events([happened(user=name, item=str(number))])
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(12)]
    threads += [threading.Thread(target=write, args=(name,)) for name in ("bob", "eve", "joe")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert short == []
    assert store.count_events() == 50 + 3 * 20


def test_a_store_that_another_process_writes_to_is_busy(url):
    Store.open(url).close()
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    with Store.open(url, busy_s=0.05) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy):
            store.add_events([happened()])
        assert store.events("ann") == []
        other.execute("ROLLBACK")
        assert store.add_events([happened()]) == Counts(added=1)
    other.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_a_store_that_may_not_be_written_says_so(url):
    Store.open(url).close()
    Path(url.removeprefix("sqlite:///")).chmod(0o400)
    with pytest.raises(StoreError, match=r"read-only|cannot open"):
        Store.open(url).add_events([happened()])


def test_a_full_disk_is_said_and_costs_nothing_that_was_there(url):
    with Store.open(url) as store:
        store.add_events([happened()])
        with store._database.writer.connect() as connection:
            raw = connection.connection.driver_connection
            (pages,) = raw.execute("PRAGMA page_count").fetchone()
            raw.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match="disk is full"):
            store.add_events([happened(item=str(number), text="x" * 4_000) for number in range(200)])
        assert store.events("ann") == [happened()]


@pytest.mark.parametrize("damage", [b"", b"not a database, whatever it is called" * 200])
def test_a_file_that_is_no_store_is_refused_or_begun_anew(tmp_path, damage):
    file = tmp_path / "store.db"
    file.write_bytes(damage)
    if damage:
        with pytest.raises(StoreError, match="damaged"):
            Store.open(f"sqlite:///{file}")
        assert file.read_bytes() == damage
    else:
        with Store.open(f"sqlite:///{file}") as store:
            assert store.count_events() == 0


def test_a_torn_database_is_a_store_error(store, url):
    store.add_items(Item(f"i{number}", "Title " * 40) for number in range(3_000))
    store.close()
    file = Path(url.removeprefix("sqlite:///"))
    content = bytearray(file.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(StoreError), Store.open(url) as broken:
        list(broken.all_items())


def test_only_the_owner_may_read_the_file(store, url):
    assert stat.S_IMODE(Path(url.removeprefix("sqlite:///")).stat().st_mode) == 0o600


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "nonsense", "nosuch://host/name"])
def test_urls_that_cannot_work_say_why(url):
    with pytest.raises(SetupError):
        Store.open(url)


def test_the_pragmas_hold_on_every_connection(store):
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 30_000}
    for engine in (store._database.reader, store._database.writer):
        with engine.connect() as connection:
            raw = connection.connection.driver_connection
            found = {name: raw.execute(f"PRAGMA {name}").fetchone()[0] for name in expected}
        assert found == expected


def test_readers_cannot_write(store):
    with store._database.reader.connect() as connection:
        raw = connection.connection.driver_connection
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            raw.execute("DELETE FROM events")


# a dictionary as the model of the store

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from("12"),
        st.sampled_from(["rating", "view"]),
        st.sampled_from([None, NOON, NOON + timedelta(days=1)]),
        st.sampled_from([None, 1.0, 5.0]),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(ACTIONS, min_size=1, max_size=3))
def test_the_store_agrees_with_a_dictionary(tmp_path_factory, batches):
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('model')}/s.db") as store:
        model: dict[int, Event] = {}
        for batch in batches:
            events = [happened(user, item, kind, value, at) for user, item, kind, at, value in batch]
            last = {event.id: event for event in events}
            added = len(last.keys() - model.keys())
            changed = sum(id in model and model[id] != event for id, event in last.items())
            assert store.add_events(events) == Counts(added, changed, len(events) - added - changed)
            model |= last
        for user in "ab":
            mine = [event for event in model.values() if event.user == user]
            assert sorted(store.events(user), key=lambda event: event.id) == sorted(mine, key=lambda event: event.id)
        assert store.count_events() == len(model)
