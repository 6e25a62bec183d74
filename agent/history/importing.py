"""Importing: finds the format of a path, reads it, cleans, counts and stores it; says what was refused and why.

Importing again changes nothing: an event is known by its person, item, kind and time. Rows are stored in batches, each
in one transaction, so that what was reported as stored stays, and importing again after a failure does the rest.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from agent.errors import ImportRefused, UsageError
from agent.history import amazon, caserec, generic, lastfm, movielens, recbole, values
from agent.history.records import Format, Record, Refusal, Source
from agent.history.store import Counts, Store
from agent.types import Event, Item

# In this order are they tried: those that recognise their own before those that take any table.
FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        movielens.FORMAT,
        lastfm.FORMAT,
        caserec.FORMAT,
        recbole.FORMAT,
        amazon.FORMAT,
        generic.PARQUET,
        generic.JSONL,
        generic.CSV,
    )
}
_BATCH = 25_000
_EXAMPLES = 20
_REASONS = 100

Progress = Callable[[int], None]
"""Is told, after each batch, how many rows are stored."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did."""

    format: str
    items: Counts
    events: Counts
    refused: int
    reasons: dict[str, int]
    """reason -> refused rows"""
    examples: list[Refusal]
    """The first refusals of every reason."""
    referred_only: int
    """Items without a title: their row has none, or there is only an event that refers to them."""
    duplicates: int
    """Events that this import had already read: same person, item, kind and time; the first one counts."""
    seconds: float
    notes: tuple[str, ...] = ()
    """How columns, scales and encodings were understood."""


def detect(path: Path) -> str:
    """The name of the format of a file or folder. Raises ImportRefused, which lists what was looked for."""
    if not path.exists():
        raise ImportRefused(f"{str(path)!r} does not exist")
    try:
        found = next((format.name for format in FORMATS.values() if format.matches(path)), None)
    except OSError as error:
        raise ImportRefused(f"{path.name}: {error.strerror}") from error
    if found is None:
        looked = "\n".join(f"  {format.name}: {format.looks_for}" for format in FORMATS.values())
        raise ImportRefused(f"{path.name!r} is none of the formats that were looked for:\n{looked}")
    return found


