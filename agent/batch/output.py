"""Files of a batch: ids in; profiles out as JSON lines, CSV or Parquet, whole or not at all. Knows no database."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent import shapes
from agent.errors import UsageError
from agent.history.text import clean_id
from agent.types import Profile

COLUMNS = {
    "user": "VARCHAR",
    "persona": "VARCHAR",
    "persona_by": "VARCHAR",
    "language": "VARCHAR",
    "likes": "VARCHAR",
    "dislikes": "VARCHAR",
    "tags": "VARCHAR",
    "events": "BIGINT",
    "as_of": "TIMESTAMPTZ",
    "version": "BIGINT",
    "model": "VARCHAR",
}
"""Of a flat file, with their SQL types. `tags` is JSON, as in the profile; likes and dislikes are their names."""


def ids(path: Path) -> list[str]:
    """People's ids from a file, one a line, spelled as an import spells them. Raises UsageError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        found = [clean_id(line, "user") for line in lines if line.strip()]
    except OSError as error:
        raise UsageError(f"--users: {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"--users: {path} is no list of ids: {error}") from error
    if not found:
        raise UsageError(f"--users: there is no id in {path}")
    return found


def check(path: Path) -> None:
    """Raises UsageError for a file that cannot be written, before anything is done for it."""
    if path.suffix not in FORMATS:
        raise UsageError(f"--out takes a file that ends in {', '.join(FORMATS)}; {path.name!r} does not")
    if not path.parent.is_dir():
        raise UsageError(f"--out: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"--out: {path} is a folder")


def write(path: Path, profiles: Iterable[Profile]) -> int:
    """Writes the profiles in the format that the file's ending names; says how many.

    A file that is there is replaced when the new one is complete, and stays as it is when anything fails.
    Raises UsageError.
    """
    check(path)
    try:
        with replacing(path) as draft:
            return FORMATS[path.suffix](draft, profiles)
    except OSError as error:
        raise UsageError(f"--out: {path} cannot be written: {error.strerror or error}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` that takes its place when the block ends well; only the owner may read it."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        draft = Path(folder) / "draft"
        yield draft
        draft.chmod(0o600)
        synced(draft)
        draft.replace(path)
    synced(path.parent)


def synced(path: Path) -> None:
    """What was written there outlives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_lines(path: Path, profiles: Iterable[Profile]) -> int:
    written = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for one in profiles:
            file.write(json.dumps(shapes.profile(one), ensure_ascii=False) + "\n")
            written += 1
    return written


def write_csv(path: Path, profiles: Iterable[Profile]) -> int:
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        for one in profiles:
            rows.writerow(flat(one))
            written += 1
    return written


def write_parquet(path: Path, profiles: Iterable[Profile]) -> int:
    import duckdb

    written = 0
    # Not beside `path`, whose folder may have a name that DuckDB would read as a pattern.
    with tempfile.TemporaryDirectory(prefix="rapport-") as folder, duckdb.connect() as connection:
        rows = Path(folder) / "rows.jsonl"
        with rows.open("w", encoding="utf-8") as file:
            for one in profiles:
                file.write(json.dumps(flat(one), ensure_ascii=False) + "\n")
                written += 1
        columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
        source = f"read_json({quoted(rows)}, format = 'newline_delimited', columns = {{{columns}}})"
        connection.execute(f"COPY (SELECT * FROM {source}) TO {quoted(path)} (FORMAT parquet)")
    return written


def flat(one: Profile) -> dict[str, Any]:
    """One row of a table."""
    whole = shapes.profile(one)
    names = {
        polarity: "; ".join(tag.name for tag in one.tags if tag.polarity == polarity and tag.kind != "latent")
        for polarity in (1, -1)
    }
    return {
        "user": one.user,
        "persona": one.persona,
        "persona_by": one.persona_by,
        "language": one.language,
        "likes": names[1],
        "dislikes": names[-1],
        "tags": json.dumps(whole["tags"], ensure_ascii=False),
        "events": one.events,
        "as_of": whole["as_of"],
        "version": one.version,
        "model": one.provenance.model,
    }


def quoted(path: Path) -> str:
    """A path as a string of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


FORMATS: dict[str, Callable[[Path, Iterable[Profile]], int]] = {
    ".jsonl": write_lines,
    ".csv": write_csv,
    ".parquet": write_parquet,
}
