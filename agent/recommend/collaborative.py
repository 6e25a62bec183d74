"""What goes together in everybody's histories: item-to-item weights, trained from events, and what they propose.

Three sums over all people, each closed form: EASE (had by the same people), nearness (had soon before or after), and
a ridge regression from a decayed history to what came next. Knows events and ids; no index, no model, no file. What
is kept is about pairs of items; a person's own part is in the sums only, so whoever is forgotten needs them trained
anew.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from agent.recommend.retrieve import opinions
from agent.types import Event

Weights = NDArray[np.float32]
Counts = Literal["liked", "had"]
"""Which items of a history count: all that something was done with but what was disliked, or really all."""
FIRST = 400
"""Proposals that are put in order at first; hardly ever is one asked for that lies further down."""
FAINT = 1e-12
"""A row that weighs less than this is too small a part of a sum of floats to be seen in it."""
TOGETHER = 20
"""Rows that are looked at together: their entries fit into the processor's cache, and into memory that is at hand. With
all 150 at once, asking for fresh memory took most of the time."""


class CollaborativeConfig(BaseModel, frozen=True, extra="forbid"):
    """Chosen on the MovieLens validation events (docs/measured.md), never on test events."""

    counts: Counts = "liked"
    """Which of a person's own items are asked with: a dislike does not pull; with `had`, board A's rule, it does.

    Everybody's histories are learned from whole either way: with the disliked left out of them as well, NDCG@10 on the
    validation events was .0949, with them left out of the question alone .1043, nowhere .1080."""
    fewest_people: int = Field(default=50, ge=2)
    """With fewer people nothing is trained: what two friends share is not what goes together."""
    fewest_each: int = Field(default=2, ge=2)
    """People an item needs. One person's item would describe that person."""
    most_items: int = Field(default=8000, ge=1, le=65_536)
    """Items that take part, those with the most people: memory grows with its square, time with its cube."""
    kept: int = Field(default=800, ge=1)
    """Entries kept of each row, the largest by magnitude."""
    ridge: float = Field(default=200.0, gt=0)
    """EASE's lambda."""
    together_decay: float = Field(default=0.7, gt=0, le=1)
    """EASE's part: what a history item weighs less for each one after it."""
    near_window: int = Field(default=10, ge=1)
    """How many places before or after an item another one counts as near it; d places away counts 1/d."""
    damping: float = Field(default=10.0, ge=0)
    """Added to how many people had an item before nearness is divided by its root."""
    near_decay: float = Field(default=0.7, gt=0, le=1)
    near: float = 0.5
    """Weight of nearness."""
    window: int = Field(default=5, ge=1)
    """What came next, for the regression: so many places, the d-th counting 1/d."""
    sequel_ridge: float = Field(default=100.0, gt=0)
    sequel_decay: float = Field(default=0.95, gt=0, lt=1)
    sequel_reach: int = Field(default=60, ge=1)
    """Places of a history that are counted in training; what lies further back weighs next to nothing."""
    sequel: float = 1.0
    """Weight of the regression."""
    together: float = 0.5
    """Weight of EASE."""
    heard: int = Field(default=150, ge=1)
    """Items of a history that are asked with, the last ones: older ones weigh less than a thousandth."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a person took to, each item once, oldest first."""

    items: tuple[str, ...]
    dated: int
    """How many at the end have a time, and therefore an order."""


def taken(events: Iterable[Event], counts: Counts) -> Taken:
    """The items of a history that count, each at its last event. `events`: oldest first, undated ones before."""
    events = list(events)
    refused = {one.item for one, amount in opinions(events) if amount < 0} if counts == "liked" else set[str]()
    last: dict[str, bool] = {}
    for event in events:
        if event.item and event.kind != "search" and event.item not in refused:
            # One text for each id, however many people had it: training holds everybody's histories at once.
            item = sys.intern(event.item)
            last.pop(item, None)
            last[item] = event.at is not None
    return Taken(tuple(last), sum(last.values()))


