"""The exact store: every vector compared with every query in NumPy, in memory.

The oracle that the Chroma store is tested against, and the fallback when there is no index on disk.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vectorstore.base import Document, Filter, Hit, MetadataValue, Vectors
from vectorstore.documents import check_filter, check_queries, check_vectors, clean, clean_id, content_hash, matches

NEAREST = 1_000
"""Places that are remembered of a question."""
MOST = 2_000
"""Questions that are remembered, some 16 MB."""


@dataclass(frozen=True, slots=True)
class Whole:
    """All vectors of a collection in one matrix.

    The same questions come again, of one person and of many, and what lies nearest does not depend on who asks: only
    what is left out does. Whoever has had most of what lies near is answered from all vectors.
    """

    ids: tuple[str, ...]
    """Sorted: equals come in this order."""
    matrix: Vectors
    places: Mapping[str, int]
    _known: OrderedDict[bytes, Nearest] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # guards what is known; computing goes on without it

    @classmethod
    def of(cls, ids: Sequence[str], matrix: Vectors) -> Whole:
        order = sorted(range(len(ids)), key=ids.__getitem__)
        names = tuple(ids[at] for at in order)
        return cls(names, matrix[order], {id: at for at, id in enumerate(names)})

    def search(self, queries: Vectors, k: int, excluded: Collection[str]) -> list[list[Hit]]:
        """Per query the `k` nearest that are not `excluded`, best first; equals by id."""
        allowed = np.ones(len(self.ids), bool)
        allowed[[self.places[id] for id in excluded if id in self.places]] = False
        k = min(k, int(allowed.sum()))
        found = [self._first(one, k, allowed) for one in self._nearest(queries)]
        if missing := [at for at, one in enumerate(found) if one is None]:
            scores = queries[missing] @ self.matrix.T
            scores[:, ~allowed] = -np.inf
            for at, row in zip(missing, scores, strict=True):
                found[at] = best(self.ids, row, k) if k else []
        return [one or [] for one in found]

    def _nearest(self, queries: Vectors) -> list[Nearest]:
        """What lies nearest to each query, whoever asks."""
        keys = [row.tobytes() for row in queries]
        with self._lock:
            known = {key: self._known[key] for key in keys if key in self._known}
        if new := {key: at for at, key in enumerate(keys) if key not in known}:
            scores = queries[list(new.values())] @ self.matrix.T
            known |= {key: nearest(row, NEAREST) for key, row in zip(new, scores, strict=True)}
        with self._lock:
            for key in keys:
                self._known[key] = known[key]
                self._known.move_to_end(key)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return [known[key] for key in keys]

    def _first(self, near: Nearest, k: int, allowed: NDArray[np.bool_]) -> list[Hit] | None:
        """The first `k` that are allowed; None where fewer of those remembered are."""
        kept = np.flatnonzero(allowed[near.places])[:k]
        if len(kept) < k:
            return None
        return hits(self.ids, near.places[kept], near.scores[kept])

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        return {id: self.matrix[self.places[id]] for id in ids if id in self.places}


@dataclass(frozen=True, slots=True)
class _Row:
    metadata: Mapping[str, MetadataValue]
    hash: str
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Table:
    """All rows at one moment: a search works on one of these, whatever is written meanwhile."""

    ids: tuple[str, ...]
    rows: tuple[_Row, ...]
    matrix: Vectors


class ExactStore:
    """Documents with vectors of `dimension` numbers; O(documents) a search, fine below some 50,000 documents."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._rows: dict[str, _Row] = {}
        self._table: _Table | None = None
        self._lock = threading.Lock()  # keeps rows and table together

    def upsert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        vectors = check_vectors(vectors, len(documents), self._dimension)
        cleaned = [clean(document) for document in documents]
        with self._lock:
            self._table = None
            for document, vector in zip(cleaned, vectors, strict=True):
                self._rows[document.id] = _Row(document.metadata, content_hash(document), vector)

    def delete(self, ids: Collection[str]) -> None:
        with self._lock:
            self._table = None
            for id in ids:
                self._rows.pop(clean_id(id), None)

    def search(
        self, vectors: Vectors, k: int, *, where: Sequence[Filter] = (), exclude: Collection[str] = ()
    ) -> list[list[Hit]]:
        queries = check_queries(vectors, self._dimension)
        conditions = [check_filter(condition) for condition in where]
        excluded = {clean_id(id) for id in exclude}
        table = self._snapshot()
        allowed = [
            at for at, id in enumerate(table.ids) if id not in excluded and matches(table.rows[at].metadata, conditions)
        ]
        if k < 1 or not allowed:
            return [[] for _ in queries]
        ids = [table.ids[at] for at in allowed]
        return [best(ids, row, k) for row in queries @ table.matrix[allowed].T]

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        rows = self._rows
        return {id: rows[id].vector for id in map(clean_id, ids) if id in rows}

    def hashes(self) -> dict[str, str]:
        table = self._snapshot()
        return {id: row.hash for id, row in zip(table.ids, table.rows, strict=True)}

    def count(self) -> int:
        return len(self._rows)

    def close(self) -> None:
        """Nothing to free."""

    def _snapshot(self) -> _Table:
        with self._lock:
            if self._table is None:
                rows = tuple(self._rows.values())
                matrix = np.array([row.vector for row in rows], np.float32).reshape(len(rows), self._dimension)
                self._table = _Table(tuple(self._rows), rows, matrix)
            return self._table


def best(ids: Sequence[str], scores: NDArray[np.float32], k: int) -> list[Hit]:
    """The `k` highest `scores` as hits, best first; equal scores stay in the order given."""
    found = nearest(scores, k)
    return hits(ids, found.places, found.scores)


@dataclass(frozen=True, slots=True)
class Nearest:
    """The best places of a question, best first, and their scores."""

    places: NDArray[np.int32]
    scores: NDArray[np.float32]


def nearest(scores: NDArray[np.float32], k: int) -> Nearest:
    """The `k` highest `scores`, best first; equal scores stay in the order given."""
    if k < len(scores):
        worst = np.partition(scores, len(scores) - k)[len(scores) - k]
        chosen = np.flatnonzero(scores >= worst)
    else:
        chosen = np.arange(len(scores))
    order = chosen[np.argsort(-scores[chosen], kind="stable")[:k]]
    return Nearest(order.astype(np.int32), np.minimum(np.maximum(scores[order], -1.0), 1.0))


def hits(ids: Sequence[str], places: NDArray[np.integer[Any]], scores: NDArray[np.float32]) -> list[Hit]:
    named = zip(map(ids.__getitem__, places.tolist()), scores.tolist(), strict=True)
    # Made without a call in Python each: there are thousands of them.
    return list(map(tuple.__new__, repeat(Hit), named))
