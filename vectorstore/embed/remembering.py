"""An embedder that remembers the last texts it was asked: questions come again, with other people and other requests.

For questions, not for catalogues. Knows nothing of what the texts are.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vectorstore.base import Embedder, Vectors

MOST = 4_096
"""Texts that are remembered, some 6 MB of vectors with the built-in model."""


class Remembering:
    """`embedder`, each text computed once while it is among the `most` last used. Closing it is the owner's work."""

    def __init__(self, embedder: Embedder, most: int = MOST) -> None:
        self._embedder = embedder
        self._most = most
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()  # guards what is known; computing goes on without it
        self.name = embedder.name
        self.dimension = embedder.dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            found = {text: self._known[text] for text in texts if text in self._known}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            found.update(zip(missing, self._embedder.embed(missing), strict=True))
        with self._lock:
            for text, vector in found.items():
                self._known[text] = vector
                self._known.move_to_end(text)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return np.array([found[text] for text in texts], np.float32).reshape(len(texts), self.dimension)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._known.clear()
