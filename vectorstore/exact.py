"""The exact store: every vector compared with every query in NumPy, in memory.

The oracle that the Chroma store is tested against, and the fallback when there is no index on disk.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vectorstore.base import Document, Filter, Hit, MetadataValue, Vectors
from vectorstore.documents import check_filter, check_queries, check_vectors, clean, clean_id, content_hash, matches


@dataclass(frozen=True, slots=True)
class Whole:
    """All vectors of a collection in one matrix."""

    ids: tuple[str, ...]
    """Sorted: equals come in this order."""
    matrix: Vectors
    places: Mapping[str, int]

    @classmethod
    def of(cls, ids: Sequence[str], matrix: Vectors) -> Whole:
        order = sorted(range(len(ids)), key=ids.__getitem__)
        names = tuple(ids[at] for at in order)
        return cls(names, matrix[order], {id: at for at, id in enumerate(names)})

    def search(self, queries: Vectors, k: int, excluded: Collection[str]) -> list[list[Hit]]:
        """Per query the `k` nearest that are not `excluded`, best first; equals by id."""
        left_out = [self.places[id] for id in excluded if id in self.places]
        scores = queries @ self.matrix.T
        scores[:, left_out] = -np.inf
        k = min(k, len(self.ids) - len(left_out))
        return [best(self.ids, row, k) for row in scores] if k else [[] for _ in queries]

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
    if k < len(scores):
        worst = np.partition(scores, len(scores) - k)[len(scores) - k]
        chosen = np.flatnonzero(scores >= worst)
    else:
        chosen = np.arange(len(scores))
    order = chosen[np.argsort(-scores[chosen], kind="stable")[:k]]
    values: list[float] = np.minimum(np.maximum(scores[order], -1.0), 1.0).tolist()
    return list(map(Hit, map(ids.__getitem__, order.tolist()), values))
