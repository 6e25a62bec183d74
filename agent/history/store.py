"""The history store: items, events, profiles, tag edits, model calls, in SQL; the truth that all else is rebuilt from.

SQLite by default, PostgreSQL by URL. Knows no file format, no model and no vector.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import chain, islice
from typing import Any, Literal, TypeVar, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    bindparam,
    case,
    delete,
    distinct,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)

from agent.errors import StoreError
from agent.history import codec
from agent.history.database import Database, checkpoint, open_database, store_errors, warnings
from agent.history.schema import (
    PERSONAL,
    answers,
    calls,
    edit_steps,
    events,
    items,
    meta,
    profiles,
    tag_edits,
    tallies,
    turns,
    wishes,
)
from agent.types import Call, Event, EventKind, Item, Polarity, Profile, TagEdit

T = TypeVar("T")

_BATCH = 50_000
"""Rows per transaction of a bulk write."""
_CHUNK = 5_000
"""Values per IN list, and rows per page of an iteration."""
_PAGE = 500
"""Profiles that are read at a time: they are long."""
_ROWS = 2_000
"""Events per INSERT: times eight columns, it must stay below SQLite's 32,766 values."""
_STEPS = 100
"""Changes to what a person says about their tags that can be undone."""
POSITIVE_STARS = 4.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of rows that were handed to the store."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.added + other.added, self.changed + other.changed, self.unchanged + other.unchanged)


@dataclass(frozen=True, slots=True)
class ItemStats:
    """How an item did with everybody."""

    events: int
    positive: int
    """Events that say yes: like, purchase, play, and ratings or reviews of 4 stars or more."""
    mean_stars: float | None
    """Mean of ratings and reviews; None without any."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a list of people."""

    user: str
    events: int
    last: datetime | None
    """When the last dated event happened."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls of one model that ended in one way, added up."""

    model: str
    outcome: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    ms: float


def event_id(user: str, item: str, kind: str, at: datetime | None) -> int:
    """A number in [0, 2^63) for an event, the same on every machine; undated events have `at` None.

    >>> event_id("ann", "7", "play", None)
    6738274309496245466
    """
    # Lengths in front, so that no two different events spell the same bytes.
    spelled = f"{len(user)} {len(item)} {codec.to_micros(at)} {kind} {user}{item}"
    return int.from_bytes(blake2b(_bytes(spelled), digest_size=8).digest(), "big") >> 1


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair cannot be stored, but naming it must not fail.
        return text.encode("utf-8", "surrogatepass")


