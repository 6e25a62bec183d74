"""Folders of the Case Recommender collection: NAME_info.dat, NAME_ratings.dat, NAME_history.dat, e.g. anime.

Ratings are 1 to 10. What was consumed but not rated becomes one play.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.errors import ImportRefused
from agent.history import values
from agent.history.records import Format, Note, Record, Source, event, item
from agent.history.tables import Layout, open_table
from agent.history.values import Unusable

_TABS = Layout("\t", quote="")
_SCALE = 10


def _file(folder: Path, part: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"*_{part}.dat"))), None)


def _matches(path: Path) -> bool:
    return path.is_dir() and _file(path, "info") is not None and _file(path, "ratings") is not None


def _read(source: Source) -> Iterator[Record]:
    info, ratings, history = (_file(source.path, part) for part in ("info", "ratings", "history"))
    if info is None and ratings is None and history is None:
        raise ImportRefused(
            f"{source.path.name} holds no file called NAME_info.dat, NAME_ratings.dat or NAME_history.dat"
        )
    if info is not None:
        yield from _items(info)
    rated: set[tuple[str, str]] = set()
    if ratings is not None:
        yield Note(f"ratings of 1 to {_SCALE} became 0.5 to 5 stars")
        yield from _ratings(ratings, rated)
    if history is not None:
        yield Note("what was consumed but not rated became one play")
        yield from _plays(history, rated)


def _items(path: Path) -> Iterator[Record]:
    with open_table(path, _TABS) as table:
        names = [name for name in table.columns[1:] if name not in ("name", "genre")]
        for number, (id, name, genre, *rest) in table.rows(table.columns[0], "name", "genre", *names):
            attributes = {name: _number_or_text(value) for name, value in zip(names, rest, strict=True)}
            try:
                yield item(id, name, categories=values.parts(genre, ","), attributes=attributes)
            except Unusable as error:
                yield table.refuse(number, str(error))
        yield from table.refused


def _ratings(path: Path, rated: set[tuple[str, str]]) -> Iterator[Record]:
    with open_table(path, _TABS) as table:
        for number, (user, id, feedback) in table.rows(*table.columns[:3]):
            try:
                yield event(user, id, "rating", value=values.stars(feedback, _SCALE), source="caserec")
            except Unusable as error:
                yield table.refuse(number, str(error))
            else:
                rated.add((user, id))
        yield from table.refused


def _plays(path: Path, rated: set[tuple[str, str]]) -> Iterator[Record]:
    with open_table(path, _TABS) as table:
        for number, (user, id) in table.rows(*table.columns[:2]):
            if (user, id) in rated:
                continue
            try:
                yield event(user, id, "play", value=1.0, source="caserec")
            except Unusable as error:
                yield table.refuse(number, str(error))
        yield from table.refused


def _number_or_text(raw: str | None) -> int | float | str | None:
    try:
        value = values.number(raw, "attribute")
    except Unusable:
        return raw
    return int(value) if value.is_integer() else value


FORMAT = Format("caserec", "a folder with NAME_info.dat and NAME_ratings.dat (Case Recommender)", _matches, _read)
