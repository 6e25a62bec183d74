"""The data folder: where it is, whether its files are the ones that the figures were measured on."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from agent.errors import SetupError

MANIFEST = "MANIFEST.tsv"
"""path, bytes, sha256 of every file, tab-separated, with a heading."""


def found(data: Path | None, files: tuple[str, ...]) -> Path:
    """The data folder with all of `files` in it. Raises SetupError naming the first that is absent."""
    if data is None:
        raise SetupError("name the folder of data sets with --data DIR")
    for one in files:
        if not (data / one).exists():
            raise SetupError(f"{data / one} is not there: --data names the folder of data sets that holds it")
    return data


def hashes(data: Path, files: tuple[str, ...]) -> dict[str, dict[str, str | bool | None]]:
    """file -> its SHA-256, and whether that is the manifest's (None where the manifest does not list it)."""
    listed = manifest(data)
    told: dict[str, dict[str, str | bool | None]] = {}
    for one in files:
        digest = sha256(data / one)
        told[one] = {"sha256": digest, "as listed": digest == listed[one] if one in listed else None}
    return told


def manifest(data: Path) -> dict[str, str]:
    """path -> SHA-256; empty without a manifest."""
    if not (data / MANIFEST).is_file():
        return {}
    lines = (data / MANIFEST).read_text(encoding="utf-8").splitlines()[1:]
    return {path: digest for path, _, digest in (line.split("\t") for line in lines if line)}


@lru_cache(maxsize=256)
def sha256(path: Path) -> str:
    """Read once per process: several boards stand on the same files."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
