"""Delimited text and Parquet through DuckDB: rows in their order, refused lines, and the line each row stood on.

Knows no format: what the columns mean is the readers' business.
"""

from __future__ import annotations

import codecs
import csv
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from agent.errors import ImportRefused
from agent.history.files import TORN, compressed, decoded, first_lines, opened, read_sample, utf16
from agent.history.records import Refusal, refusal

if TYPE_CHECKING:
    import duckdb

DELIMITERS = (",", "\t", ";", "|", "::")
_NO_DOWNLOADS = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_CONTROLS = bytes({*range(32)} - set(b"\t\n\v\f\r"))
_PAGE = 10_000
_BLOCK = 1 << 22
_TORN = "the compressed data is damaged from here on"


@dataclass(frozen=True)
class Layout:
    """How a delimited file is spelled. `columns` None: the first line names them."""

    delimiter: str | None = None
    """None: found out."""
    quote: str = '"'
    columns: tuple[str, ...] | None = None


@dataclass
class Table:
    """The rows of one file. Use inside `with open_table(…)`."""

    path: Path
    columns: tuple[str, ...]
    refused: list[Refusal]
    """Lines that are no rows."""
    notes: list[str]
    _database: duckdb.DuckDBPyConnection
    _text: Path | None
    """The file as DuckDB read it, line for line as the original; None for Parquet."""
    _skip: int = 0
    _taken: frozenset[int] = frozenset()
    _delimiter: str = ","
    _lines: array[int] | None = field(default=None, repr=False)

    def rows(self, *columns: str) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """(number, values of `columns`) of every row, in the file's order; `line` and `refuse` take the number."""
        cursor = self._database.cursor()
        cursor.execute(f"SELECT {', '.join(map(_name, columns))} FROM rows")
        number = 0
        while page := cursor.fetchmany(_PAGE):
            yield from enumerate(page, number)
            number += len(page)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer of DuckDB to `sql`, in which this table is called rows."""
        return self._database.cursor().execute(sql).fetchall()

    def count(self) -> int:
        return self.query("SELECT count(*) FROM rows")[0][0]

    def largest(self, column: str) -> float | None:
        """The largest finite number in a column; None without one."""
        value = f"TRY_CAST({_name(column)} AS DOUBLE)"
        return self.query(f"SELECT max({value}) FROM rows WHERE isfinite({value})")[0][0]

    def refuse(self, number: int, reason: str) -> Refusal:
        values = self.query(f"SELECT * FROM rows WHERE rowid = {int(number)}")[0]
        raw = self._delimiter.join("" if value is None else str(value) for value in values)
        return refusal(self.path, self.line(number), reason, raw)

    def line(self, number: int) -> int:
        """The line that a row began on, from 1; in a Parquet file the row; 0 where it cannot be told."""
        if self._text is None:
            return number + 1
        if self._lines is None:
            self._lines = self._find_lines(self._text)
        return self._lines[number] if number < len(self._lines) else 0

    def _find_lines(self, text: Path) -> array[int]:
        """The line of every row. Walks the file once, and only when a row has to be refused."""
        breaks = "coalesce(length({0}) - length(replace({0}, chr(10), '')), 0)"
        longer = " + ".join(breaks.format(_name(column)) for column in self.columns)
        more = dict(self.query(f"SELECT rowid, {longer} AS more FROM rows WHERE more > 0"))
        lines, inside = array("q"), 0
        with text.open("rb") as file:
            for line, content in enumerate(file, 1):
                if inside:
                    inside -= 1
                elif line > self._skip and line not in self._taken and content.strip(b"\r\n"):
                    inside = more.get(len(lines), 0)
                    lines.append(line)
        return lines


@contextmanager
def open_table(path: Path, layout: Layout = Layout()) -> Iterator[Table]:
    """The table in a delimited file (also gzip) or a Parquet file (by its name).
    Raises ImportRefused when it is not one at all; single bad lines are in `refused`."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="rapport-") as folder:
        database = duckdb.connect(
            config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        )
        try:
            database.execute("SET threads = 2")
            database.execute(f"SET temp_directory = '{_quoted(folder)}'")
            if path.suffix.lower() in (".parquet", ".pq"):
                yield _parquet(database, path, Path(folder))
            else:
                yield _delimited(database, path, Path(folder), layout)
        except (duckdb.Error, OSError) as error:
            raise ImportRefused(f"{path.name}: {str(error).splitlines()[0]}") from error
        finally:
            database.close()


def header(path: Path, layout: Layout = Layout()) -> tuple[str, ...]:
    """The column names in the first line of a delimited file; () when there is no readable first line."""
    try:
        line = next(iter(first_lines(path, 1)), "")
    except OSError:
        return ()
    return _cells(line, layout.delimiter or _delimiter([line]), layout.quote)