class Store:
    """One history store. Reads may come from several threads at once; writes wait for each other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Held by the thread that writes: the writing engine has one connection, which is not for sharing.
        self._writing = threading.RLock()
        self._open: Connection | None = None
        self._trier: int | None = None

    @staticmethod
    def open(url: str, *, busy_s: float = 30.0) -> Store:
        """Opens or makes the store at `url`: sqlite:///FILE or postgresql://…; migrates older tables in place.
        `busy_s`: how long a write waits for another process. Raises StoreError, StoreBusy, SetupError."""
        return Store(open_database(url, busy_s=busy_s))

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warnings(self) -> tuple[str, ...]:
        """What the person who runs this should know about the database library, in words."""
        return warnings(self._database)

    # items

    def add_items(self, new: Iterable[Item]) -> Counts:
        """Adds items, replaces those that differ. An item without a title never replaces one that has one."""
        total = Counts()
        for batch in batches(new, _BATCH):
            total += self._add_items(batch)
        return total

    def item(self, id: str) -> Item | None:
        return self.items([id]).get(id)

    def items(self, ids: Iterable[str]) -> dict[str, Item]:
        """Those of `ids` that exist, by id, in the order asked."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Item] = {}
        for chunk in batches(wanted, _CHUNK):
            with self.reading() as connection:
                rows = connection.execute(_ITEMS, {"ids": chunk}).all()
            found.update((item.id, item) for item in map(_item, rows))
        return {id: found[id] for id in wanted if id in found}

    def items_titled(self, words: str, limit: int) -> list[Item]:
        """Items whose title contains `words` in any case (of ASCII letters, on SQLite), the shortest titles first."""
        query = select(items).where(items.c.title.icontains(words, autoescape=True))
        with self.reading() as connection:
            rows = connection.execute(query.order_by(func.length(items.c.title), items.c.id).limit(limit)).all()
        return [_item(row) for row in rows]

    def all_items(self, after: str = "") -> Iterator[Item]:
        """Every item, by id; also those that events only refer to, which have the title "". `after`: only those with
        a greater id."""
        last: str | None = after or None
        while True:
            query = select(items).order_by(items.c.id).limit(_CHUNK)
            if last is not None:
                query = query.where(items.c.id > last)
            with self.reading() as connection:
                page = connection.execute(query).all()
            if not page:
                return
            yield from map(_item, page)
            last = page[-1].id

    def count_items(self, *, titled: bool = False) -> int:
        """How many items there are; `titled`: only those with a title."""
        query = select(func.count()).select_from(items)
        return self._number(query.where(items.c.title != "") if titled else query)

    # events

    def add_events(self, new: Iterable[Event]) -> Counts:
        """Adds events, replaces those with a known id that differ. An item that is not known yet gets a row without
        a title."""
        total = Counts()
        for batch in batches(new, _BATCH):
            total += self._add_events(batch)
        return total

    def remove_events(self, user: str, ids: Iterable[int]) -> int:
        """Deletes those of `ids` that are this person's, and what was counted from them, so that the next profile is
        built from what is left; says how many there were."""
        with self.writing() as connection:
            gone = 0
            for chunk in batches(ids, _CHUNK):
                mine = (events.c.user == user) & events.c.id.in_(chunk)
                gone += connection.execute(delete(events).where(mine)).rowcount
            if gone:
                connection.execute(delete(tallies).where(tallies.c.user == user))
        return gone

    def count_events(self) -> int:
        return self._number(select(func.count()).select_from(events))

    def count_users(self) -> int:
        """How many people have at least one event."""
        return self._number(select(func.count(distinct(events.c.user))))

    def users(self, limit: int | None = None) -> list[str]:
        """People with at least one event, by id."""
        query = select(events.c.user).distinct().order_by(events.c.user).limit(limit)
        with self.reading() as connection:
            return list(connection.scalars(query))

    def people(self, part: str = "", after: str = "", limit: int = 50) -> list[Person]:
        """People with events, by id, whose id holds `part`, from the one after `after` on."""
        found = events.c.user.contains(part, autoescape=True) & (events.c.user > after)
        query = select(events.c.user, func.count(), func.max(events.c.at)).where(found).group_by(events.c.user)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(events.c.user).limit(limit)).all()
        return [Person(user, count, codec.from_micros(last)) for user, count, last in rows]

    def profiled(self) -> list[str]:
        """People with a profile, by id; also those who have no event and only said something."""
        with self.reading() as connection:
            return list(connection.scalars(select(profiles.c.user).distinct().order_by(profiles.c.user)))

    def has_user(self, user: str) -> bool:
        """Whether anything is known about this person: an event, a profile, an edit, or a word in a conversation."""
        tables = (events, profiles, tag_edits, turns, wishes)
        known = [select(literal(1)).where(table.c.user == user).exists() for table in tables]
        with self.reading() as connection:
            return any(connection.execute(select(*known)).one())

    def events(self, user: str, since: int | None = None) -> list[Event]:
        """Oldest first. Undated events come before the dated ones, in the order they were added.
        `since`: seconds since 1970 UTC; only events dated then or later."""
        query = select(events).where(events.c.user == user)
        if since is not None:
            query = query.where(events.c.at >= since * 1_000_000)
        with self.reading() as connection:
            return [_event(row) for row in connection.execute(query.order_by(events.c.at.nulls_first(), events.c.seq))]

    def events_after(self, user: str, seq: int, until: int | None = None) -> list[Event]:
        """Events added or changed after the one with sequence number `seq` (and up to `until`), in that order."""
        bounds = {"of": user, "after": seq, "until": _LAST if until is None else until}
        with self.reading() as connection:
            return [_event(row) for row in connection.execute(_EVENTS_AFTER, bounds).all()]

    def events_by_id(self, user: str, ids: Iterable[int]) -> list[Event]:
        """Those of `ids` that are this person's."""
        found: list[Event] = []
        for chunk in batches(ids, _CHUNK):
            with self.reading() as connection:
                found += [_event(row) for row in connection.execute(_EVENTS_BY_ID, {"of": user, "ids": chunk}).all()]
        return found

    def stamp(self, user: str) -> tuple[int | None, ...]:
        """Changes whenever this person's events, profile or edits do."""
        with self.reading() as connection:
            return tuple(connection.execute(_STAMP, {"of": user}).one())

    def last_seq(self, user: str) -> int:
        """The sequence number of the event added last; 0 without events."""
        with self.reading() as connection:
            return connection.execute(_LAST_SEQ, {"of": user}).scalar_one()

    def all_events(self) -> Iterator[Event]:
        """Every event of everybody, in the order they were added."""
        last = 0
        while True:
            query = select(events).where(events.c.seq > last).order_by(events.c.seq).limit(_CHUNK)
            with self.reading() as connection:
                page = connection.execute(query).all()
            if not page:
                return
            yield from map(_event, page)
            last = page[-1].seq

    def popularity(self) -> dict[str, ItemStats]:
        """Statistics of every item with events; reads the whole table."""
        stars = case((events.c.kind.in_(("rating", "review")), events.c.value))
        yes = case((events.c.kind.in_(("like", "purchase", "play")), 1), (stars >= POSITIVE_STARS, 1), else_=0)
        query = select(events.c.item, func.count(), func.sum(yes), func.avg(stars)).group_by(events.c.item)
        with self.reading() as connection:
            return {item: ItemStats(count, int(good), mean) for item, count, good, mean in connection.execute(query)}

    # profiles

    def save_profile(self, profile: Profile, seq: int | None = None, tally: str | None = None) -> None:
        """Keeps a profile under its version; saving a version again replaces it, other versions stay.
        `seq`: the last event it was built from (see last_seq); None = the newest that there is now.
        `tally`: what was counted up to there, kept beside it in the same transaction; JSON, opaque here."""
        with self.writing() as connection:
            keep_profile(connection, profile, seq, tally)

    def profile(self, user: str) -> Profile | None:
        """The profile with the highest version."""
        row = self._newest_profile(user)
        return None if row is None else _profile(row.body)

    def newest_profiles(self, users: Iterable[str]) -> Iterator[Profile]:
        """The profile with the highest version of each of `users` that has one, in the order asked."""
        for chunk in batches(users, _PAGE):
            newest = select(profiles.c.user, func.max(profiles.c.version)).where(profiles.c.user.in_(chunk))
            query = select(profiles.c.user, profiles.c.body).where(
                tuple_(profiles.c.user, profiles.c.version).in_(newest.group_by(profiles.c.user))
            )
            with self.reading() as connection:
                found = {row.user: row.body for row in connection.execute(query)}
            yield from (_profile(found[user]) for user in chunk if user in found)

    def tally(self, user: str) -> str | None:
        """What was counted for the newest profile, as it was given to save_profile."""
        with self.reading() as connection:
            return connection.scalar(select(tallies.c.body).where(tallies.c.user == user))

    def profile_seq(self, user: str) -> int:
        """The sequence number of the last event that the newest profile was built from; 0 without a profile."""
        row = self._newest_profile(user)
        return 0 if row is None else row.seq

    def profile_history(self, user: str) -> list[Profile]:
        """Every version, oldest first."""
        query = select(profiles.c.body).where(profiles.c.user == user).order_by(profiles.c.version)
        with self.reading() as connection:
            return [_profile(body) for body in connection.scalars(query)]

    # what people said about their tags

    def edits(self, user: str) -> list[TagEdit]:
        """What this person stated, removed and muted, oldest first."""
        with self.reading() as connection:
            return [_edit(row) for row in connection.execute(_EDITS, {"of": user}).all()]

    def add_edit(self, edit: TagEdit) -> None:
        """Keeps an edit; a later one about the same name and feature takes its place."""
        with self.writing() as connection:
            _note_step(connection, edit.user)
            connection.execute(delete(tag_edits).where(_same_edit(edit.user, edit.name, edit.feature)))
            connection.execute(insert(tag_edits), _edit_row(edit))

    def remove_edit(self, user: str, name: str, feature: str = "") -> bool:
        """Takes an edit back; says whether there was one."""
        with self.writing() as connection:
            _note_step(connection, user)
            return connection.execute(delete(tag_edits).where(_same_edit(user, name, feature))).rowcount > 0

    def replace_edits(self, user: str, edits: Sequence[TagEdit]) -> None:
        """All that this person says about their tags from now on, in one step."""
        with self.writing() as connection:
            _note_step(connection, user)
            _put_edits(connection, user, edits)

    def undo_edits(self, user: str) -> bool:
        """Everything said about tags as it was before the last step; says whether there was one."""
        newest = select(edit_steps).where(edit_steps.c.user == user).order_by(edit_steps.c.seq.desc()).limit(1)
        with self.writing() as connection:
            step = connection.execute(newest).first()
            if step is None:
                return False
            connection.execute(delete(edit_steps).where(edit_steps.c.seq == step.seq))
            _put_edits(connection, user, codec.read_edits(step.body, user))
            return True

    def undoable(self, user: str) -> bool:
        """Whether there is a step that undo_edits would take back."""
        step = select(literal(1)).where(edit_steps.c.user == user).exists()
        with self.reading() as connection:
            return bool(connection.execute(select(step)).scalar())

    # the log of model calls

    def log_call(self, call: Call) -> None:
        self.log_calls([call])

    def log_calls(self, made: Sequence[Call]) -> None:
        """Notes calls in this order."""
        rows = [
            {
                "at": codec.to_micros(call.at),
                "prompt": call.prompt,
                "model": call.model,
                "prompt_tokens": call.prompt_tokens,
                "completion_tokens": call.completion_tokens,
                "ms": call.ms,
                "outcome": call.outcome,
                "user": call.user,
            }
            for call in made
        ]
        if rows:
            with self.writing() as connection:
                connection.execute(insert(calls), rows)

    def calls(self, limit: int, user: str | None = None) -> list[Call]:
        """The last `limit` calls, newest first; `user`: only those about this person."""
        query = select(calls).order_by(calls.c.id.desc()).limit(limit)
        with self.reading() as connection:
            rows = connection.execute(query if user is None else query.where(calls.c.user == user)).all()
        return [_call(row) for row in rows]

    def usage(self, since: datetime | None = None) -> list[Usage]:
        """What each model was asked from then on, by model and outcome, the most asked first."""
        query = select(
            calls.c.model,
            calls.c.outcome,
            func.count(),
            func.sum(calls.c.prompt_tokens),
            func.sum(calls.c.completion_tokens),
            func.sum(calls.c.ms),
        )
        if since is not None:
            query = query.where(calls.c.at >= codec.to_micros(since))
        grouped = query.group_by(calls.c.model, calls.c.outcome).order_by(func.count().desc(), calls.c.model)
        with self.reading() as connection:
            return [
                Usage(model, outcome, count, int(prompt), int(completion), float(ms))
                for model, outcome, count, prompt, completion, ms in connection.execute(grouped)
            ]

    # answers of a model to a job that is not finished yet

    def answer(self, user: str, key: str) -> str | None:
        """What was answered to the question `key` in the course of this person's unfinished job."""
        query = select(answers.c.body).where(answers.c.user == user, answers.c.key == key)
        with self.reading() as connection:
            return connection.scalar(query)

    def answers_to(self, user: str, keys: Iterable[str]) -> dict[str, str]:
        """The same for many questions at once; those without an answer are left out."""
        found: dict[str, str] = {}
        for chunk in batches(keys, _CHUNK):
            query = select(answers.c.key, answers.c.body).where(answers.c.user == user, answers.c.key.in_(chunk))
            with self.reading() as connection:
                found.update((key, body) for key, body in connection.execute(query))
        return found

    def keep_answer(self, user: str, key: str, body: str) -> None:
        """Keeps an answer, in place of an earlier one to the same question. `body`: JSON, opaque here."""
        self.keep_answers({(user, key): body})

    def keep_answers(self, bodies: Mapping[tuple[str, str], str]) -> None:
        """The same for many, (user, key) -> body, all of them or none."""
        at = codec.to_micros(datetime.now(UTC))
        rows = [{"user": user, "key": key, "body": body, "at": at} for (user, key), body in bodies.items()]
        if rows:
            with self.writing() as connection:
                connection.execute(_DELETE_ANSWER, [{"whose": one["user"], "what": one["key"]} for one in rows])
                connection.execute(insert(answers), rows)

    def drop_answers(self, user: str) -> None:
        """Forgets the answers of this person's job: it is finished, or will not be taken up again."""
        with self.writing() as connection:
            connection.execute(delete(answers).where(answers.c.user == user))

    # small facts about the store itself

    def meta(self, key: str) -> str | None:
        with self.reading() as connection:
            return connection.scalar(select(meta.c.value).where(meta.c.key == key))

    def set_meta(self, key: str, value: str) -> None:
        with self.writing() as connection:
            connection.execute(delete(meta).where(meta.c.key == key))
            connection.execute(insert(meta), {"key": key, "value": value})

    # a person's rights

    def erase_user(self, user: str) -> dict[str, int]:
        """Deletes every row of this person in every table and overwrites the bytes; says how many rows went, by table.
        Raises StoreBusy when a reader kept the journal from being emptied: the rows are gone then, call again."""
        with self.writing() as connection:
            gone = {table.name: _erase(connection, table, user) for table in PERSONAL}
        with self._writing:
            checkpoint(self._database)
        return gone

    def export_user(self, user: str) -> dict[str, Any]:
        """Every row of this person, by table, as JSON-ready values; times in ISO 8601."""
        with self.reading() as connection:
            tables = {
                table.name: [
                    _readable(row) for row in connection.execute(_open_part(table).where(table.c.user == user))
                ]
                for table in PERSONAL
            }
        return {"user": user, **tables}

    # transactions

    @contextmanager
    def trial(self) -> Iterator[None]:
        """What this thread writes inside is counted, and read by this thread, as if it were kept; then taken back."""
        with self._writing, store_errors(), self._database.writer.connect() as connection:
            transaction = connection.begin()
            self._open, self._trier = connection, threading.get_ident()
            try:
                yield
            finally:
                self._open = self._trier = None
                transaction.rollback()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that writes, kept when the block ends well; for the modules of this package.

        What writes inside the block belongs to the same transaction."""
        with self._writing, store_errors():
            if self._open is not None:
                yield self._open
                return
            with self._database.writer.begin() as connection:
                self._open = connection
                try:
                    yield connection
                finally:
                    self._open = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that reads; for the modules of this package."""
        with store_errors():
            # Only the thread on trial may use the writing connection; the others see what is kept.
            if self._open is not None and self._trier == threading.get_ident():
                yield self._open
                return
            with self._database.reader.begin() as connection:
                yield connection

    def _number(self, query: Any) -> int:
        with self.reading() as connection:
            return connection.execute(query).scalar_one()

    def _newest_profile(self, user: str) -> Any:
        with self.reading() as connection:
            return connection.execute(_NEWEST_PROFILE, {"of": user}).first()

    def _add_items(self, batch: Sequence[Item]) -> Counts:
        # Titled rows last, so that they win over a bare reference to the same item.
        rows = {item.id: _item_row(item) for item in sorted(batch, key=lambda item: item.title != "")}
        with self.writing() as connection:
            known: dict[str, dict[str, Any]] = {}
            for chunk in batches(rows, _CHUNK):
                found = connection.execute(select(items).where(items.c.id.in_(chunk)))
                known.update((row.id, dict(row._mapping)) for row in found)
            added = [row for id, row in rows.items() if id not in known]
            changed = [row for id, row in rows.items() if id in known and _replaces(row, known[id])]
            if added:
                connection.execute(insert(items), added)
            if changed:
                connection.execute(_UPDATE_ITEM, [_item_update(row) for row in changed])
        return Counts(len(added), len(changed), len(batch) - len(added) - len(changed))

    def _add_events(self, batch: Sequence[Event]) -> Counts:
        unique = {event.id: event for event in batch}
        with self.writing() as connection:
            _insert_missing_items(connection, list({event.item: None for event in batch}))
            added = _insert_new_events(connection, list(unique.values()))
            changed: list[Event] = []
            if added < len(unique):
                # Those just added are as they should be; what differs was there before.
                known = _known_events(connection, unique)
                changed = [event for event in unique.values() if _content(event) != known[event.id]]
            if changed:
                # Under a new sequence number, so that what follows the sequence hears of the change.
                connection.execute(_DELETE_EVENT, [{"this": event.id} for event in changed])
                _insert_new_events(connection, changed)
        return Counts(added, len(changed), len(batch) - added - len(changed))


