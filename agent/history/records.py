"""What a reader of a file format yields, and how it makes items and events; knows no format and no store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.history.store import event_id
from agent.history.text import NAME, TEXT, TITLE, clean_id, clean_line, clean_text
from agent.types import Event, EventKind, Item, Value

_CATEGORIES, _CREATORS, _ATTRIBUTES = 16, 10, 32
_RAW = 500


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not taken. `line` counts from 1; in a Parquet file it is the row. `raw` is cut."""

    file: str
    line: int
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something about the whole import that its report should say, e.g. how ratings were rescaled."""

    text: str


Record = Item | Event | Refusal | Note


@dataclass(frozen=True)
class Source:
    """What a reader is given."""

    path: Path
    mapping: Mapping[str, str]
    """Which column is what (`user`, `item`, …) and the options of a format; see the reader."""
    latest: datetime
    """The last time that an event may have."""


@dataclass(frozen=True)
class Format:
    """One file format: a reader's entry in the importer's table."""

    name: str
    looks_for: str
    """In words, for people whose file was not recognised."""
    matches: Callable[[Path], bool]
    read: Callable[[Source], Iterator[Record]]
    options: frozenset[str] = frozenset()
    """The keys of `mapping` that it understands."""


def refusal(path: Path, line: int, reason: str, raw: str) -> Refusal:
    return Refusal(path.name, line, reason, raw[:_RAW])


def event(
    user: object,
    item: object,
    kind: EventKind,
    *,
    value: float | None = None,
    text: str = "",
    at: datetime | None = None,
    source: str,
) -> Event:
    """An event with clean ids and its own id; `text` is clean already. Raises Unusable without user or item."""
    who, what = clean_id(user, "user"), clean_id(item, "item")
    return Event(event_id(who, what, kind, at), who, what, kind, value, text, at, source)


def item(
    id: object,
    title: object,
    *,
    text: object = "",
    categories: Iterable[object] = (),
    attributes: Mapping[str, object] | None = None,
) -> Item:
    """An item with clean, bounded fields; attributes without a value are left out. Raises Unusable without an id."""
    return Item(
        clean_id(id, "item"),
        clean_line(title, TITLE),
        clean_text(text, TEXT),
        names(categories, _CATEGORIES),
        _attributes(attributes or {}),
    )


def names(raw: Iterable[object], limit: int = _CREATORS) -> tuple[str, ...]:
    """Clean, different, non-empty names, at most `limit`, in their order."""
    # What is longer is no name but something that slipped into the column, and half of it would be no better.
    clean = (clean_line(name, NAME + 1) for name in raw)
    return tuple(dict.fromkeys(name for name in clean if 0 < len(name) <= NAME))[:limit]


def review_text(title: object, body: object) -> str:
    """A review's headline and body as one text, in which both can be quoted verbatim."""
    head, rest = clean_line(title), clean_text(body)
    return rest if rest.startswith(head) else f"{head}\n{rest}".strip()[:TEXT]


def _attributes(raw: Mapping[str, object]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, value in raw.items():
        clean = _attribute(value)
        key = clean_line(name, NAME)
        if clean not in (None, "", ()) and key and len(found) < _ATTRIBUTES:
            found[key] = clean  # type: ignore[assignment]
    return found


def _attribute(value: object) -> Value | None:
    if value is None or isinstance(value, bool):
        return None if value is None else str(value).lower()
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, list | tuple):
        return names(value)
    if isinstance(value, dict):
        return None
    return clean_line(value)