def _parquet(database: duckdb.DuckDBPyConnection, path: Path, folder: Path) -> Table:
    link = folder / "input.parquet"
    link.symlink_to(path.resolve())
    file = f"read_parquet('{_quoted(str(link))}')"
    kinds = database.execute(f"DESCRIBE SELECT * FROM {file}").fetchall()
    # A time with a zone becomes a Python object only with yet another package.
    columns = [_zoneless(name) if kind == "TIMESTAMP WITH TIME ZONE" else _name(name) for name, kind, *_ in kinds]
    database.execute(f"CREATE TABLE rows AS SELECT {', '.join(columns)} FROM {file}")
    return Table(path, tuple(name for name, *_ in kinds), [], [], database, None)


def _zoneless(column: str) -> str:
    return f"make_timestamp(epoch_us({_name(column)})) AS {_name(column)}"


def _delimited(database: duckdb.DuckDBPyConnection, path: Path, folder: Path, layout: Layout) -> Table:
    washed = _wash(path, folder / "input.txt")
    start, head = _first_line(washed.path)
    if not start:
        raise ImportRefused(f"{path.name}: the file is empty")
    delimiter = layout.delimiter or _delimiter(first_lines(washed.path, 20))
    columns = layout.columns or _unique(_cells(head, delimiter, layout.quote))
    if len(columns) < 2:
        raise ImportRefused(f"{path.name}: no columns: none of the delimiters , ; | :: and tab in the first line")
    skip = start if layout.columns is None else start - 1
    scan = _Scan(database, washed.path, delimiter, layout.quote if washed.quoted else "", columns, skip)
    refused = _load_all(scan, folder)
    torn = [(line, _TORN, "") for line in washed.torn]
    return Table(
        path,
        columns,
        [refusal(path, *reject) for reject in (*refused, *torn)],
        washed.notes,
        database,
        washed.path,
        skip,
        frozenset(line for line, *_ in refused),
        delimiter,
    )


Reject = tuple[int, str, str]
"""Line, reason, raw text."""

_REASONS = {
    "MISSING COLUMNS": "too few columns",
    "TOO MANY COLUMNS": "too many columns",
    "UNQUOTED VALUE": "a quote that does not close",
    "LINE SIZE OVER MAXIMUM": "line longer than 2 MB",
    "INVALID ENCODING": "bytes that are no text",
}


@dataclass(frozen=True)
class _Scan:
    database: duckdb.DuckDBPyConnection
    text: Path
    delimiter: str
    quote: str
    columns: tuple[str, ...]
    skip: int


def _load_all(scan: _Scan, folder: Path) -> list[Reject]:
    """Loads every line that is a row. After a stray quote DuckDB takes up again in the middle of the line, or at the
    next quote, or never: the line where that begins is refused and blanked, and the file is read again; if that does
    not end it, so is every line with an odd number of quotes."""
    refused: list[Reject] = []
    for attempt in range(4):
        found = _load(scan, attempt)
        broken = {line for line, reason, _ in found if reason == _REASONS["UNQUOTED VALUE"]}
        if not broken:
            return refused + found
        refused += _blank(scan, folder, broken, odd=attempt == 2)
    return refused + _load(scan, 4)


def _load(scan: _Scan, attempt: int) -> list[Reject]:
    types = ", ".join(f"'{_quoted(column)}': 'VARCHAR'" for column in scan.columns)
    scan.database.execute(
        f"CREATE OR REPLACE TABLE rows AS SELECT * FROM read_csv('{_quoted(str(scan.text))}', auto_detect = false, "
        f"columns = {{{types}}}, delim = '{scan.delimiter}', quote = '{scan.quote}', escape = '{scan.quote}', "
        f"header = false, skip = {scan.skip}, store_rejects = true, rejects_limit = 0, "
        f"rejects_table = 'bad{attempt}', rejects_scan = 'scan{attempt}')"
    )
    # One line can have several errors; positions count from 1.
    found = scan.database.execute(
        f"SELECT line_byte_position - 1, min(CAST(error_type AS VARCHAR)), min(csv_line) FROM bad{attempt} "
        "GROUP BY line_byte_position ORDER BY 1"
    ).fetchall()
    lines = _lines_at(scan.text, [position for position, *_ in found])
    return [
        (line, _REASONS.get(kind) or kind.lower(), str(raw).rstrip("\n"))
        for line, (_, kind, raw) in zip(lines, found, strict=True)
    ]


def _blank(scan: _Scan, folder: Path, lines: set[int], *, odd: bool) -> list[Reject]:
    """Empties these lines (`odd`: and those with an odd number of quotes) in a copy that takes the file's place."""
    refused: list[Reject] = []
    quote, copy = scan.quote.encode(), folder / "blanked.txt"
    with scan.text.open("rb") as old, copy.open("wb") as new:
        for number, content in enumerate(old, 1):
            if number > scan.skip and (number in lines or (odd and content.count(quote) % 2)):
                raw = content.decode("utf-8", "replace").rstrip("\r\n")
                refused.append((number, _REASONS["UNQUOTED VALUE"], raw))
                content = b"\r\n" if content.endswith(b"\r\n") else b"\n"
            new.write(content)
    copy.replace(scan.text)
    return refused


