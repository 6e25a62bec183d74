"""The folder of a Chroma store: who owns it, which generation is served, and whether its files are what was written.

    <folder>/owner.lock      held by the one process that may open it
    <folder>/current         the name of the generation that is served
    <folder>/g7/             one generation: a complete Chroma directory of its own
    <folder>/g7.seal.json    size and hash of each of its files, written at a clean close

A generation in a folder of its own can be built beside the served one, quarantined alone, and dropped so that nothing
stays behind: Chroma leaves deleted vectors in its files (chroma-core/chroma#7662), removing the folder does not.
Knows files and processes; nothing of documents.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from vectorstore.base import VectorStoreBusy, VectorStoreError

REBUILD = "run `rapport index --rebuild`"
PROBE_TIMEOUT_S = 600
_GENERATION = re.compile(r"g(\d+)")


def take_lock(folder: Path) -> FileLock:
    """The exclusive lock on `folder`, which is made if missing. The system frees it when the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "owner.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise VectorStoreBusy(
            f"the index in {folder} is open in another process (another rapport command): wait for it, or stop it"
        ) from error
    return lock


def current(folder: Path) -> Path | None:
    """The generation that is served; None when there is none yet."""
    try:
        name = (folder / "current").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    if not _GENERATION.fullmatch(name) or not (folder / name).is_dir():
        return None
    return folder / name


def next_generation(folder: Path) -> Path:
    """A new empty generation beside the others; no number is used twice."""
    numbers = [int(found[1]) for path in folder.iterdir() if (found := _GENERATION.match(path.name))]
    generation = folder / f"g{max(numbers, default=0) + 1}"
    generation.mkdir()
    return generation


def switch(folder: Path, generation: Path) -> None:
    """Serve `generation` from now on, atomically."""
    part = folder / "current.part"
    part.write_text(generation.name + "\n", encoding="utf-8")
    part.replace(folder / "current")


def drop_others(folder: Path, keep: Path) -> None:
    """Remove every other generation, the damaged and the half-built ones too."""
    for path in list(folder.iterdir()):
        if _GENERATION.match(path.name) and path.name not in (keep.name, _seal(keep).name):
            remove(path)


def discard(generation: Path) -> None:
    """Remove one generation and its record."""
    remove(generation)
    unseal(generation)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def quarantine(generation: Path) -> Path:
    """Set a damaged generation aside for whoever wants to look; the next rebuild removes it."""
    aside = generation.with_name(f"{generation.name}.damaged")
    remove(aside)
    generation.rename(aside)
    unseal(generation)
    return aside


def seal(generation: Path) -> None:
    """Record what the files are, after a clean close."""
    part = _seal(generation).with_suffix(".part")
    part.write_text(json.dumps(contents(generation)), encoding="utf-8")
    part.replace(_seal(generation))


def unseal(generation: Path) -> None:
    """Forget the record, before the first change."""
    _seal(generation).unlink(missing_ok=True)


def inspect(generation: Path) -> str | None:
    """What is wrong with the files of a closed generation; None when nothing was found.

    Files that are exactly what a clean close left need no further look. After a crash there is no such record, and
    the index is opened by `probe`.
    """
    try:
        recorded = json.loads(_seal(generation).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return probe(generation)
    except ValueError:
        return "the record of its files cannot be read"
    return None if recorded == contents(generation) else "its files changed after it was closed"


def probe(generation: Path) -> str | None:
    """What is wrong with a generation according to a throw-away process that opens and queries it.

    A damaged index can kill the process that opens it. Raises VectorStoreError when the probe itself could not run.
    """
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "vectorstore.chroma_probe", str(generation)],
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"it could not be opened within {PROBE_TIMEOUT_S} seconds"
    if done.returncode == 0:
        return None
    if done.returncode == DAMAGED:
        return done.stdout.strip()
    if done.returncode in (-6, -7, -8, -11):  # abort, bus error, arithmetic error, segmentation fault
        return f"opening it killed a process with signal {-done.returncode}"
    raise VectorStoreError(f"the index in {generation} could not be checked: {done.stderr.strip()[-300:]}")


DAMAGED = 3
"""Exit status of the probe that found damage."""


def _seal(generation: Path) -> Path:
    return generation.with_name(f"{generation.name}.seal.json")


def contents(generation: Path) -> dict[str, list[int | str]]:
    """Size and hash of every file of a closed generation."""
    files = sorted(path for path in generation.rglob("*") if path.is_file())
    return {path.relative_to(generation).as_posix(): [path.stat().st_size, _digest(path)] for path in files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
