"""Events as they come over the wire: one at a time, or any number of lines that are never held together.

Knows rows and the store; knows no request and no key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agent.errors import UsageError
from agent.history import values
from agent.history.lines import reason
from agent.history.records import event
from agent.history.store import Counts, Store
from agent.history.text import TEXT, clean_text
from agent.history.values import Unusable
from agent.service.people import People
from agent.service.schemas import EventIn
from agent.types import Event

SOURCE = "api"
LONGEST = 256 * 1024
"""Bytes of a line; what is longer is refused."""
BATCH = 1000
"""Lines that are stored in one transaction."""
LISTED = 100
"""Refused lines that a report names."""
REASONS = 50
ROW = TypeAdapter(EventIn)


def event_of(row: EventIn, latest: datetime, now: datetime | None = None) -> Event:
    """The event that a row describes; `now`: when it happened if the row does not say. Raises Unusable."""
    at = values.time(row.at, latest) if row.at else now
    value = row.value
    if row.kind in ("rating", "review"):
        if value is None and row.kind == "rating":
            raise Unusable("a rating needs a value of 0.5 to 5 stars")
        if value is not None and not 0.5 <= value <= 5:
            raise Unusable("value is 0.5 to 5 stars")
    elif row.kind == "play":
        value = 1.0 if value is None else values.plays(value)
    elif value is not None:
        raise Unusable(f"a {row.kind} has no value")
    text = clean_text(row.text, TEXT)
    if row.kind == "review" and not text and value is None:
        raise Unusable("a review needs a text or a value")
    return event(row.user, row.item, row.kind, value=value, text=text, at=at, source=SOURCE)


def kept(store: Store, row: EventIn) -> dict[str, Any]:
    """Keep one event; says what became of it. Raises UsageError."""
    try:
        new = event_of(row, values.latest_time(), datetime.now(UTC))
    except Unusable as error:
        raise UsageError(str(error)) from error
    counts = store.add_events([new])
    item = store.item(new.item)
    return {"event": new.id, "stored": what(counts), "known_item": item is not None and bool(item.title)}


def what(counts: Counts) -> str:
    return "added" if counts.added else "changed" if counts.changed else "unchanged"


@dataclass
class Bulk:
    """A report that grows with every batch of lines. `only`: the one person whose events may come; "" = anybody's."""

    store: Store
    people: People
    only: str = ""
    lines: int = 0
    counts: Counts = field(default_factory=Counts)
    reasons: Counter[str] = field(default_factory=Counter)
    refusals: list[dict[str, Any]] = field(default_factory=list)

    def take(self, batch: Sequence[tuple[int, bytes | str]]) -> None:
        """(line number, the line, or why it was refused already). Stored when this returns; raises StoreError."""
        new: list[Event] = []
        latest = values.latest_time()
        for number, line in batch:
            try:
                new.append(self._event(line, latest))
            except Unusable as error:
                self._refuse(number, str(error))
        with ExitStack() as stack:
            for user in sorted({one.user for one in new}):
                stack.enter_context(self.people.about(user))
            self.counts += self.store.add_events(new)
        self.lines += len(batch)

    def report(self) -> dict[str, Any]:
        return {
            "lines": self.lines,
            "added": self.counts.added,
            "changed": self.counts.changed,
            "unchanged": self.counts.unchanged,
            "refused": self.reasons.total(),
            "reasons": dict(self.reasons.most_common()),
            "refusals": self.refusals,
        }

    def _event(self, line: bytes | str, latest: datetime) -> Event:
        if isinstance(line, str):
            raise Unusable(line)
        try:
            row = ROW.validate_json(line)
        except ValidationError as error:
            raise Unusable(reason(error)) from error
        if self.only and row.user != self.only:
            raise Unusable("this key speaks for another person")
        return event_of(row, latest)

    def _refuse(self, number: int, why: str) -> None:
        known = why if why in self.reasons or len(self.reasons) < REASONS else "other"
        self.reasons[known] += 1
        if len(self.refusals) < LISTED:
            self.refusals.append({"line": number, "reason": why})


async def lines_of(
    chunks: AsyncIterator[bytes], digest: Callable[[bytes], None]
) -> AsyncIterator[list[tuple[int, bytes | str]]]:
    """The lines of a body in batches, with their numbers; blank ones are passed over, too long ones cut off.

    Holds one batch and one line at most, however much comes without a line's end. `digest` is told every byte.
    """
    lines = Lines()
    batch: list[tuple[int, bytes | str]] = []
    async for chunk in chunks:
        digest(chunk)
        for one in lines.feed(chunk):
            batch.append(one)
            if len(batch) >= BATCH:
                yield batch
                batch = []
    batch += lines.end()
    if batch:
        yield batch


class Lines:
    """Cuts a stream of bytes into numbered lines."""

    def __init__(self) -> None:
        self._number = 0
        self._rest = bytearray()
        self._long = False

    def feed(self, chunk: bytes) -> Iterable[tuple[int, bytes | str]]:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._add(chunk[start:end])
            yield from self.end()
            start = end + 1
        self._add(chunk[start:])

    def end(self) -> list[tuple[int, bytes | str]]:
        """The line that ends here, unless it is blank."""
        line, long = bytes(self._rest).strip(), self._long
        self._number += 1
        self._rest.clear()
        self._long = False
        if long:
            return [(self._number, f"the line is longer than {LONGEST // 1024} KiB")]
        return [(self._number, line)] if line else []

    def _add(self, part: bytes) -> None:
        if self._long or len(self._rest) + len(part) > LONGEST:
            self._long = True
            self._rest.clear()
        else:
            self._rest += part
