"""One generation: a Chroma directory with one collection, opened, read, written, checked and closed.

Speaks Chroma and translates its errors; knows nothing of locks, other generations or embedders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from vectorstore.base import Document, Filter, Hit, Vectors, VectorStoreError
from vectorstore.chroma_folder import REBUILD
from vectorstore.chroma_where import CHECK, HASH, stored, where_clause
from vectorstore.documents import content_hash
from vectorstore.exact import Whole, best

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection as ChromaCollection

CHUNK = 2_000
"""Rows a call. Chroma refuses more than 5,461 written rows and some 32,000 ids in one query."""
CANARIES = 50
IN_MEMORY = 20_000
"""Documents up to which a search without conditions compares every vector: exact, with a fixed order of equals, and at
10,000 documents several times faster than asking Chroma a dozen questions. They are read once, at the first search."""
SPARE = 50
"""Rows fetched beyond what is wanted in the first query that has to skip excluded documents."""
_HNSW = {"space": "cosine", "ef_construction": 128, "ef_search": 256, "max_neighbors": 24}
"""ef_search far above Chroma's 100: recall of the 50 nearest falls below .95 otherwise."""
_LOST_CANARIES = 0.1
"""An index that was rewritten often misses single documents (3 of 200 after three rewrites) without being damaged."""


