"""The Chroma store: the catalogue's vectors in a folder, searched approximately, disposable and rebuilt when damaged.

One process owns the folder. Holds the catalogue only: deleted vectors stay in Chroma's files until the next rebuild.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

import numpy as np
from filelock import BaseFileLock
from numpy.typing import NDArray

from vectorstore import chroma_folder as folders
from vectorstore.base import Document, Filter, Hit, Vectors, VectorStoreError
from vectorstore.chroma_folder import REBUILD
from vectorstore.chroma_generation import Generation
from vectorstore.documents import check_filter, check_queries, check_vectors, clean, clean_id


def load_library() -> None:
    """Import Chroma, which takes seconds, ahead of its first use."""
    import chromadb  # noqa: F401


class ChromaStore:
    """Made by `open` or `rebuild`; any thread may call any method.

    Close it, or the next opening has to check it in a process of its own.
    """

    def __init__(self, path: Path, generation: Generation, dimension: int, lock: BaseFileLock | None) -> None:
        self._path = path
        self._generation = generation
        self._dimension = dimension
        self._lock = lock
        self._open = True
        # One caller at a time: nobody searches what is being written, or closed.
        self._calls = RLock()

    @classmethod
    def open(cls, folder: Path, embedder_name: str, dimension: int) -> ChromaStore:
        """The store in `folder`, made empty if there is none.

        Raises VectorStoreBusy when another process has it open, VectorStoreError when another embedder made it or
        when it is damaged. A damaged index is set aside, so the next `open` starts empty: it is never served.
        """
        lock = folders.take_lock(folder)
        try:
            path = folders.current(folder)
            if path is None:
                return cls._first(folder, embedder_name, dimension, lock)
            generation = _sound(path)
            try:
                _check_embedder(generation, folder, embedder_name, dimension)
            except BaseException:
                _shut(path, generation)
                raise
            return cls(path, generation, dimension, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _first(cls, folder: Path, embedder_name: str, dimension: int, lock: BaseFileLock) -> ChromaStore:
        path = folders.next_generation(folder)
        generation = Generation.create(path, _marks(embedder_name, dimension))
        folders.switch(folder, path)
        return cls(path, generation, dimension, lock)

    @classmethod
    @contextmanager
    def rebuild(cls, folder: Path, embedder_name: str, dimension: int) -> Iterator[ChromaStore]:
        """An empty store to fill; at the end of the `with` block it replaces what is in `folder`, whatever that was.

        The old generation stays untouched and current until the new one is complete and finds its own documents;
        if the block raises, it stays for good. Afterwards the old files are gone, deleted vectors included.
        """
        lock = folders.take_lock(folder)
        try:
            path = folders.next_generation(folder)
            try:
                store = cls(path, Generation.create(path, _marks(embedder_name, dimension)), dimension, None)
                try:
                    yield store
                    if wrong := store._generation.wrong():
                        raise VectorStoreError(f"the new index is not sound: {wrong}")
                finally:
                    store.close()
            except BaseException:
                folders.discard(path)
                raise
            folders.switch(folder, path)
            folders.drop_others(folder, path)
        finally:
            lock.release()

    def upsert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        vectors = check_vectors(vectors, len(documents), self._dimension)
        last = {clean_id(document.id): at for at, document in enumerate(documents)}
        kept = [clean(documents[at]) for at in last.values()]
        with self._calls:
            self._generation.upsert(kept, vectors[list(last.values())])

    def delete(self, ids: Collection[str]) -> None:
        with self._calls:
            self._generation.delete(list(dict.fromkeys(map(clean_id, ids))))

    def search(
        self, vectors: Vectors, k: int, *, where: Sequence[Filter] = (), exclude: Collection[str] = ()
    ) -> list[list[Hit]]:
        queries = check_queries(vectors, self._dimension)
        conditions = [check_filter(condition) for condition in where]
        excluded = {clean_id(id) for id in exclude}
        if k < 1 or not len(queries):
            return [[] for _ in queries]
        with self._calls:
            return self._generation.search(queries, k, conditions, excluded)

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        with self._calls:
            return self._generation.vectors(list(dict.fromkeys(map(clean_id, ids))))

    def hashes(self) -> dict[str, str]:
        with self._calls:
            return self._generation.hashes()

    def count(self) -> int:
        with self._calls:
            return self._generation.count()

    def healthy(self) -> bool:
        """Whether some 50 documents have the vectors they were given and find themselves; takes milliseconds."""
        with self._calls:
            return self._generation.wrong() is None

    def close(self) -> None:
        """Write what is pending, record what the files are, and free the folder; closing twice is no error."""
        with self._calls:
            if not self._open:
                return
            self._open = False
            try:
                _shut(self._path, self._generation)
            finally:
                if self._lock is not None:
                    self._lock.release()


def probe(folder: Path) -> str | None:
    """What is wrong with the index in `folder`, which no process has open; None when nothing is, or there is none.

    Looks in a throw-away process, changes nothing that is served, and takes about two seconds.
    """
    lock = folders.take_lock(folder)
    try:
        path = folders.current(folder)
        return folders.probe(path) if path else None
    finally:
        lock.release()


def _sound(path: Path) -> Generation:
    """The opened generation, or it is set aside and VectorStoreError raised."""
    wrong = folders.inspect(path)
    if wrong is None:
        folders.unseal(path)
        try:
            generation = Generation.open(path)
        except VectorStoreError as error:
            wrong = str(error)
        else:
            wrong = generation.wrong()
            if wrong is None:
                return generation
            generation.close()
    aside = folders.quarantine(path)
    raise VectorStoreError(f"the index was damaged ({wrong}) and is set aside in {aside}: {REBUILD}")


def _shut(path: Path, generation: Generation) -> None:
    try:
        wrong = generation.wrong()
    finally:
        generation.close()
    if wrong is None:
        folders.seal(path)


def _marks(embedder_name: str, dimension: int) -> dict[str, str | int]:
    return {"embedder": embedder_name, "dimension": dimension}


def _check_embedder(generation: Generation, folder: Path, embedder_name: str, dimension: int) -> None:
    wanted = _marks(embedder_name, dimension)
    found = {key: generation.metadata.get(key) for key in wanted}
    if found != wanted:
        raise VectorStoreError(
            f"the index in {folder} was made by {found['embedder']!r} with {found['dimension']} numbers a vector, "
            f"now {embedder_name!r} with {dimension} is set: set the former, or {REBUILD}"
        )