def import_path(
    store: Store,
    path: Path,
    *,
    format: str = "auto",
    mapping: Mapping[str, str] | None = None,
    dry_run: bool = False,
    rejects: Path | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Reads `path` into `store`.

    `format`: a name in FORMATS, or auto. `mapping`: which column is what, and options; see the format.
    `dry_run`: counts as if it were stored, and stores nothing. `rejects`: a file for the refused rows, as JSON lines;
    written only when there are any. Raises ImportRefused when the file cannot be read as the format, UsageError for an
    unknown format or key of `mapping`, StoreError when the store fails; what was stored before stays.
    """
    started = time.perf_counter()
    name = detect(path) if format == "auto" else format
    if name not in FORMATS:
        raise UsageError(f"no format {name!r}; there are auto, {', '.join(FORMATS)}")
    if not path.exists():
        raise ImportRefused(f"{str(path)!r} does not exist")
    chosen = FORMATS[name]
    if unknown := sorted(set(mapping or {}) - chosen.options):
        raise UsageError(
            f"{name} knows no {', '.join(unknown)}; it knows {', '.join(sorted(chosen.options)) or 'none'}"
        )
    source = Source(path, dict(mapping or {}), values.latest_time())
    with ExitStack() as stack:
        if dry_run:
            stack.enter_context(store.trial())
        # What is to be taken back must be written by the thread that takes it back.
        writer = _Writer(store, progress, stack, apart=not dry_run)
        run = _Run(store, writer, stack, rejects)
        # Closed here whatever happens: a reader holds temporary files.
        run.take_all(stack.enter_context(closing(_readable(chosen.read(source), path))))
        return run.report(name, time.perf_counter() - started)


def _readable(records: Iterator[Record], path: Path) -> Generator[Record, None, None]:
    try:
        yield from records
    except OSError as error:
        raise ImportRefused(f"{path.name}: {error.strerror or error}") from error


class _Writer:
    """Stores batches, `apart` in a thread of its own: while the database writes one, the next is read."""

    def __init__(self, store: Store, progress: Progress | None, stack: ExitStack, *, apart: bool) -> None:
        self.items, self.events, self.rows = Counts(), Counts(), 0
        self._store = store
        self._progress = progress
        self._thread = stack.enter_context(ThreadPoolExecutor(1)) if apart else None
        self._under_way: Future[None] | None = None

    def put(self, items: list[Item], events: list[Event]) -> None:
        """Raises what went wrong with the batch before."""
        self.wait()
        if self._thread:
            self._under_way = self._thread.submit(self._write, items, events)
        else:
            self._write(items, events)
            self._tell()

    def wait(self) -> None:
        """Returns when everything is stored; raises what went wrong."""
        if self._under_way:
            under_way, self._under_way = self._under_way, None
            under_way.result()
            self._tell()

    def _write(self, items: list[Item], events: list[Event]) -> None:
        # Items first, because events refer to them.
        self.items += self._store.add_items(items)
        self.events += self._store.add_events(events)
        self.rows += len(items) + len(events)

    def _tell(self) -> None:
        if self._progress:
            self._progress(self.rows)


@dataclass
class _Run:
    """One import on its way."""

    store: Store
    writer: _Writer
    stack: ExitStack
    rejects: Path | None
    items: list[Item] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[Refusal] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    titled: set[str] = field(default_factory=set)
    untitled: set[str] = field(default_factory=set)
    duplicates: int = 0
    _sink: IO[str] | None = None

    def __post_init__(self) -> None:
        self._seen = Seen()

    def take_all(self, records: Iterator[Record]) -> None:
        for record in records:
            if isinstance(record, Event):
                self.events.append(record)
                if len(self.events) >= _BATCH:
                    self._flush()
            elif isinstance(record, Item):
                self._take_item(record)
            elif isinstance(record, Refusal):
                self._refuse(record)
            else:
                self.notes[record.text] = None
        self._flush()
        self.writer.wait()

    def report(self, format: str, seconds: float) -> ImportReport:
        open_ = self.untitled - self.titled
        known = {id for id, item in self.store.items(open_).items() if item.title}
        return ImportReport(
            format,
            self.writer.items,
            self.writer.events,
            self.reasons.total(),
            dict(self.reasons.most_common()),
            self.examples,
            len(open_ - known),
            self.duplicates,
            seconds,
            tuple(self.notes),
        )

    def _flush(self) -> None:
        fresh = self._seen.add([event.id for event in self.events])
        new = [event for event, is_new in zip(self.events, fresh, strict=True) if is_new]
        self.duplicates += len(self.events) - len(new)
        self.untitled.update(event.item for event in new)
        self.writer.put(self.items, new)
        self.items, self.events = [], []

    def _take_item(self, item: Item) -> None:
        # The first row of an item with a title counts, so that importing again finds nothing to change.
        if item.id in self.titled or (not item.title and item.id in self.untitled):
            return
        (self.titled if item.title else self.untitled).add(item.id)
        self.items.append(item)
        if len(self.items) >= _BATCH:
            self._flush()

    def _refuse(self, refusal: Refusal) -> None:
        reason = refusal.reason
        if reason not in self.reasons and len(self.reasons) >= _REASONS:
            reason = "other"
        if reason not in self.reasons and len(self.examples) < _EXAMPLES:
            self.examples.append(refusal)
        self.reasons[reason] += 1
        if self.rejects is not None:
            if self._sink is None:
                self._sink = self.stack.enter_context(_create(self.rejects))
            self._sink.write(json.dumps(asdict(refusal), ensure_ascii=False) + "\n")


def _create(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Refused rows are people's data too: only the owner may read them.
        path.touch(mode=0o600)
        return path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"cannot write the refused rows to {str(path)!r}: {error.strerror}") from error


class Seen:
    """Which 63-bit ids have been added before: sorted runs of doubling length, 8 bytes an id."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, ids: list[int]) -> list[bool]:
        """Whether each id is new, also within `ids`; adds them."""
        array = np.array(ids, dtype=np.int64)
        unique, first = np.unique(array, return_index=True)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, unique), len(run) - 1)
            new = run[at] != unique
            unique, first = unique[new], first[new]
        fresh = np.zeros(len(array), dtype=bool)
        fresh[first] = True
        if len(unique):
            self._keep(unique)
        return fresh.tolist()

    def _keep(self, run: np.ndarray) -> None:
        while self._runs and len(self._runs[-1]) <= len(run):
            run = np.sort(np.concatenate((self._runs.pop(), run)), kind="stable")
        self._runs.append(run)