def keep_profile(connection: Connection, profile: Profile, seq: int | None, tally: str | None) -> None:
    """As Store.save_profile, in a transaction that is under way."""
    newest = select(func.coalesce(func.max(events.c.seq), 0)).where(events.c.user == profile.user)
    row = {
        "user": profile.user,
        "version": profile.version,
        "seq": connection.scalar(newest) if seq is None else seq,
        "body": codec.profile_json(profile),
    }
    same = (profiles.c.user == profile.user) & (profiles.c.version == profile.version)
    connection.execute(delete(profiles).where(same))
    connection.execute(insert(profiles), row)
    if tally is not None:
        connection.execute(delete(tallies).where(tallies.c.user == profile.user))
        connection.execute(insert(tallies), {"user": profile.user, "body": tally})


# What is asked for every person of a batch is built once: to build a statement takes as long as to run it.
_LAST = 2**63 - 1
_ITEMS = select(items).where(items.c.id.in_(bindparam("ids", expanding=True)))
_EVENTS = select(events).where(events.c.user == bindparam("of"))
_EVENTS_AFTER = _EVENTS.where(events.c.seq > bindparam("after"), events.c.seq <= bindparam("until")).order_by(
    events.c.seq
)
_EVENTS_BY_ID = _EVENTS.where(events.c.id.in_(bindparam("ids", expanding=True)))
_STAMP = select(
    select(func.max(events.c.seq)).where(events.c.user == bindparam("of")).scalar_subquery(),
    select(func.count()).where(events.c.user == bindparam("of")).scalar_subquery(),
    select(func.max(profiles.c.version)).where(profiles.c.user == bindparam("of")).scalar_subquery(),
    select(func.max(profiles.c.seq)).where(profiles.c.user == bindparam("of")).scalar_subquery(),
    select(func.count()).where(tag_edits.c.user == bindparam("of")).scalar_subquery(),
    select(func.max(tag_edits.c.at)).where(tag_edits.c.user == bindparam("of")).scalar_subquery(),
)
_LAST_SEQ = select(func.coalesce(func.max(events.c.seq), 0)).where(events.c.user == bindparam("of"))
_EDITS = (
    select(tag_edits)
    .where(tag_edits.c.user == bindparam("of"))
    .order_by(tag_edits.c.at.nulls_first(), tag_edits.c.name)
)
_NEWEST_PROFILE = (
    select(profiles).where(profiles.c.user == bindparam("of")).order_by(profiles.c.version.desc()).limit(1)
)
_ITEM_CONTENT = ("title", "text", "categories", "attributes", "added_at")
_EVENT_COLUMNS = ("id", "user", "item", "kind", "value", "text", "at", "source")
_UPDATE_ITEM = update(items).where(items.c.id == bindparam("this"))
_DELETE_ANSWER = delete(answers).where(answers.c.user == bindparam("whose"), answers.c.key == bindparam("what"))
_DELETE_EVENT = delete(events).where(events.c.id == bindparam("this"))


def batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def _item_update(row: dict[str, Any]) -> dict[str, Any]:
    return {"this": row["id"], **{name: row[name] for name in _ITEM_CONTENT}}


def _item_row(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "title": item.title,
        "text": item.text,
        "categories": codec.categories_json(item.categories),
        "attributes": codec.attributes_json(item.attributes),
        "added_at": codec.to_micros(item.added_at),
    }


def _item(row: Any) -> Item:
    id, title, text, categories, attributes, added_at = row
    return Item(
        id,
        title,
        text,
        codec.read_categories(categories),
        codec.read_attributes(attributes),
        codec.from_micros(added_at),
    )


def _replaces(row: dict[str, Any], known: dict[str, Any]) -> bool:
    return row != known and (row["title"] != "" or known["title"] == "")


def _event_row(event: Event) -> tuple[int | str | float | None, ...]:
    """Its values in the order of `_EVENT_COLUMNS`."""
    at = codec.to_micros(event.at)
    return (event.id, event.user, event.item, event.kind, event.value, event.text, at, event.source)


def _event(row: Any) -> Event:
    _, id, user, item, kind, value, text, at, source = row
    return Event(id, user, item, cast(EventKind, kind), value, text, codec.from_micros(at), source)


def _content(event: Event) -> tuple[float | None, str]:
    """What may differ between two reports of the same event."""
    return (event.value, event.text)


