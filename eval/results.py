"""The file of everything that was measured: one JSON record a line, appended, never rewritten."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = "results.jsonl"


def append(folder: Path, record: Mapping[str, Any]) -> Path:
    """Add a record; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
    return path


def every(folder: Path) -> Iterator[dict[str, Any]]:
    """The records, oldest first; a last line that was cut off is passed over."""
    path = folder / FILE
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").split("\n")
    yield from (json.loads(line) for line in lines[:-1] if line)


def latest(folder: Path) -> dict[str, dict[str, Any]]:
    """board -> its newest record; one with a model stands beside a newer one without, under "board model"."""
    newest: dict[str, dict[str, Any]] = {}
    for record in every(folder):
        model = record["system"].get("model", "none")
        newest[record["board"] if model == "none" else f"{record['board']} with {model}"] = record
    return newest


def provenance() -> dict[str, Any]:
    """What a figure was measured with: revision, time, machine."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return {
        "commit": done.stdout.strip() or "unknown",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
