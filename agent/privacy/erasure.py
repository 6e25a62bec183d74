"""Forgetting a person: every row, every version, every left-over line, and the proof that nothing stayed.

The index holds the catalogue only, so there is nothing of a person in it; the proof looks all the same. Knows the home
and its database; what was written elsewhere on request (`--rejects`, an export) is not ours to find.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import StoreError, UnknownUser
from agent.history.conversations import Conversations
from agent.history.store import Store

TELLING = 24
"""Characters from which on a piece of a person's text is unique enough to be searched for in files."""
PIECE = 64
"""Characters of a piece at most: a longer text lies scattered over the pages of a database."""
MOST = 300
"""Pieces that are searched for at most, spread over everything the person wrote."""
ESCAPED = re.compile(r'["\\\x00-\x1f]+')
"""What JSON writes differently from what was written."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was removed, and what a search of every file afterwards found."""

    user: str
    rows: dict[str, int]
    """table -> rows deleted."""
    lines: int
    """Lines about the person removed from files of refused rows."""
    searched: int
    """Pieces of the person's texts (reviews, personas, a long id) that were looked for, byte by byte."""
    files: int
    """Files that were searched."""
    found: int
    """Files that still held one of them: 0, or the erasure is reported as failed."""


def forget(store: Store, home: Path, user: str) -> Proof:
    """Remove `user` from every table and file under `home`. Raises UnknownUser; StoreError when bytes stayed behind."""
    if not store.has_user(user):
        raise UnknownUser(f"nobody is called {user!r} here: there is nothing to forget")
    needles = spread(pieces(store.export_user(user)))
    rows = store.erase_user(user)
    lines = sum(drop_lines(path, user) for path in sorted(home.glob("refused/*.jsonl")))
    files = [path for path in sorted(home.rglob("*")) if path.is_file()]
    found = traces(files, needles)
    if found:
        # Somebody else may have written the same words, and a template the same persona: that is no trace of this one.
        others = common(store, {needle for held in found.values() for needle in held})
        found = {path: held - others for path, held in found.items() if held - others}
    if found:
        raise StoreError(f"{user!r} was erased from the tables, but traces stay in {', '.join(map(str, found))}")
    return Proof(user, rows, lines, len(needles), len(files), len(found))


def pieces(exported: Any) -> Iterator[str]:
    """Every run of characters in an export, TELLING to PIECE long, that JSON and a table write alike."""
    if isinstance(exported, str):
        for run in ESCAPED.split(exported):
            yield from (run[at : at + PIECE] for at in range(0, len(run) - TELLING + 1, PIECE))
    elif isinstance(exported, list):
        for part in exported:
            yield from pieces(part)
    elif isinstance(exported, dict):
        kept = (
            "user",
            "events",
            "text",
            "profiles",
            "persona",
            "body",
            "tallies",
            "marks",
            "quote",
            "tags",
            "receipts",
            "answers",
            "jobs",
            "message",
            "turns",
            "wishes",
            "conversations",
            "conversation",
            "summary",
            "words",
            "cards",
            "reason",
        )
        for key, part in exported.items():
            # What is under other names are ids, numbers and what was counted.
            if key in kept or isinstance(part, dict):
                yield from pieces(part)


def spread(found: Iterable[str]) -> list[str]:
    """At most MOST of them, evenly."""
    unique = list(dict.fromkeys(found))
    step = -(-len(unique) // MOST) or 1
    return unique[::step]


def traces(files: Iterable[Path], needles: Iterable[str]) -> dict[Path, set[str]]:
    """file -> the needles that it contains, for those that contain any."""
    encoded = {needle: needle.encode() for needle in needles}
    held = {path: {needle for needle, wanted in encoded.items() if contains(path, wanted)} for path in files}
    return {path: needles for path, needles in held.items() if needles}


def contains(path: Path, needle: bytes) -> bool:
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(needle) >= 0


def common(store: Store, needles: set[str]) -> set[str]:
    """Those of `needles` that the catalogue or somebody who is still here has, too. Reads the whole store."""
    left = set(needles)
    texts: Iterator[str] = (
        text
        for source in (
            (text for item in store.all_items() for text in (item.title, item.text)),
            (event.text for event in store.all_events()),
            store.users(),
            (profile.persona for user in store.profiled() for profile in store.profile_history(user)),
            # A template says the same to many.
            (text for turn in Conversations(store).everybody() for text in (turn.text, turn.body)),
        )
        for text in source
    )
    for text in texts:
        left -= {needle for needle in left if needle in text}
        if not left:
            break
    return needles - left


def drop_lines(path: Path, user: str) -> int:
    """Rewrite a file of refused rows without those that name `user`; says how many lines went."""
    names = re.compile(rf"(?<!\w){re.escape(user)}(?!\w)")
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True)
    kept = [line for line in lines if not names.search(row_of(line))]
    if len(kept) < len(lines):
        # In place, so that the old bytes are overwritten rather than left in an unlinked file.
        with path.open("r+b") as file:
            body = "".join(kept).encode("utf-8", "surrogateescape")
            size = path.stat().st_size
            file.write(body + b"\0" * (size - len(body)))
            file.flush()
            file.truncate(len(body))
    return len(lines) - len(kept)


def row_of(line: str) -> str:
    """The refused row itself, without the file's name and the line's number; the whole line where it is torn."""
    try:
        return str(json.loads(line)["raw"])
    except (ValueError, TypeError, KeyError):
        return line