def _lines_at(text: Path, positions: Sequence[int]) -> list[int]:
    """The line (from 1) of each byte position; `positions` ascend."""
    lines: list[int] = []
    with text.open("rb") as file:
        line, at = 1, 0
        for position in positions:
            while at < position and (block := file.read(min(_BLOCK, position - at))):
                line += block.count(b"\n")
                at += len(block)
            lines.append(line)
    return lines


# Washing: DuckDB is always given UTF-8 without a mark, with one kind of line end, line for line as the original.


@dataclass(frozen=True)
class _Washed:
    path: Path
    quoted: bool
    """The file has quotes at all."""
    notes: list[str] = field(default_factory=list)
    torn: list[int] = field(default_factory=list)


def _wash(path: Path, target: Path) -> _Washed:
    with opened(path) as file:
        sample = read_sample(file)
    encoding = utf16(sample)
    if encoding is None and len(sample) - len(sample.translate(None, _CONTROLS)) > max(16, len(sample) // 50):
        raise ImportRefused(f"{path.name}: binary data, not a text file")
    plain = encoding is None and not sample.startswith(codecs.BOM_UTF8) and not compressed(path)
    if plain and (quoted := _tidy(path)) is not None:
        # A link with a name of our own: a path may hold what DuckDB takes for a pattern.
        target.symlink_to(path.resolve())
        return _Washed(target, quoted)
    with opened(path) as file, target.open("wb") as out:
        return _rewrite(file, out, target, encoding, b"\n" not in sample and b"\r" in sample)


def _tidy(path: Path) -> bool | None:
    """Whether a file holds quotes; None when it cannot be read as it is: not UTF-8, or line ends of several kinds."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    feeds = returns = pairs = 0
    quoted, last = False, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                return None
            feeds += block.count(b"\n")
            returns += block.count(b"\r")
            pairs += block.count(b"\r\n") + (last == b"\r" and block.startswith(b"\n"))
            quoted = quoted or b'"' in block
            last = block[-1:]
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return None
    return quoted if returns in (0, pairs) and pairs in (0, feeds) else None


def _rewrite(file: IO[bytes], out: IO[bytes], target: Path, encoding: str | None, old_mac: bool) -> _Washed:
    notes, torn = [], []
    quoted, other, line, first = False, 0, 0, True
    decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
    while True:
        try:
            piece = file.read(_BLOCK) if decoder or old_mac else file.readline(_BLOCK)
        except TORN:
            torn.append(line + 1)
            break
        if not piece:
            break
        if decoder:
            text = decoder.decode(piece)
        else:
            piece = piece.removeprefix(codecs.BOM_UTF8) if first else piece
            text = decoded(piece)
            other += not _is_utf8(piece)
        text = text.replace("\r\n", "\n").replace("\r", "\n" if old_mac else " ")
        quoted = quoted or '"' in text
        line += text.count("\n")
        first = False
        out.write(text.encode("utf-8", "replace"))
    if encoding:
        notes.append(f"read as {encoding}")
    if other:
        notes.append(f"{other} lines were not UTF-8 and were read as Windows-1252")
    return _Washed(target, quoted, notes, torn)


def _first_line(text: Path) -> tuple[int, str]:
    """Number and content of the first line that is not blank; 0 when there is none."""
    with text.open("rb") as file:
        for number, content in enumerate(iter(lambda: file.readline(_BLOCK), b""), 1):
            if content.strip():
                return number, content.decode("utf-8", "replace").rstrip("\r\n")
    return 0, ""


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _delimiter(lines: Sequence[str]) -> str:
    """The delimiter that splits the first line most often, and every other line too."""
    if not lines:
        return ","
    return max(DELIMITERS, key=lambda mark: (all(mark in line for line in lines), lines[0].count(mark), len(mark)))


def _cells(line: str, delimiter: str, quote: str) -> tuple[str, ...]:
    if len(delimiter) > 1 or not quote:
        return tuple(line.split(delimiter))
    try:
        return tuple(next(csv.reader([line], delimiter=delimiter, quotechar=quote), []))
    except csv.Error:
        return ()


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Column names without blanks around them, none empty, none twice (DuckDB does not tell capitals apart)."""
    found: dict[str, str] = {}
    for number, raw in enumerate(names, 1):
        name = raw.strip() or f"column{number}"
        while name.lower() in found:
            name += "_"
        found[name.lower()] = name
    return tuple(found.values())


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
