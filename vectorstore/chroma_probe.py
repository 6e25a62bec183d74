"""Opens one generation of a Chroma store, queries it and exits: 0 sound, 3 damaged (what, on standard output).

Run by `chroma_folder.probe` in a process of its own, because a damaged index can kill the process that opens it.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from vectorstore.base import VectorStoreError
from vectorstore.chroma_folder import DAMAGED
from vectorstore.chroma_generation import Generation


def main() -> int:
    path = Path(sys.argv[1])
    wrong = _wrong_tables(path / "chroma.sqlite3") or _wrong_index(path)
    if wrong:
        print(wrong)  # noqa: T201
    return DAMAGED if wrong else 0


def _wrong_tables(path: Path) -> str | None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as database:
            [[answer], *_] = database.execute("PRAGMA integrity_check(1)")
    except sqlite3.DatabaseError as error:
        return f"its tables: {error}"
    return None if answer == "ok" else f"its tables: {answer}"


def _wrong_index(path: Path) -> str | None:
    try:
        with closing(Generation.open(path)) as generation:
            return generation.wrong()
    except VectorStoreError as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main())
