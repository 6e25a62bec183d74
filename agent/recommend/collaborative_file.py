"""The trained weights as one file beside the index: written whole or not at all, read without running anything in it.

Knows the file and the store that it is trained from; the mathematics is in `collaborative`.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from agent.errors import StoreError
from agent.history.store import Store
from agent.recommend.collaborative import Collaborative, CollaborativeConfig, Rows, taken, train

VERSION = 3
"""A file of another version is trained anew."""
STALE = 0.02
"""Growth in events from which on `rapport index` trains again, as for what is counted over everybody."""
PARTS = ("together", "near", "sequel", "people")


def refresh(
    store: Store,
    path: Path,
    config: CollaborativeConfig,
    progress: Callable[[int, int], None] | None = None,
    *,
    anew: bool = False,
) -> Collaborative | None:
    """The weights at `path`, trained again and kept when they are missing, damaged, stale or `anew`.

    None, and no file, while there are too few people. Raises StoreError when the file cannot be written.
    """
    events = store.count_events()
    try:
        kept = None if anew else load(path, config)
    except StoreError:
        kept = None
    if kept and abs(events - kept.events) <= STALE * kept.events:
        return kept
    people = (taken(store.events(user), "had") for user in store.users())
    trained = train(people, events, config, progress)
    if trained is None:
        path.unlink(missing_ok=True)
    else:
        save(trained, path)
    return trained


def load(path: Path, config: CollaborativeConfig) -> Collaborative | None:
    """What is kept at `path`; None where there is no file, or one of another version or configuration.

    Raises StoreError when the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            head = json.loads(held["head"].tobytes())
            # Which of the own items pull is no matter of training.
            trained = CollaborativeConfig.model_validate(head["config"]).model_copy(update={"counts": config.counts})
            if head["version"] != VERSION or trained != config:
                return None
            rows = {name: Rows(*(held[f"{name}.{part}"] for part in Rows.__slots__)) for name in PARTS}
            return Collaborative(tuple(head["items"]), **rows, events=head["events"], config=config)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, ValidationError) as error:
        raise StoreError(f"{path} cannot be read ({error}); `rapport index` trains it again") from error


def save(trained: Collaborative, path: Path) -> None:
    """Write the file whole or not at all. Raises StoreError."""
    head = {
        "version": VERSION,
        "config": trained.config.model_dump(),
        "events": trained.events,
        "items": trained.items,
    }
    arrays = {f"{name}.{part}": getattr(getattr(trained, name), part) for name in PARTS for part in Rows.__slots__}
    draft = path.with_suffix(".new")
    try:
        with draft.open("wb") as file:
            # Bytes, because an array of texts is as wide as the longest of them.
            np.savez(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
        os.replace(draft, path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