def _known_events(connection: Connection, ids: Iterable[int]) -> dict[int, tuple[float | None, str]]:
    known: dict[int, tuple[float | None, str]] = {}
    for chunk in batches(ids, _CHUNK):
        # Written out, because naming 5,000 parameters costs more than looking them up; they are numbers that we made.
        numbers = ",".join(map(str, map(int, chunk)))
        found = connection.exec_driver_sql(f"SELECT id, value, text FROM events WHERE id IN ({numbers})")
        known.update((id, (value, text)) for id, value, text in found)
    return known


def _insert_new_events(connection: Connection, new: list[Event]) -> int:
    """Inserts those whose id is not there yet; says how many."""
    # Inline: no RETURNING, which has no place before ON CONFLICT.
    compiled = insert(events).inline().compile(dialect=connection.dialect, column_keys=list(_EVENT_COLUMNS))
    head, _, row = str(compiled).partition(" VALUES ")
    added = 0
    for chunk in batches(new, _ROWS):
        rows = [_event_row(event) for event in chunk]
        if compiled.positional:
            # Many rows in one statement: a third faster than one by one, and SQLite lets other threads run meanwhile.
            statement = f"{head} VALUES {', '.join([row] * len(rows))} ON CONFLICT (id) DO NOTHING"
            added += connection.exec_driver_sql(statement, tuple(chain.from_iterable(rows))).rowcount
        else:
            named = [dict(zip(_EVENT_COLUMNS, values, strict=True)) for values in rows]
            added += connection.exec_driver_sql(f"{compiled} ON CONFLICT (id) DO NOTHING", named).rowcount
    return added


