"""Any table of events or items, as CSV, JSON lines or Parquet: what each column is, is guessed from its name or told.

`--map FIELD=COLUMN` names a column for one of `FIELDS`. Besides: `kind=WORD` where no such column exists gives every
event that kind, and `scale=N` says where ratings end; else that is guessed from the largest: 1 (liked or not), 5, 10 or
100.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from agent.errors import ImportRefused
from agent.history import values
from agent.history.lines import JsonTable
from agent.history.records import Format, Note, Record, Refusal, Source, event, item, review_text
from agent.history.tables import open_table
from agent.history.values import Unusable
from agent.types import Event, EventKind, Item

_KNOWN_AS = {
    "user": "user userid uid reviewerid customerid customer visitorid memberid accountid sessionid person",
    "item": "item itemid iid productid product parentasin asin movieid bookid isbn songid trackid artistid articleid "
    "newsid courseid videoid animeid gameid recipeid businessid sku stockcode",
    "kind": "kind event eventtype behavior behaviour behaviortype action interaction interactiontype activity",
    "rating": "rating stars star score overall reviewscore starrating bookrating ratings",
    "plays": "plays playcount listens listencount weight playscount",
    "at": "timestamp at time date datetime createdat eventtime unixreviewtime invoicedate ts timestampms reviewdate",
    "headline": "reviewtitle headline reviewheadline",
    "text": "review reviewtext reviewbody reviewfull comment text body content",
    "title": "title name itemtitle itemname producttitle productname movietitle booktitle songtitle trackname "
    "artistname",
    "category": "category categories genres genre class maincategory productcategory topics topic department subject",
    "description": "description desc plot overview summary abstract about",
    "creator": "creator creators author authors artist artists director directors brand store publisher channel "
    "instructor manufacturer",
    "year": "year releaseyear publicationyear yearofpublication",
    "price": "price unitprice cost",
    "language": "language lang",
    "image": "image imageurl picture cover thumbnail",
}
FIELDS = tuple(_KNOWN_AS)
OPTIONS = frozenset({*FIELDS, "scale"})
_OF_ITEMS = ("title", "category", "description", "creator", "year", "price", "language", "image")
_SCALES = (1, 5, 10, 100)


class Rows(Protocol):
    """What a table must offer: see tables.Table and lines.JsonTable."""

    path: Path
    columns: tuple[str, ...]
    refused: list[Refusal]
    notes: list[str]

    def rows(self, *columns: str) -> Iterator[tuple[int, tuple[Any, ...]]]: ...
    def largest(self, column: str) -> float | None: ...
    def refuse(self, number: int, reason: str, /) -> Refusal: ...


Opener = Callable[[Path], AbstractContextManager[Rows]]


@dataclass(frozen=True)
class Roles:
    """Which column plays which part."""

    column: Mapping[str, str]
    """field -> column"""
    kind: EventKind | None = None
    """The kind of every event, where no column says it."""

    def has(self, *fields: str) -> bool:
        return all(field in self.column for field in fields)

    def words(self) -> str:
        told = [f"{field}={column}" for field, column in self.column.items()]
        return ", ".join([*told, f"kind={self.kind}"] if self.kind else told)


def guess(columns: tuple[str, ...], mapping: Mapping[str, str]) -> Roles:
    """The role of each column, by its name; what `mapping` says goes first. Raises ImportRefused for a column that
    does not exist and an unknown kind."""
    told, kind = _told(columns, mapping)
    found = dict(told)
    by_name = {_plain(column): column for column in reversed(columns) if column not in told.values()}
    for field, names in _KNOWN_AS.items():
        match = next((by_name[name] for name in names.split() if name in by_name), None)
        if field not in found and match is not None and not (field == "kind" and kind):
            found[field] = match
    if "item" not in found and "user" not in found and "id" in by_name:
        found["item"] = by_name["id"]
    return Roles(found, kind)


def read_table(table: Rows, roles: Roles, source: Source, name: str, separators: str = "|;,") -> Iterator[Record]:
    """The events or the items of one table. `name`: the source of the events; `separators`: of lists, the first that
    occurs. Raises ImportRefused when it has neither."""
    if not (roles.has("user", "item") or roles.has("item", "title")):
        raise ImportRefused(
            f"{table.path.name}: needs columns for user and item (events) or for item and title (items); it has "
            f"{', '.join(table.columns[:30])}. Say which is which with --map user=…,item=…"
        )
    yield Note(f"{table.path.name}: {roles.words()}")
    yield from map(Note, table.notes)
    if roles.has("user"):
        yield from _events(table, roles, source, name, separators)
    else:
        yield from _items(table, roles, separators)
    yield from table.refused


def _told(columns: tuple[str, ...], mapping: Mapping[str, str]) -> tuple[dict[str, str], EventKind | None]:
    by_name = {column.lower(): column for column in columns}
    told: dict[str, str] = {}
    kind: EventKind | None = None
    for field, column in mapping.items():
        if field not in FIELDS:
            continue
        if column.lower() in by_name:
            told[field] = by_name[column.lower()]
        elif field == "kind":
            kind = _kind(column)
        else:
            raise ImportRefused(f"no column {column!r}; there are {', '.join(columns[:30])}")
    return told, kind


def _kind(word: str) -> EventKind:
    try:
        return values.kind(word)
    except Unusable:
        raise ImportRefused(f"{word!r} is neither a column nor a kind of event") from None


def _plain(column: str) -> str:
    """A column name as it is compared: no type suffix, no capitals, letters and digits only."""
    return re.sub(r"[\W_]", "", column.partition(":")[0].lower())


def _events(table: Rows, roles: Roles, source: Source, name: str, separators: str) -> Iterator[Record]:
    scale, note = _scale(table, roles, source.mapping)
    if note:
        yield Note(note)
    fields = tuple(roles.column)
    described: set[object] = set()
    for number, cells in table.rows(*roles.column.values()):
        row = dict(zip(fields, cells, strict=True))
        try:
            if row.get("title") and row["item"] not in described:
                described.add(row["item"])
                yield _item(row, separators, {})
            yield _event(row, roles.kind, scale, source.latest, name)
        except Unusable as error:
            yield table.refuse(number, str(error))


def _event(row: Mapping[str, Any], fixed: EventKind | None, scale: float, latest: datetime, name: str) -> Event:
    text = review_text(row.get("headline"), row.get("text"))
    rating, plays = _given(row.get("rating"), scale), row.get("plays")
    kind = fixed or (values.kind(row["kind"]) if row.get("kind") else _implied(rating, plays, text, scale))
    at = values.time(row.get("at"), latest)
    value = None
    if kind in ("rating", "review") and rating is not None:
        value = values.stars(rating, scale)
    elif kind == "rating":
        raise Unusable("a rating without a number")
    elif kind == "play":
        value = 1.0 if plays in (None, "") else values.plays(plays)
    return event(row["user"], row["item"], kind, value=value, text=text, at=at, source=name)


def _given(rating: object, scale: float) -> float | None:
    """The number that a person gave; None when they gave none, which some sources spell 0 or -1."""
    if rating in (None, ""):
        return None
    number = values.number(rating, "rating")
    return None if number in (0, -1) and 1 < scale < 100 else number


def _implied(rating: float | None, plays: object, text: str, scale: float) -> EventKind:
    """What a row without a kind says happened."""
    if rating is not None and scale == 1:
        return "like" if rating > 0 else "dislike"
    if text:
        return "review"
    if rating is not None:
        return "rating"
    return "view" if plays in (None, "") else "play"


def _scale(table: Rows, roles: Roles, mapping: Mapping[str, str]) -> tuple[float, str]:
    """Where the ratings end, and how that was found."""
    if "rating" not in roles.column:
        return 5, ""
    if "scale" in mapping:
        return _told_scale(mapping["scale"]), ""
    largest = table.largest(roles.column["rating"])
    if largest is None:
        return 5, ""
    scale = next((scale for scale in _SCALES if largest <= scale), None)
    if scale is None:
        raise ImportRefused(f"{table.path.name}: ratings up to {largest:g}; say where they end with --map scale=…")
    kept = {1: "1 became like, 0 dislike", 5: "kept as stars"}.get(scale, "became 0.5 to 5 stars")
    return scale, f"{table.path.name}: ratings up to {largest:g}, taken to end at {scale}: {kept}"


def _told_scale(raw: str) -> float:
    try:
        scale = values.number(raw, "scale")
    except Unusable as error:
        raise ImportRefused(str(error)) from None
    if scale < 1:
        raise ImportRefused("scale is where the ratings end: 1 or more")
    return scale


def _items(table: Rows, roles: Roles, separators: str) -> Iterator[Record]:
    known = tuple(roles.column)
    others = tuple(column for column in table.columns if column not in roles.column.values())
    for number, cells in table.rows(*roles.column.values(), *others):
        row = dict(zip(known, cells[: len(known)], strict=True))
        try:
            yield _item(row, separators, dict(zip(others, cells[len(known) :], strict=True)))
        except Unusable as error:
            yield table.refuse(number, str(error))


def _item(row: Mapping[str, Any], separators: str, others: Mapping[str, object]) -> Item:
    creators = values.parts(row.get("creator"), "|;")
    return item(
        row["item"],
        row.get("title"),
        text=row.get("description") or "",
        categories=values.parts(row.get("category"), separators),
        attributes={
            "year": values.year(row["year"]) if row.get("year") else None,
            "price": values.price(row.get("price")),
            "creator": creators or None,
            "language": row.get("language"),
            "image": row.get("image"),
            **{column.partition(":")[0]: value for column, value in others.items()},
        },
    )


def _read(source: Source, name: str, files: list[Path], opened: Opener) -> Iterator[Record]:
    """Every file; tables of items before tables of events, so that items are there when events refer to them."""
    with ExitStack() as stack:
        tables = [stack.enter_context(opened(file)) for file in files]
        known = [(table, guess(table.columns, source.mapping)) for table in tables]
        for table, roles in sorted(known, key=lambda found: found[1].has("user")):
            yield from read_table(table, roles, replace(source, path=table.path), name)


def _json_table(path: Path) -> AbstractContextManager[Rows]:
    return nullcontext(JsonTable(path))


def _files(path: Path, endings: tuple[str, ...]) -> list[Path]:
    candidates = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    return [file for file in candidates if file.name.lower().endswith(endings)]


def _format(name: str, looks_for: str, endings: tuple[str, ...], opened: Opener) -> Format:
    def matches(path: Path) -> bool:
        return bool(_files(path, endings))

    def read(source: Source) -> Iterator[Record]:
        # A file that was given as this format is read as it, whatever it is called.
        files = [source.path] if source.path.is_file() else _files(source.path, endings)
        if not files:
            raise ImportRefused(f"{source.path.name} holds no file that ends in {' or '.join(endings)}")
        yield from _read(source, name, files, opened)

    return Format(name, looks_for, matches, read, OPTIONS)


_CSV = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".txt", ".dat")
CSV = _format("csv", "delimited text (, ; tab | ::) with a header: .csv, .tsv, .txt, .dat", _CSV, open_table)
_JSONL = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
JSONL = _format("jsonl", "one JSON object a line: .jsonl, .ndjson, .json", _JSONL, _json_table)
PARQUET = _format("parquet", "Parquet: .parquet", (".parquet", ".pq"), open_table)
