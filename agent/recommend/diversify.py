"""A list that is not ten times the same: maximal marginal relevance, and a cap per creator or series.

Knows candidates and their vectors; knows no person and no model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from agent.recommend.retrieve import rescored
from agent.types import Candidate, Item

Stored = Mapping[str, NDArray[np.float32]]
PART = re.compile(
    r"\s*(\(.*?\)|[:\[].*|,\s*(the|an?|vol|book|part)\b.*|\b(part|vol|volume|book|episode|season|chapter)\b.*"
    r"|\b([ivx]+|\d+)\s*$|第.{1,4}[部季集卷].*)",
    re.IGNORECASE,
)
MOST_STEMS = 20_000
"""Titles whose series is remembered."""
SHORTEST_SERIES = 4
"""A shorter remainder of a title is no name of a series."""


class DiversifyConfig(BaseModel, frozen=True, extra="forbid"):
    relevance: float = Field(default=0.75, ge=0, le=1)
    """Lambda of maximal marginal relevance: 1 = the order as it came, 0 = as different as can be."""
    per_group: int = Field(default=3, ge=1)
    """Items of one creator or one series among the first n, while there are others."""
    pool: int = Field(default=5, ge=1)
    """How many times n candidates are looked at; the tail keeps its order."""


def diversify(
    candidates: Sequence[Candidate], vectors: Stored, n: int, config: DiversifyConfig | None = None
) -> list[Candidate]:
    """The same candidates, the first `n` chosen one by one for relevance and difference, the rest in their order.

    Relevance is the place in the list, because scores of different steps are not comparable. An item without a stored
    vector is like no other. Deterministic: of equals the one that came first. Scores are dealt out again in order.
    Source: Carbonell and Goldstein 1998, maximal marginal relevance; cosine similarity to the nearest chosen item.
    """
    config = config or DiversifyConfig()
    pool = candidates[: config.pool * max(n, 0)]
    chosen = marginal(
        [1 - place / len(pool) for place in range(len(pool))],
        similarities([one.item.id for one in pool], vectors),
        [groups(one.item) for one in pool],
        n,
        config,
    )
    picked = set(chosen)
    return rescored([*(pool[at] for at in chosen), *(one for at, one in enumerate(candidates) if at not in picked)])


def marginal(
    relevance: Sequence[float],
    similar: NDArray[np.float32],
    grouped: Sequence[frozenset[str]],
    n: int,
    config: DiversifyConfig,
) -> list[int]:
    """Indices of the first `n` choices. `similar`: [items, items], cosine; `grouped`: what each counts towards."""
    chosen: list[int] = []
    used: Counter[str] = Counter()
    full: set[str] = set()
    worth, nearest = config.relevance * np.asarray(relevance, float), np.zeros(len(relevance))
    left = list(range(len(relevance)))
    while left and len(chosen) < n:
        free = [at for at in left if full.isdisjoint(grouped[at])] if full else left
        among = free or left
        # The first of equals.
        best = among[int(np.argmax((worth - (1 - config.relevance) * nearest)[among]))]
        chosen.append(best)
        left.remove(best)
        used.update(grouped[best])
        full |= {name for name in grouped[best] if used[name] >= config.per_group}
        nearest = np.maximum(nearest, similar[best])
    return chosen


def similarities(ids: Sequence[str], vectors: Stored) -> NDArray[np.float32]:
    """Cosine similarity of each pair, [ids, ids]; 0 where a vector is missing."""
    known = [at for at, id in enumerate(ids) if id in vectors]
    similar = np.zeros((len(ids), len(ids)), dtype=np.float32)
    if known:
        rows = np.stack([vectors[ids[at]] for at in known])
        similar[np.ix_(known, known)] = rows @ rows.T
    return similar


def groups(item: Item) -> frozenset[str]:
    """What an item counts towards: each creator, and its series."""
    creators = item.attributes.get("creator", ())
    names = creators if isinstance(creators, tuple) else (str(creators),)
    title = series(item)
    return frozenset([*(f"creator:{name}" for name in names if name), *([f"series:{title}"] if title else [])])


def series(item: Item) -> str:
    """The series that the catalogue says, else the title without its part: "Alien 3 (1992)" and "Alien" are one."""
    said = item.attributes.get("series")
    if isinstance(said, str) and said:
        return said.casefold()
    return stem(item.title)


@lru_cache(maxsize=MOST_STEMS)
def stem(title: str) -> str:
    """A title without its part, case-folded; "" where too little is left for a name."""
    whole = title.strip()
    while (shorter := PART.sub("", whole).strip()) != whole:
        whole = shorter
    return whole.casefold() if len(whole) >= SHORTEST_SERIES else ""
