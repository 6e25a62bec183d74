"""Reciprocal-rank fusion: several ranked lists become one. Knows ids, ranks and weights; nothing of items or people."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, compress, count, filterfalse, islice, repeat
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from agent.types import Source


@dataclass(frozen=True, slots=True)
class Ballot:
    """One retriever's list, best first."""

    retriever: str
    weight: float
    """Below 0: a vote against."""
    hits: Sequence[tuple[str, float]]
    """(id, the retriever's own score); of a repeated id the first counts."""


@dataclass(frozen=True, slots=True)
class Fused:
    id: str
    score: float
    sources: tuple[Source, ...]
    """Every vote, the one that counts most first."""


def fuse(ballots: Iterable[Ballot], k: int = 60) -> list[Fused]:
    """Every id that a ballot speaks for, best first; see Votes."""
    return Votes(ballots, k).fused()


class Votes:
    """Ballots counted: an id's score is the sum of weight / (k + rank), ranks from 1; ties by id.

    A ballot against only lowers what others propose. `k` damps the lead of first places.
    Source: Cormack, Clarke and Büttcher 2009, Reciprocal Rank Fusion; the weights are ours.
    """

    def __init__(self, ballots: Iterable[Ballot], k: int = 60) -> None:
        self._k = k
        self._places: dict[str, int] = {}
        self._scores = np.zeros(0)
        self._spoken_for = np.zeros(0, bool)
        self._cast: list[tuple[Ballot, NDArray[np.intp], NDArray[np.intp]]] = []
        self._count(ballots)

    def plus(self, *ballots: Ballot) -> Votes:
        """These and `ballots`."""
        more = Votes((), self._k)
        more._places, more._cast = dict(self._places), list(self._cast)
        more._scores, more._spoken_for = self._scores, self._spoken_for
        more._count(ballots)
        return more

    def _count(self, ballots: Iterable[Ballot]) -> None:
        # Not a step in Python for each vote: there are thousands of them.
        ballots, places = list(ballots), self._places
        listed = [list(map(itemgetter(0), ballot.hits)) for ballot in ballots]
        fresh = dict.fromkeys(filterfalse(places.__contains__, chain.from_iterable(listed)))
        places.update(zip(fresh, count(len(places)), strict=False))
        longest = max(map(len, listed), default=0)
        ranks, cast = np.arange(1, longest + 1), list[tuple[Ballot, NDArray[np.intp], NDArray[np.intp]]]()
        for ballot, ids in zip(ballots, listed, strict=True):
            at, placed = self._at(ids), ranks[: len(ids)]
            if len(set(ids)) < len(ids):
                at, first = np.unique(at, return_index=True)
                placed = ranks[first]
            cast.append((ballot, at, placed))
        before = np.arange(len(self._scores))
        worth = [ballot.weight / (self._k + ranks) for ballot, _, ranks in cast]
        # What was counted before comes first, and ballot after ballot: sums of floats depend on their order.
        self._scores = np.bincount(
            np.concatenate([before, *(at for _, at, _ in cast)]), np.concatenate([self._scores, *worth]), len(places)
        )
        spoken_for = np.zeros(len(places), bool)
        spoken_for[before] = self._spoken_for
        spoken_for[np.concatenate([before[:0], *(at for ballot, at, _ in cast if ballot.weight > 0)])] = True
        self._spoken_for = spoken_for
        self._cast += cast

    def _at(self, ids: Collection[str]) -> NDArray[np.intp]:
        """The places of `ids`, all of them on a ballot."""
        return np.fromiter(map(self._places.__getitem__, ids), np.intp, len(ids))

    @property
    def ids(self) -> list[str]:
        """Those that a ballot speaks for, in no order."""
        return list(compress(self._places, self._spoken_for.tolist()))

    def score(self, id: str) -> float:
        """0 for an id that is on no ballot."""
        at = self._places.get(id)
        return 0.0 if at is None else float(self._scores[at])

    def leading(self, most: int | None = None, among: Collection[str] | None = None) -> list[str]:
        """The ids that a ballot speaks for, best first; `among`: of these only."""
        chosen = self._spoken_for
        if among is not None:
            inside = np.zeros(len(chosen), bool)
            inside[self._at(list(filter(self._places.__contains__, among)))] = True
            chosen = chosen & inside
        at = np.flatnonzero(chosen)
        if most is not None and 0 < most < len(at):
            worst = -np.partition(-self._scores[at], most - 1)[most - 1]
            at = at[self._scores[at] >= worst]
        ids = list(self._places)
        pairs = zip(self._scores[at].tolist(), at.tolist(), strict=True)
        return [id for _, id in islice(sorted((-score, ids[place]) for score, place in pairs), most)]

    def fused(self) -> list[Fused]:
        """All of them with their scores and votes."""
        ids = self.leading()
        return [Fused(id, self.score(id), votes) for id, votes in zip(ids, self.sources(ids), strict=True)]

    def sources(self, ids: Sequence[str]) -> list[tuple[Source, ...]]:
        """Who voted for or against each of `ids`, the one that counts most first, equals by name."""
        # Columns in the order of names, so that a stable sort by worth leaves equals in it.
        cast = sorted(self._cast, key=lambda one: one[0].retriever)
        ranks = np.zeros((len(ids), len(cast)), np.intp)
        asked = [self._places.get(id, -1) for id in ids]
        for column, (_, at, placed) in enumerate(cast):
            whole = np.zeros(len(self._places) + 1, np.intp)
            whole[at] = placed
            ranks[:, column] = whole[asked]
        weights = np.array([ballot.weight for ballot, _, _ in cast])
        worth = np.where(ranks > 0, np.abs(weights / (self._k + ranks)), -1.0)
        order = np.argsort(-worth, axis=1, kind="stable")
        counts = (ranks > 0).sum(axis=1)
        names, hits = [one.retriever for one, _, _ in cast], [one.hits for one, _, _ in cast]
        votes = [
            [(names[at], row[at], hits[at][row[at] - 1][1]) for at in best[:most]]
            for row, best, most in zip(ranks.tolist(), order.tolist(), counts.tolist(), strict=True)
        ]
        # Made without a call in Python each.
        return [tuple(map(tuple.__new__, repeat(Source), one)) for one in votes]