class Generation:
    """Rows of cleaned documents and unit vectors. Every failure is a VectorStoreError."""

    def __init__(self, client: Client, collection: ChromaCollection) -> None:
        self._client = client
        self._collection = collection
        self._canaries: list[str] = []
        self._whole: Whole | None = None
        self._writes = 0
        self.metadata: Mapping[str, Any] = collection.metadata or {}

    @classmethod
    def create(cls, path: Path, metadata: Mapping[str, str | int]) -> Generation:
        """A new collection in the empty directory `path`."""
        client = _client(path)
        with _closing_on_error(client), _errors():
            collection = client.create_collection(
                f"items_{path.name}",
                embedding_function=None,
                metadata=dict(metadata),
                configuration={"hnsw": _HNSW},  # pyright: ignore[reportArgumentType]
            )
        return cls(client, collection)

    @classmethod
    def open(cls, path: Path) -> Generation:
        """The collection in the directory `path`."""
        client = _client(path)
        with _closing_on_error(client), _errors():
            collection = client.get_collection(f"items_{path.name}", embedding_function=None)
        return cls(client, collection)

    def close(self) -> None:
        self._client.close()

    def count(self) -> int:
        whole = self._whole
        return len(whole.ids) if whole else self._counted()

    def _counted(self) -> int:
        with _errors():
            return self._collection.count()

    def upsert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        with self._writing():
            for at in range(0, len(documents), CHUNK):
                self._upsert(documents[at : at + CHUNK], vectors[at : at + CHUNK])

    def _upsert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        ids = [document.id for document in documents]
        with _errors():
            known = self._collection.get(ids=ids, include=["metadatas"])
            before = dict(zip(known["ids"], known["metadatas"] or [], strict=True))
            rows = [
                stored(document, content_hash(document), _check(vector), before.get(document.id))
                for document, vector in zip(documents, vectors, strict=True)
            ]
            self._collection.upsert(ids=ids, embeddings=vectors, metadatas=rows)  # pyright: ignore[reportArgumentType]

    def delete(self, ids: Sequence[str]) -> None:
        with self._writing():
            for at in range(0, len(ids), CHUNK):
                with _errors():
                    self._collection.delete(ids=list(ids[at : at + CHUNK]))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What is in memory is out of date, and so is what another thread reads meanwhile."""
        try:
            self._writes += 1
            self._whole = None
            yield
        finally:
            self._writes += 1
            self._whole = None

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        whole = self._whole
        return whole.vectors(ids) if whole else self._stored(ids)

    def _stored(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}
        for at in range(0, len(ids), CHUNK):
            with _errors():
                rows = self._collection.get(ids=list(ids[at : at + CHUNK]), include=["embeddings"])
            found.update(zip(rows["ids"], np.asarray(rows["embeddings"], np.float32), strict=True))
        return found

    def hashes(self) -> dict[str, str]:
        return {
            id: str(metadata.get(HASH, ""))
            for rows in self._pages(None, "metadatas")
            for id, metadata in zip(rows["ids"], rows["metadatas"], strict=True)
        }

    def search(
        self, queries: Vectors, k: int, conditions: Sequence[Filter], excluded: Collection[str]
    ) -> list[list[Hit]]:
        """Per query the `k` nearest that meet `conditions` and are not `excluded`, best first; k >= 1.

        The excluded are fetched and skipped, because Chroma fails on long lists of ids. Each round fetches more, and
        the last one as many as can be needed. An approximate index may still find too few: then every match is read.
        """
        if not conditions and (whole := self._in_memory()):
            return whole.search(queries, k, excluded)
        clause = where_clause(conditions)
        total = self.count()
        most = min(total, k + len(excluded))
        fetch = min(most, k + min(len(excluded), SPARE))
        answers: dict[int, list[Hit]] = {}
        waiting = list(range(len(queries))) if total else []
        while waiting:
            for at, hits in zip(waiting, self._nearest(queries[waiting], fetch, clause), strict=True):
                kept = [hit for hit in hits if hit.id not in excluded][:k]
                if len(kept) == k or len(hits) == total:
                    answers[at] = kept
                elif len(hits) < fetch or fetch == most:
                    answers[at] = self._scan(queries[at], k, clause, excluded)
            waiting = [at for at in waiting if at not in answers]
            fetch = min(most, fetch * 4)
        return [answers.get(at, []) for at in range(len(queries))]

    def _in_memory(self) -> Whole | None:
        """Every vector, read at the first search; None for an index that is too large for that, or just written to."""
        if (whole := self._whole) or not 0 < self.count() <= IN_MEMORY:
            return whole
        writes, ids, parts = self._writes, list[str](), list[NDArray[np.float32]]()
        for rows in self._pages(None, "embeddings"):
            ids += rows["ids"]
            parts.append(np.asarray(rows["embeddings"], np.float32))
        if writes % 2 or self._writes != writes or not ids:
            return None
        self._whole = Whole.of(ids, np.concatenate(parts))
        return self._whole

    def _nearest(self, queries: Vectors, n: int, clause: dict[str, Any] | None) -> list[list[Hit]]:
        with _errors():
            found = self._collection.query(
                query_embeddings=list(queries),  # pyright: ignore[reportArgumentType]
                n_results=n,
                where=clause,
                include=["distances"],
            )
        return [
            [Hit(id, min(1.0, max(-1.0, 1.0 - distance))) for id, distance in zip(ids, distances, strict=True)]
            for ids, distances in zip(found["ids"], found["distances"] or [], strict=True)
        ]

    def _scan(
        self, query: NDArray[np.float32], k: int, clause: dict[str, Any] | None, excluded: Collection[str]
    ) -> list[Hit]:
        """The exact answer, over every document that matches."""
        hits: list[Hit] = []
        for rows in self._pages(clause, "embeddings"):
            scores = np.asarray(rows["embeddings"], np.float32) @ query
            allowed = [at for at, id in enumerate(rows["ids"]) if id not in excluded]
            hits += best([rows["ids"][at] for at in allowed], scores[allowed], k)
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    def _pages(self, clause: dict[str, Any] | None, part: str) -> Iterator[Any]:
        at = 0
        while True:
            with _errors():
                rows = self._collection.get(where=clause, limit=CHUNK, offset=at, include=[part])  # pyright: ignore[reportArgumentType]
            if rows["ids"]:
                yield rows
            if len(rows["ids"]) < CHUNK:
                return
            at += CHUNK

    def wrong(self) -> str | None:
        """What is wrong according to some 50 documents that are looked up and searched for; None for nothing.

        `count()` tells nothing: it stays right when the vectors are gone.
        """
        try:
            canaries = self._known_canaries()
            vectors = self._stored(canaries)
            rows = self._checks(canaries)
            missing = [id for id in canaries if id not in vectors or not abs(_check(vectors[id]) - rows[id]) < 1e-3]
            if missing:
                return f"{len(missing)} of {len(canaries)} vectors are missing or changed"
            lost = self._lost(canaries, vectors)
        except VectorStoreError as error:
            return str(error)
        return f"{lost} of {len(canaries)} documents do not find themselves" if lost else None

    def _known_canaries(self) -> list[str]:
        """The ids with the smallest hashes: the same ones as long as they exist, spread over the whole index."""
        total = self._counted()
        with _errors():
            known = self._collection.get(ids=self._canaries, include=[])["ids"] if self._canaries else []
        if len(known) < min(CANARIES, total):
            with _errors():
                ids = self._collection.get(include=[])["ids"]
            if len(ids) != total:
                raise VectorStoreError(f"{total} documents are counted but {len(ids)} listed: {REBUILD}")
            known = sorted(ids, key=lambda id: hashlib.blake2b(id.encode()).digest())[:CANARIES]
        self._canaries = known
        return known

    def _checks(self, ids: list[str]) -> dict[str, float]:
        if not ids:
            return {}
        with _errors():
            rows = self._collection.get(ids=ids, include=["metadatas"])
            return {id: float(row[CHECK]) for id, row in zip(rows["ids"], rows["metadatas"] or [], strict=True)}  # pyright: ignore[reportArgumentType]

    def _lost(self, ids: list[str], vectors: Mapping[str, NDArray[np.float32]]) -> int:
        """How many of `ids` are not found by their own vector, if that is more than an old index may lose."""
        if not ids:
            return 0
        answers = self._nearest(np.stack([vectors[id] for id in ids]), min(10, self.count()), None)
        lost = sum(not _finds(id, hits) for id, hits in zip(ids, answers, strict=True))
        return lost if lost > _LOST_CANARIES * len(ids) else 0


def _finds(id: str, hits: list[Hit]) -> bool:
    """`id` is among the hits, or more documents with the very same vector than were asked for are."""
    return any(hit.id == id for hit in hits) or (len(hits) == 10 and hits[-1].score > 1 - 1e-5)


def _check(vector: NDArray[np.float32]) -> float:
    """One number that changes with the vector, kept beside it to recognise a damaged one; equal up to rounding."""
    return float(vector @ np.cos(np.arange(1, len(vector) + 1, dtype=np.float64) ** 2))


def _client(path: Path) -> Client:
    from chromadb import PersistentClient
    from chromadb.config import Settings

    # Chroma reads the environment and a .env in the working folder: what could send data elsewhere is fixed here.
    settings = Settings(
        _env_file=None,  # pyright: ignore[reportCallIssue]
        chroma_api_impl="chromadb.api.rust.RustBindingsAPI",
        chroma_otel_collection_endpoint="",
        anonymized_telemetry=False,
    )
    with _errors():
        return cast("Client", PersistentClient(path=str(path), settings=settings))


@contextmanager
def _closing_on_error(client: Client) -> Iterator[None]:
    try:
        yield
    except BaseException:
        client.close()
        raise


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        # A panic of Chroma's native part is no Exception, and damaged files raise nearly every kind of the others.
        if isinstance(error, VectorStoreError) or not (isinstance(error, Exception) or _is_panic(error)):
            raise
        raise VectorStoreError(f"the index failed ({error}): {REBUILD}") from error


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"
