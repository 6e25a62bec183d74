"""RecBole atomic files: NAME.inter, NAME.item with typed headers such as `user_id:token`; NAME.user is passed over.

Source: the RecBole documentation, "Atomic Files".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agent.errors import ImportRefused
from agent.history.generic import OPTIONS, guess, read_table
from agent.history.records import Format, Note, Record, Source
from agent.history.tables import Layout, open_table

_TABS = Layout("\t", quote="")
# A sequence of tokens is separated by blanks, if by nothing clearer.
_SEPARATORS = "|;, "


def _files(path: Path, ending: str) -> list[Path]:
    """For a folder its files, for a .inter file its neighbours of the same name."""
    if path.is_dir():
        return sorted(path.glob(f"*{ending}"))
    return [file for file in (path.with_suffix(ending),) if file.is_file()]


def _matches(path: Path) -> bool:
    return bool(_files(path, ".inter")) and (path.is_dir() or path.suffix in (".inter", ".item", ".user"))


def _read(source: Source) -> Iterator[Record]:
    if not _files(source.path, ".inter"):
        raise ImportRefused(f"{source.path.name}: no .inter file")
    # Items first, so that they are there when events refer to them.
    for file in (*_files(source.path, ".item"), *_files(source.path, ".inter")):
        with open_table(file, _TABS) as table:
            roles = guess(table.columns, source.mapping)
            yield from read_table(table, roles, replace(source, path=file), "recbole", _SEPARATORS)
    if _files(source.path, ".user"):
        yield Note("what is said about the people themselves (.user) is not kept")


FORMAT = Format("recbole", "a .inter file or a folder with one (RecBole atomic files)", _matches, _read, OPTIONS)
