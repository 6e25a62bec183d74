"""Keeps a store equal to the catalogue: embeds what is new or changed, deletes what is gone.

Knows documents, a store and an embedder; where the documents come from is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vectorstore.base import Document, Embedder, VectorStore, VectorStoreError
from vectorstore.documents import clean, content_hash

BATCH = 256
"""Documents embedded and written at once; an interrupted run loses at most these."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """How many documents the store gained, replaced, left alone and lost."""

    added: int
    changed: int
    unchanged: int
    removed: int


def sync(
    store: VectorStore,
    embedder: Embedder,
    documents: Iterable[Document],
    progress: Callable[[int, int], None] | None = None,
) -> SyncReport:
    """Make `store` hold exactly `documents`, embedding only those whose text or metadata changed.

    `progress` is called with (embedded so far, to be embedded), first with 0. Running it again does what an
    interrupted run left undone. Raises VectorStoreError when two documents have the same id.
    """
    known = store.hashes()
    wanted = _by_id(documents)
    stale = [document for id, document in wanted.items() if known.get(id) != content_hash(document)]
    _write(store, embedder, stale, progress or _silent)
    gone = [id for id in known if id not in wanted]
    store.delete(gone)
    changed = sum(document.id in known for document in stale)
    return SyncReport(len(stale) - changed, changed, len(wanted) - len(stale), len(gone))


def _by_id(documents: Iterable[Document]) -> dict[str, Document]:
    wanted: dict[str, Document] = {}
    for document in map(clean, documents):
        if document.id in wanted:
            raise VectorStoreError(f"two documents have the id {document.id!r} (in Unicode normal form C)")
        wanted[document.id] = document
    return wanted


def _write(store: VectorStore, embedder: Embedder, stale: list[Document], progress: Callable[[int, int], None]) -> None:
    progress(0, len(stale))
    for at in range(0, len(stale), BATCH):
        batch = stale[at : at + BATCH]
        store.upsert(batch, embedder.embed([document.text for document in batch]))
        progress(at + len(batch), len(stale))


def _silent(done: int, total: int) -> None:
    """The progress of nobody who watches."""