def _insert_missing_items(connection: Connection, ids: list[str]) -> None:
    known: set[str] = set()
    for chunk in batches(ids, _CHUNK):
        known.update(connection.scalars(select(items.c.id).where(items.c.id.in_(chunk))))
    missing = [_item_row(Item(id, "")) for id in ids if id not in known]
    if missing:
        connection.execute(insert(items), missing)


def _profile(body: str) -> Profile:
    try:
        return codec.read_profile(body)
    except ValueError as error:
        raise StoreError("a stored profile cannot be read: it is damaged, or from another version") from error


def _edit(row: Any) -> TagEdit:
    action = cast(Literal["add", "remove", "mute"], row.action)
    return TagEdit(row.user, row.name, row.feature, action, cast(Polarity, row.polarity), codec.from_micros(row.at))


def _same_edit(user: str, name: str, feature: str) -> ColumnElement[bool]:
    return (tag_edits.c.user == user) & (tag_edits.c.name == name) & (tag_edits.c.feature == feature)


def _call(row: Any) -> Call:
    at = codec.EPOCH + timedelta(microseconds=row.at)
    return Call(at, row.prompt, row.model, row.prompt_tokens, row.completion_tokens, row.ms, row.outcome, row.user)


def _erase(connection: Connection, table: Table, user: str) -> int:
    return connection.execute(delete(table).where(table.c.user == user)).rowcount


