"""What was said in conversations, and the wishes that are in force: a person's own rows, erased and exported with them.

Texts and bodies are kept as they are given; knows no model and does not read what is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select

from agent.history import codec
from agent.history.schema import conversations, turns, wishes
from agent.history.store import Store

_PAGE = 500


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """One exchange: what the person said, and what was understood and answered."""

    user: str
    conversation: str
    number: int
    """From 1 on, within the conversation."""
    at: datetime
    text: str
    body: str
    """JSON, opaque here."""


@dataclass(frozen=True, slots=True)
class StoredWish:
    """Something wanted until it expires."""

    user: str
    slot: str
    conversation: str
    number: int
    """The turn in which it was said."""
    at: datetime
    expires: datetime
    quote: str
    """The message: its receipt."""
    body: str
    """JSON, opaque here."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The beginning of a long conversation in few words."""

    text: str = ""
    folded: int = 0
    """How many turns it stands for."""


class Conversations:
    """The conversations in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_turn(self, user: str, conversation: str, at: datetime, text: str, body: str) -> int:
        """Keeps an exchange as the next of its conversation; returns its number."""
        mine = (turns.c.user == user) & (turns.c.conversation == conversation)
        with self._store.writing() as connection:
            last = connection.scalar(select(func.max(turns.c.number)).where(mine)) or 0
            row = {"user": user, "conversation": conversation, "at": codec.to_micros(at), "text": text, "body": body}
            connection.execute(insert(turns), {**row, "number": last + 1})
            known = (conversations.c.user == user) & (conversations.c.id == conversation)
            if connection.scalar(select(func.count()).select_from(conversations).where(known)) == 0:
                new = {"user": user, "id": conversation, "at": row["at"], "summary": "", "folded": 0}
                connection.execute(insert(conversations), new)
        return last + 1

    def set_body(self, user: str, conversation: str, number: int, body: str) -> None:
        """Replaces what was kept of an exchange's answer."""
        mine = (turns.c.user == user) & (turns.c.conversation == conversation) & (turns.c.number == number)
        with self._store.writing() as connection:
            connection.execute(turns.update().where(mine).values(body=body))

    def drop_turns(self, user: str, conversation: str, after: int) -> None:
        """Removes the exchanges of a conversation that come after number `after`."""
        beyond = (turns.c.user == user) & (turns.c.conversation == conversation) & (turns.c.number > after)
        with self._store.writing() as connection:
            connection.execute(delete(turns).where(beyond))

    def turns(self, user: str, conversation: str, last: int | None = None) -> list[StoredTurn]:
        """The exchanges of a conversation, oldest first; `last`: only so many of the newest."""
        mine = (turns.c.user == user) & (turns.c.conversation == conversation)
        query = select(turns).where(mine).order_by(turns.c.number.desc()).limit(last)
        with self._store.reading() as connection:
            return [_turn(row) for row in reversed(connection.execute(query).all())]

    def known(self, user: str) -> list[tuple[str, datetime, int]]:
        """(conversation, when it was last spoken in, number of exchanges), the newest first."""
        query = (
            select(turns.c.conversation, func.max(turns.c.at), func.count())
            .where(turns.c.user == user)
            .group_by(turns.c.conversation)
            .order_by(func.max(turns.c.at).desc())
        )
        with self._store.reading() as connection:
            return [(id, _moment(at), count) for id, at, count in connection.execute(query)]

    def openings(self, user: str) -> dict[str, str]:
        """What each conversation of this person began with."""
        query = select(turns.c.conversation, turns.c.text).where(turns.c.user == user, turns.c.number == 1)
        with self._store.reading() as connection:
            return {row.conversation: row.text for row in connection.execute(query)}

    def everybody(self) -> Iterator[StoredTurn]:
        """Every exchange of everybody."""
        last: tuple[str, str, int] | None = None
        key = (turns.c.user, turns.c.conversation, turns.c.number)
        while True:
            query = select(turns).order_by(*key).limit(_PAGE)
            if last is not None:
                user, conversation, number = last
                same = turns.c.user == user
                query = query.where(
                    (turns.c.user > user)
                    | (same & (turns.c.conversation > conversation))
                    | (same & (turns.c.conversation == conversation) & (turns.c.number > number))
                )
            with self._store.reading() as connection:
                page = [_turn(row) for row in connection.execute(query)]
            if not page:
                return
            yield from page
            last = (page[-1].user, page[-1].conversation, page[-1].number)

    def summary(self, user: str, conversation: str) -> Summary:
        mine = (conversations.c.user == user) & (conversations.c.id == conversation)
        with self._store.reading() as connection:
            row = connection.execute(select(conversations.c.summary, conversations.c.folded).where(mine)).first()
        return Summary(row.summary, row.folded) if row else Summary()

    def summarise(self, user: str, conversation: str, summary: Summary) -> None:
        mine = (conversations.c.user == user) & (conversations.c.id == conversation)
        with self._store.writing() as connection:
            connection.execute(conversations.update().where(mine).values(summary=summary.text, folded=summary.folded))

    # wishes

    def wish(self, new: StoredWish) -> StoredWish | None:
        """Keeps a wish in place of the one in its slot, which is returned."""
        with self._store.writing() as connection:
            mine = (wishes.c.user == new.user) & (wishes.c.slot == new.slot)
            before = connection.execute(select(wishes).where(mine)).first()
            connection.execute(delete(wishes).where(mine))
            row = {
                "user": new.user,
                "slot": new.slot,
                "conversation": new.conversation,
                "number": new.number,
                "at": codec.to_micros(new.at),
                "expires": codec.to_micros(new.expires),
                "quote": new.quote,
                "body": new.body,
            }
            connection.execute(insert(wishes), row)
        return _wish(before) if before else None

    def wishes(self, user: str, now: datetime) -> list[StoredWish]:
        """What this person wants and has not expired, oldest first."""
        query = select(wishes).where(wishes.c.user == user, wishes.c.expires > codec.to_micros(now))
        with self._store.reading() as connection:
            return [_wish(row) for row in connection.execute(query.order_by(wishes.c.at, wishes.c.slot))]

    def revoke(self, user: str, slots: Sequence[str] | None = None) -> int:
        """Takes wishes back, all of them without `slots`; says how many there were."""
        query = delete(wishes).where(wishes.c.user == user)
        with self._store.writing() as connection:
            return connection.execute(query if slots is None else query.where(wishes.c.slot.in_(slots))).rowcount


def _moment(micros: int) -> datetime:
    at = codec.from_micros(micros)
    assert at is not None
    return at


def _turn(row: Any) -> StoredTurn:
    return StoredTurn(row.user, row.conversation, row.number, _moment(row.at), row.text, row.body)


def _wish(row: Any) -> StoredWish:
    return StoredWish(
        row.user, row.slot, row.conversation, row.number, _moment(row.at), _moment(row.expires), row.quote, row.body
    )
