"""Texts to vectors by an OpenAI-compatible `/embeddings` endpoint, hosted or on the same machine.

Sends the texts and nothing else. Does not retry: whoever calls decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from vectorstore.base import Vectors, VectorStoreError

if TYPE_CHECKING:
    import httpx2

BATCH = 128
"""Texts a request."""
LONGEST = 8_000
"""Characters of a text that are sent; what is beyond is cut."""


class OpenAIEmbedder:
    """The model `model` behind `base_url` ("https://…/v1"; empty: the SDK's default).

    `timeout_s` bounds each wait for the server. `http_client` is for tests. Every failure is a VectorStoreError.
    The first use of `dimension` or `embed` costs one request that asks the model for its dimension.
    """

    def __init__(
        self,
        model: str,
        base_url: str = "",
        api_key: str = "",
        *,
        timeout_s: float = 30.0,
        http_client: httpx2.Client | None = None,
    ) -> None:
        import openai

        self._model = model
        self._dimension = 0
        self._client = openai.OpenAI(
            base_url=base_url or None,
            # Servers on one's own machine want no key, but the SDK refuses an empty one.
            api_key=api_key or "none",
            max_retries=0,
            timeout=openai.Timeout(timeout_s, connect=5.0),
            http_client=http_client,
        )
        self.name = f"openai:{self._client.base_url}#{model}"

    @property
    def dimension(self) -> int:
        if not self._dimension:
            self._dimension = self._request(["dimension"]).shape[1]
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        parts = [self._request(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
        vectors = np.concatenate(
            [np.zeros((0, self.dimension), np.float32), *(self._same_size(part) for part in parts)]
        )
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _same_size(self, vectors: Vectors) -> Vectors:
        if vectors.shape[1] != self.dimension:
            raise VectorStoreError(
                f"{self.name} answered with {vectors.shape[1]} numbers, before with {self.dimension}"
            )
        return vectors

    def _request(self, texts: Sequence[str]) -> Vectors:
        with _errors_of(self.name):
            answer = self._client.embeddings.create(
                model=self._model, input=[_sendable(text) for text in texts], encoding_format="float"
            )
        return _read(answer, len(texts), self.name)

    def close(self) -> None:
        self._client.close()


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    import openai

    try:
        yield
    except openai.APITimeoutError as error:
        raise VectorStoreError(f"{name} did not answer in time") from error
    except openai.APIConnectionError as error:
        raise VectorStoreError(f"{name} cannot be reached: {error}") from error
    except openai.APIStatusError as error:
        raise VectorStoreError(f"{name} refused with status {error.status_code}") from error
    # A body that is not JSON leaves the SDK as a plain ValueError.
    except (openai.OpenAIError, ValueError) as error:
        raise VectorStoreError(f"{name} gave an answer that cannot be read") from error


def _sendable(text: str) -> str:
    # The hosted endpoint answers an empty text with status 400.
    return text[:LONGEST].encode("utf-8", "replace").decode().strip() or "-"


def _read(answer: Any, expected: int, name: str) -> Vectors:
    """The vectors of an answer that may hold anything: as many as asked for, in order, finite, not zero."""
    try:
        rows = {row.index: [float(number) for number in row.embedding] for row in answer.data}
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite and is refused below
            vectors = np.array([rows[at] for at in range(expected)], np.float32)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise VectorStoreError(f"{name} answered with something else than {expected} vectors") from error
    lengths = np.linalg.norm(vectors, axis=-1)
    if vectors.ndim != 2 or not all(math.isfinite(length) and length > 0 for length in lengths):
        raise VectorStoreError(f"{name} answered with vectors that have no direction")
    return vectors
