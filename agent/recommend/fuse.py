"""Reciprocal-rank fusion: several ranked lists become one. Knows ids, ranks and weights; nothing of items or people."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

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
        self._scores: dict[str, float] = {}
        self._spoken_for: set[str] = set()
        self._ranks: list[tuple[Ballot, Mapping[str, int]]] = []
        for ballot in ballots:
            self._add(ballot)

    def plus(self, *ballots: Ballot) -> Votes:
        """These and `ballots`."""
        more = Votes((), self._k)
        more._scores, more._spoken_for = dict(self._scores), set(self._spoken_for)
        more._ranks = list(self._ranks)
        for ballot in ballots:
            more._add(ballot)
        return more

    def _add(self, ballot: Ballot) -> None:
        k, weight, scores, ranks = self._k, ballot.weight, self._scores, dict[str, int]()
        for rank, (id, _) in enumerate(ballot.hits, 1):
            if id not in ranks:
                ranks[id] = rank
                scores[id] = scores.get(id, 0.0) + weight / (k + rank)
        if weight > 0:
            self._spoken_for.update(ranks)
        self._ranks.append((ballot, ranks))

    def score(self, id: str) -> float:
        """0 for an id that is on no ballot."""
        return self._scores.get(id, 0.0)

    def leading(self, most: int | None = None, among: Collection[str] | None = None) -> list[str]:
        """The ids that a ballot speaks for, best first; `among`: of these only."""
        scores, ids = self._scores, self._spoken_for if among is None else self._spoken_for.intersection(among)
        return sorted(ids, key=lambda id: (-scores[id], id))[:most]

    def fused(self) -> list[Fused]:
        """All of them with their scores and votes."""
        return [Fused(id, self._scores[id], self.sources(id)) for id in self.leading()]

    def sources(self, id: str) -> tuple[Source, ...]:
        """Who voted for or against `id`, the one that counts most first."""
        votes = [
            (ballot.weight / (self._k + rank), Source(ballot.retriever, rank, ballot.hits[rank - 1][1]))
            for ballot, ranks in self._ranks
            if (rank := ranks.get(id))
        ]
        return tuple(source for _, source in sorted(votes, key=_loudest))


def _loudest(vote: tuple[float, Source]) -> tuple[float, str]:
    worth, source = vote
    return -abs(worth), source.retriever
