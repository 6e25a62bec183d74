"""The index follows the catalogue: only what changed is embedded, what is gone deleted, an interruption made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from vectorstore.base import Document, Vectors, VectorStoreError
from vectorstore.embed.hashing import HashingEmbedder
from vectorstore.exact import ExactStore
from vectorstore.index import BATCH, SyncReport, sync


class Counting(HashingEmbedder):
    """Remembers what it was asked, and fails from the `fails_at`-th text on."""

    def __init__(self, fails_at: float = float("inf")) -> None:
        super().__init__(64)
        self.texts: list[str] = []
        self.fails_at = fails_at

    def embed(self, texts: Sequence[str]) -> Vectors:
        if len(self.texts) + len(texts) > self.fails_at:
            raise VectorStoreError("the model is gone")
        self.texts += texts
        return super().embed(texts)


CATALOGUE = [Document(f"d{at}", f"film number {at}", {"n": at}) for at in range(BATCH + 10)]


def test_everything_is_indexed_once() -> None:
    store, embedder = ExactStore(64), Counting()
    assert sync(store, embedder, iter(CATALOGUE)) == SyncReport(added=len(CATALOGUE), changed=0, unchanged=0, removed=0)
    assert embedder.texts == [document.text for document in CATALOGUE]
    assert sync(store, embedder, CATALOGUE) == SyncReport(added=0, changed=0, unchanged=len(CATALOGUE), removed=0)
    assert len(embedder.texts) == len(CATALOGUE)


def test_only_what_changed_is_embedded() -> None:
    store, embedder = ExactStore(64), Counting()
    sync(store, embedder, CATALOGUE)
    embedder.texts.clear()
    catalogue = [
        Document("new", "new"),
        Document("d0", "other words", {"n": 0}),
        Document("d1", "film number 1"),
        *CATALOGUE[5:],
    ]
    assert sync(store, embedder, catalogue) == SyncReport(added=1, changed=2, unchanged=len(CATALOGUE) - 5, removed=3)
    assert embedder.texts == ["new", "other words", "film number 1"]
    assert set(store.hashes()) == {document.id for document in catalogue}
    assert store.vectors(["d0"])["d0"] == pytest.approx(embedder.embed(["other words"])[0])


def test_an_interrupted_run_is_made_up() -> None:
    store = ExactStore(64)
    with pytest.raises(VectorStoreError, match="gone"):
        sync(store, Counting(fails_at=BATCH), CATALOGUE)
    assert store.count() == BATCH
    again = Counting()
    assert sync(store, again, CATALOGUE) == SyncReport(added=10, changed=0, unchanged=BATCH, removed=0)
    assert len(again.texts) == 10


def test_progress_counts_to_the_end() -> None:
    calls: list[tuple[int, int]] = []
    sync(ExactStore(64), Counting(), CATALOGUE, lambda done, total: calls.append((done, total)))
    total = len(CATALOGUE)
    assert calls == [(0, total), (BATCH, total), (total, total)]


def test_an_empty_catalogue_empties_the_store() -> None:
    store = ExactStore(64)
    sync(store, Counting(), CATALOGUE[:3])
    assert sync(store, Counting(), []) == SyncReport(added=0, changed=0, unchanged=0, removed=3)
    assert store.count() == 0


def test_two_spellings_of_one_id_are_refused_before_anything_is_written() -> None:
    store = ExactStore(64)
    with pytest.raises(VectorStoreError, match="é"):
        sync(store, Counting(), [Document("é", "a"), Document("e\u0301", "b")])
    assert store.count() == 0


def test_what_is_found_is_what_was_indexed() -> None:
    store, embedder = ExactStore(64), Counting()
    sync(store, embedder, [Document("jazz", "slow jazz piano"), Document("metal", "loud metal guitar")])
    [hits] = store.search(embedder.embed(["jazz piano"]), 1)
    assert [hit.id for hit in hits] == ["jazz"]
    assert np.isclose(np.linalg.norm(store.vectors(["jazz"])["jazz"]), 1)
