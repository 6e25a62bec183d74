"""JSON lines, plain or gzip, one bounded line at a time, each validated by a pydantic model; knows no format."""

from __future__ import annotations

import codecs
import io
import json
import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from agent.history.files import TORN, decoded, opened, read_sample, utf16
from agent.history.records import Refusal, refusal

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

Row = TypeVar("Row")
LONGEST = 4 << 20
"""Bytes of the longest line that is read."""


def json_lines(path: Path, rows: TypeAdapter[Row]) -> Iterator[tuple[int, Row] | Refusal]:
    """(line number, row) of every line that `rows` accepts, a refusal for every other; blank lines are passed over."""
    from pydantic import ValidationError

    for found in _lines(path):
        if isinstance(found, Refusal):
            yield found
            continue
        number, line = found
        try:
            yield number, rows.validate_json(line)
        except ValidationError as error:
            yield refusal(path, number, reason(error), line)


class JsonTable:
    """A file of flat JSON objects, read as a table is: see tables.Table. `columns`: the keys of the first 200 lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: list[Refusal] = []
        """Lines that are no objects; complete when `rows` has ended."""
        self.notes: list[str] = []
        firsts = islice((found[1] for found in self._objects() if not isinstance(found, Refusal)), 200)
        self.columns = tuple(dict.fromkeys(key for row in firsts for key in row))
        self._current: dict[str, Any] = {}

    def rows(self, *columns: str) -> Iterator[tuple[int, tuple[Any, ...]]]:
        self.refused = []
        for found in self._objects():
            if isinstance(found, Refusal):
                self.refused.append(found)
            else:
                number, self._current = found
                yield number, tuple(self._current.get(column) for column in columns)

    def largest(self, column: str) -> float | None:
        """The largest finite number in a column; None without one. Reads the whole file."""
        found = (_number(row[1].get(column)) for row in self._objects() if not isinstance(row, Refusal))
        return max((value for value in found if value is not None), default=None)

    def refuse(self, number: int, why: str) -> Refusal:
        """A refusal of the row that `rows` gave last."""
        return refusal(self.path, number, why, json.dumps(self._current, default=str))

    def _objects(self) -> Iterator[tuple[int, dict[str, Any]] | Refusal]:
        from pydantic import TypeAdapter

        return json_lines(self.path, TypeAdapter(dict[str, Any]))


def _number(raw: Any) -> float | None:
    try:
        value = float(raw)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _lines(path: Path) -> Iterator[tuple[int, str] | Refusal]:
    number = 0
    try:
        with opened(path) as file:
            encoding = utf16(read_sample(file))
            file.seek(0)
            readline = _reader(file, encoding)
            while line := readline():
                number += 1
                if len(line) >= LONGEST and not line.endswith(b"\n"):
                    while (rest := readline()) and not rest.endswith(b"\n"):
                        pass
                    yield refusal(path, number, f"line longer than {LONGEST >> 20} MB", decoded(line[:2_000]))
                elif text := decoded(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip():
                    yield number, text
    except TORN:
        yield refusal(path, number + 1, "the compressed data is damaged from here on", "")


def _reader(file: IO[bytes], encoding: str | None) -> Callable[[], bytes]:
    """A function that reads the next line, or so much of it as is allowed, as bytes in UTF-8 or what it was in."""
    if encoding is None:
        return lambda: file.readline(LONGEST)
    text = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="\n")
    return lambda: text.readline(LONGEST).encode("utf-8", "replace")


def reason(error: ValidationError) -> str:
    """The first thing that is wrong, without the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return "not JSON"
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
