"""Forgetting a person: every row, every version, every left-over line, and the proof that nothing stayed.

The index holds the catalogue only, so there is nothing of a person in it; the proof looks all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import StoreError, UnknownUser
from agent.history.store import Store

TELLING = 24
"""Characters from which on a text of a person's is unique enough to be searched for in files."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was removed, and what a search of every file afterwards found."""

    user: str
    rows: dict[str, int]
    """table -> rows deleted."""
    lines: int
    """Lines about the person removed from files of refused rows."""
    searched: int
    """Texts of the person's (reviews, personas) that were looked for, byte by byte."""
    files: int
    """Files that were searched."""
    found: int
    """Files that still held one of them: 0, or the erasure is reported as failed."""


def forget(store: Store, home: Path, user: str) -> Proof:
    """Remove `user` from every table and file under `home`. Raises UnknownUser; StoreError when bytes stayed behind."""
    if not store.has_user(user):
        raise UnknownUser(f"nobody is called {user!r} here: there is nothing to forget")
    texts = telling(store.export_user(user))
    rows = store.erase_user(user)
    lines = sum(drop_lines(path, user) for path in sorted(home.glob("refused/*.jsonl")))
    files = [path for path in sorted(home.rglob("*")) if path.is_file()]
    needles = [text.encode() for text in texts]
    found = [path for path in files if holds(path, needles)]
    if found:
        raise StoreError(f"{user!r} was erased from the tables, but traces stay in {', '.join(map(str, found))}")
    return Proof(user, rows, lines, len(texts), len(files), len(found))


def telling(exported: Any) -> list[str]:
    """Every text in an export that is long enough to be this person's alone."""
    if isinstance(exported, str):
        return [exported] if len(exported) >= TELLING and not exported.startswith("{") and " " in exported else []
    parts: Iterable[Any] = ()
    if isinstance(exported, dict):
        parts = (value for key, value in exported.items() if key in ("events", "text", "profiles", "persona", "body"))
    elif isinstance(exported, list):
        parts = exported
    return list(dict.fromkeys(text for part in parts for text in telling(part)))


def drop_lines(path: Path, user: str) -> int:
    """Rewrite a file of refused rows without those that name `user`; says how many lines went."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if user not in line]
    if len(kept) < len(lines):
        # In place, so that the old bytes are overwritten rather than left in an unlinked file.
        with path.open("r+b") as file:
            body = "".join(kept).encode()
            size = path.stat().st_size
            file.write(body + b"\0" * (size - len(body)))
            file.flush()
            file.truncate(len(body))
    return len(lines) - len(kept)


def holds(path: Path, needles: list[bytes]) -> bool:
    """Whether a file contains one of `needles`."""
    if not needles:
        return False
    content = path.read_bytes()
    return any(needle in content for needle in needles)
