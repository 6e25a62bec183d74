"""Reciprocal-rank fusion: several ranked lists become one. Knows ids, ranks and weights; nothing of items or people."""

from __future__ import annotations

from collections.abc import Sequence
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


def fuse(ballots: Sequence[Ballot], k: int = 60) -> list[Fused]:
    """Every id that a ballot speaks for, best first; ties by id. score = sum of weight / (k + rank), ranks from 1.

    A ballot against only lowers what others propose. `k` damps the lead of first places.
    Source: Cormack, Clarke and Büttcher 2009, Reciprocal Rank Fusion; the weights are ours.
    """
    votes: dict[str, list[tuple[float, Source]]] = {}
    for ballot in ballots:
        first = dict(reversed([(id, (rank, score)) for rank, (id, score) in enumerate(ballot.hits, 1)]))
        for id, (rank, score) in first.items():
            worth = ballot.weight / (k + rank)
            votes.setdefault(id, []).append((worth, Source(ballot.retriever, rank, score)))
    fused = [
        Fused(id, sum(worth for worth, _ in cast), tuple(source for _, source in sorted(cast, key=_loudest)))
        for id, cast in votes.items()
        if any(worth > 0 for worth, _ in cast)
    ]
    return sorted(fused, key=lambda one: (-one.score, one.id))


def _loudest(vote: tuple[float, Source]) -> tuple[float, str]:
    worth, source = vote
    return -abs(worth), source.retriever
