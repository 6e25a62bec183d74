"""The two protocols of retrieval: a store of documents with vectors, and what turns text into vectors.

Knows documents, vectors and metadata; knows nothing of people, prompts or models that chat.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""[n, dimension], each row of length 1."""
MetadataValue = str | int | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One entry of the catalogue as the index sees it."""

    id: str
    text: str
    """What is embedded."""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    """What can be filtered on; a tuple is a list of words (`has`)."""


class Hit(NamedTuple):
    """Thousands of these are made for one answer: a tuple costs half of what a frozen dataclass does."""

    id: str
    score: float
    """Cosine similarity, -1 to 1."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on the metadata; several are joined by "and". A document without the field does not match."""

    field: str
    op: Literal["=", "!=", ">", ">=", "<", "<=", "has"]
    value: str | int | float


class Embedder(Protocol):
    @property
    def name(self) -> str:
        """Model and hash of its file; recorded with the collection, and a mismatch is refused."""
        ...

    @property
    def dimension(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit vector per text, [len(texts), dimension]; text beyond the model's context is cut."""
        ...

    def close(self) -> None: ...


class VectorStore(Protocol):
    """Documents with vectors, searched by cosine similarity. Ids are unique."""

    def upsert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Add or replace whole documents: old metadata keys do not survive."""
        ...

    def delete(self, ids: Collection[str]) -> None:
        """Remove; unknown ids are ignored."""
        ...

    def search(
        self, vectors: Vectors, k: int, *, where: Sequence[Filter] = (), exclude: Collection[str] = ()
    ) -> list[list[Hit]]:
        """Per query vector the `k` nearest that match `where` and are not excluded, best first; k < 1 gives none."""
        ...

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The stored vectors of those of `ids` that exist."""
        ...

    def hashes(self) -> dict[str, str]:
        """id -> content hash of every document, to find what has changed."""
        ...

    def count(self) -> int: ...

    def close(self) -> None: ...


class VectorStoreError(Exception):
    """The store failed, is damaged, or holds what another embedder made; the text says which and what to do."""


class VectorStoreBusy(VectorStoreError):
    """Another process owns the folder."""