def _edit_row(edit: TagEdit) -> dict[str, Any]:
    return {
        "user": edit.user,
        "name": edit.name,
        "feature": edit.feature,
        "action": edit.action,
        "polarity": edit.polarity,
        "at": codec.to_micros(edit.at),
    }


def _note_step(connection: Connection, user: str) -> None:
    """Keeps what was said so far, so that the change that follows can be undone; the oldest steps go."""
    said = [_edit(row) for row in connection.execute(_EDITS, {"of": user})]
    row = {"user": user, "at": codec.to_micros(datetime.now(UTC)), "body": codec.edits_json(said)}
    connection.execute(insert(edit_steps), row)
    mine = select(edit_steps.c.seq).where(edit_steps.c.user == user).order_by(edit_steps.c.seq.desc())
    too_old = connection.scalar(mine.offset(_STEPS).limit(1))
    if too_old is not None:
        connection.execute(delete(edit_steps).where(edit_steps.c.user == user, edit_steps.c.seq <= too_old))


def _put_edits(connection: Connection, user: str, edits: Sequence[TagEdit]) -> None:
    connection.execute(delete(tag_edits).where(tag_edits.c.user == user))
    if edits:
        connection.execute(insert(tag_edits), [_edit_row(edit) for edit in edits])


def _open_part(table: Table) -> Any:
    """Every column of a table but the secret ones."""
    return select(*(column for column in table.columns if not column.info.get("secret")))


def _readable(row: Any) -> dict[str, Any]:
    values = dict(row._mapping)
    for name in ("at", "expires"):
        # A job's lease expires too, at 0 while nobody holds it.
        if name in values and "fence" not in values and (at := codec.from_micros(values[name])) is not None:
            values[name] = at.isoformat()
    if "body" in values:
        values["body"] = json.loads(values["body"])
    return values