@dataclass(frozen=True, slots=True)
class Rows:
    """The kept entries of a square matrix: row i is columns[starts[i]:starts[i + 1]], ascending, with the values
    beside it."""

    starts: NDArray[np.int64]
    columns: NDArray[np.uint16]
    values: Weights

    def total(self, rows: NDArray[np.intp], weights: Weights) -> Weights:
        """The sum of those rows, each times its weight."""
        sums, counted = np.zeros(len(self.starts) - 1), weights >= FAINT
        rows, weights = rows[counted], weights[counted]
        for some, parts in self._together(rows):
            columns = np.concatenate([self.columns[part] for part in parts])
            values = np.concatenate([self.values[part] for part in parts])
            values *= np.repeat(weights[some], [part.stop - part.start for part in parts])
            sums += np.bincount(columns, values, len(sums))
        return sums.astype(np.float32)

    def among(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Weights:
        """[rows, columns]: those entries, 0 where none was kept."""
        found, order = np.zeros((len(rows), len(columns)), np.float32), np.zeros(len(self.starts) - 1, np.intp)
        order[columns] = np.arange(len(columns))
        asked = np.zeros(len(order), bool)
        asked[columns] = True
        for some, parts in self._together(rows):
            kept = np.concatenate([self.columns[part] for part in parts])
            at = np.flatnonzero(asked.take(kept))
            ends = np.cumsum([part.stop - part.start for part in parts])
            row = ends.searchsorted(at, "right")
            # Where they begin here, and where they do there.
            moved = np.array([part.stop for part in parts]) - ends
            found[some][row, order[kept[at]]] = self.values[at + moved[row]]
        return found

    def _together(self, rows: NDArray[np.intp]) -> Iterator[tuple[slice, list[slice]]]:
        """Which of `rows`, and where each of them lies; some at a time."""
        starts, ends = self.starts[rows].tolist(), self.starts[rows + 1].tolist()
        for begin in range(0, len(rows), TOGETHER):
            some = slice(begin, begin + TOGETHER)
            yield some, list(map(slice, starts[some], ends[some]))

    def at(self, row: int, column: int) -> float:
        """One entry; 0 where none was kept."""
        end = self.starts[row + 1]
        at = self.starts[row] + self.columns[self.starts[row] : end].searchsorted(column)
        return float(self.values[at]) if at < end and self.columns[at] == column else 0.0


@dataclass(frozen=True, slots=True)
class Signal:
    """One of the sums, asked with a history."""

    matrix: Rows
    rows: NDArray[np.intp]
    """Those of the own items, oldest first."""
    ages: Weights
    """[rows]: what is left of each."""
    weight: float


@dataclass(frozen=True)
class Voice:
    """What everybody's histories say to one person."""

    ids: tuple[str, ...]
    scores: Weights
    """[ids]: sum of the signals, each a z-score over all items."""
    heard: Weights
    """[ids]: what the whole own history adds."""
    signals: tuple[Signal, ...]
    own: tuple[str, ...]
    """Oldest first."""

    def ranked(self) -> Iterator[tuple[str, float]]:
        """(id, score) of every item that the own history speaks for, best first; ties by id."""
        speaks = np.flatnonzero(self.heard > 0)
        scores = self.scores[speaks]
        first = np.ones(len(scores), bool)
        if len(scores) > FIRST:
            first = scores >= np.partition(scores, -FIRST)[-FIRST]
        for some in (speaks[first], speaks[~first]):
            order = some[np.argsort(-self.scores[some], kind="stable")]
            yield from zip(map(self.ids.__getitem__, order.tolist()), self.scores[order].tolist(), strict=True)

    def loudest(self, ids: Sequence[str], *among: Container[str]) -> dict[str, str]:
        """For each of `ids` the item of the own history that speaks for it most, of the first of `among` that holds one
        which does; of equals the oldest. What none of them speaks for is left out."""
        asked = list(dict.fromkeys(ids))
        said, found = self.said(asked), dict[str, str]()
        for inside in among if self.own else ():
            some = np.where([[one in inside] for one in self.own], said, 0)
            best = some.argmax(axis=0)
            told = np.flatnonzero(some[best, np.arange(len(asked))] > 0)
            found = {asked[row]: self.own[best[row]] for row in told} | found
        return found

    def said(self, ids: Sequence[str]) -> NDArray[np.float64]:
        """[own, ids]: what each item of the own history adds for each of `ids`, none of which comes twice."""
        said = np.zeros((len(self.own), len(ids)))
        asked = np.array([bisect_left(self.ids, id) for id in ids], np.intp)
        for one in self.signals:
            said += one.weight * (one.matrix.among(one.rows, asked) * one.ages[:, None])
        return said


@dataclass(frozen=True)
class Collaborative:
    """The trained weights. `items` are sorted by id; every matrix is over them."""

    items: tuple[str, ...]
    together: Rows
    near: Rows
    sequel: Rows
    people: Rows
    """How many people had both, for the entries of `together`."""
    events: int
    """Events in the store when it was trained."""
    config: CollaborativeConfig

    def __call__(self, events: Iterable[Event]) -> Voice:
        """What the histories of others say to the person of `events`, oldest first."""
        own = self._known(taken(events, self.config.counts))
        rows, size = np.array([self._places[id] for id in own.items], np.intp), len(self.items)
        heard, scores, signals = np.zeros(size, np.float32), np.zeros(size, np.float32), list[Signal]()
        for matrix, weight, decay in self._signals():
            ages = aged(own, decay)
            whole = matrix.total(rows, ages)
            if spread := float(whole.std()):
                signals.append(Signal(matrix, rows, ages, weight / spread))
                heard += weight / spread * whole
                scores += weight / spread * (whole - whole.mean())
        return Voice(self.items, scores, heard, tuple(signals), own.items)

    def people_with(self, one: str, other: str) -> int:
        """How many people were known to have both; 0 where that was not kept."""
        if one not in self._places or other not in self._places:
            return 0
        return int(self.people.at(self._places[one], self._places[other]))

    def _signals(self) -> list[tuple[Rows, float, float]]:
        config = self.config
        return [
            (self.together, config.together, config.together_decay),
            (self.near, config.near, config.near_decay),
            (self.sequel, config.sequel, config.sequel_decay),
        ]

    def _known(self, own: Taken) -> Taken:
        """The part of a history that was trained on and can still be heard."""
        places = [(id, at >= len(own.items) - own.dated) for at, id in enumerate(own.items) if id in self._places]
        places = places[-self.config.heard :]
        return Taken(tuple(id for id, _ in places), sum(dated for _, dated in places))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {id: at for at, id in enumerate(self.items)}


def train(
    people: Iterable[Taken],
    events: int,
    config: CollaborativeConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Collaborative | None:
    """Weights from everybody's histories; None when there are too few people or no item that several share.

    `events`: how many the store holds now, kept to see later whether there are more. `progress`: (steps done, steps).
    """
    config, tell = config or CollaborativeConfig(), progress or _silent
    histories = [one for one in people if len(one.items) > 1]
    counted = Counter(id for one in histories for id in one.items)
    shared = sorted((-count, id) for id, count in counted.items() if count >= config.fewest_each)
    items = tuple(sorted(id for _, id in shared[: config.most_items]))
    if len(histories) < config.fewest_people or len(items) < 2:
        return None
    places, size = {id: at for at, id in enumerate(items)}, len(items)
    whole = [_numbers(one.items, places) for one in histories]
    ordered = [_numbers(one.items[len(one.items) - one.dated :], places) for one in histories]
    tell(1, 4)
    counts = together(whole, size)
    kept = largest(ease(counts, config.ridge), config.kept)
    people_both = Rows(kept.starts, kept.columns, counts[_row_numbers(kept), kept.columns])
    tell(2, 4)
    near = largest(nearness(ordered, np.diag(counts), config), config.kept)
    tell(3, 4)
    next_ones = sequel(ordered, size, config)
    tell(4, 4)
    return Collaborative(items, kept, near, largest(next_ones, config.kept), people_both, events, config)


def together(histories: Iterable[NDArray[np.intp]], size: int) -> Weights:
    """[size, size]: how many histories hold both items; on the diagonal, each one."""
    counts = np.zeros((size, size), dtype=np.float32)
    for one in histories:
        counts[np.ix_(one, one)] += 1
    return counts


def ease(counts: Weights, ridge: float) -> Weights:
    """Item-to-item weights B with a zero diagonal, for histories X with X'X = `counts`; a row asks, a column answers.

    Source: Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data: P = (X'X + ridge I)^-1, B = P / -diag(P).
    """
    inverse: Weights = np.linalg.inv(counts + np.float32(ridge) * np.eye(len(counts), dtype=np.float32))
    weights = (inverse / -np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return weights


def nearness(histories: Sequence[NDArray[np.intp]], people: Weights, config: CollaborativeConfig) -> Weights:
    """[items, items]: how near two items stand in histories, 1/d for each time they are d <= `near_window` places apart
    in either order, over sqrt((a + damping) (b + damping)) for a and b `people` who had them.

    Order within a sitting says little, and a popular item is near everything: on validation this beats transitions in
    one direction over their row's sum.
    """
    counts = apart(histories, len(people), [0, *(1 / lag for lag in range(1, config.near_window + 1))])
    root = np.sqrt(people + np.float32(config.damping))
    near: Weights = ((counts + counts.T) / root[:, None] / root).astype(np.float32)
    return near


def sequel(histories: Sequence[NDArray[np.intp]], size: int, config: CollaborativeConfig) -> Weights:
    """[from, to]: ridge regression from every decayed history h (g^j for the j-th last item) to what came next.

    What came next: the `window` next items, the d-th counting 1/d. h'h and h'next depend only on how far apart two
    items stand, so both are sums over pairs; the end of a history is treated as if it went on.
    Source: Choi et al. 2021, Session-aware Linear Item-Item Models (SLIT), with geometric decay.
    """
    decay, reach = config.sequel_decay, config.sequel_reach
    before = apart(histories, size, [decay**lag / (1 - decay**2) for lag in range(reach + 1)])
    after = apart(
        histories,
        size,
        [sum(decay ** (lag - d) / d for d in range(1, min(config.window, lag) + 1)) for lag in range(reach + 1)],
    )
    both = before + before.T
    both[np.diag_indices(size)] = np.diag(before) + config.sequel_ridge
    return np.linalg.solve(both, after).astype(np.float32)


def apart(histories: Sequence[NDArray[np.intp]], size: int, weights: Sequence[float]) -> Weights:
    """[first, second]: sum of weights[lag] over all pairs that stand `lag` places apart in one history."""
    out = np.zeros(size * size, dtype=np.float32)
    items = np.concatenate([np.empty(0, np.intp), *histories])
    owners = np.repeat(np.arange(len(histories)), [len(one) for one in histories])
    for lag, weight in enumerate(weights[: len(items)]):
        same = owners[: len(owners) - lag] == owners[lag:]
        pairs = items[: len(items) - lag][same] * size + items[lag:][same]
        found, counts = np.unique(pairs, return_counts=True)
        out[found] += np.float32(weight) * counts.astype(np.float32)
    return out.reshape(size, size)


def largest(matrix: Weights, kept: int) -> Rows:
    """The `kept` entries of each row that are largest by magnitude, zeros left out."""
    columns, values = [], []
    for row in matrix:
        found = np.flatnonzero(row)
        if len(found) > kept:
            found = np.sort(found[np.argpartition(-np.abs(row[found]), kept)[:kept]])
        columns.append(found.astype(np.uint16))
        values.append(row[found].astype(np.float32))
    starts = np.cumsum([0, *map(len, columns)])
    return Rows(starts.astype(np.int64), np.concatenate(columns), np.concatenate(values))


def aged(own: Taken, decay: float) -> Weights:
    """[own.items]: decay^(how many came later). Undated items have no order: all are as old as the oldest dated one
    would make them."""
    ages = np.arange(len(own.items) - 1, -1, -1)
    return (decay ** np.minimum(ages, own.dated)).astype(np.float32)


def _numbers(ids: Iterable[str], places: Mapping[str, int]) -> NDArray[np.intp]:
    return np.array([places[id] for id in ids if id in places], dtype=np.intp)


def _row_numbers(rows: Rows) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(rows.starts) - 1), np.diff(rows.starts))


def _silent(done: int, steps: int) -> None:
    pass
