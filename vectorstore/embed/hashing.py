"""Texts to vectors by hashing words and pieces of words: no model, for tests and as the last resort.

Finds shared words and spellings; knows nothing of meaning.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from zlib import crc32

import numpy as np

from vectorstore.base import Vectors

_WORD = re.compile(r"\w+")
_FIRST_CJK = "\u2e80"


class HashingEmbedder:
    """Signed feature hashing of words and character n-grams; the same text gives the same vector on every machine.

    Source: Weinberger et al. 2009, "Feature hashing for large scale multitask learning".
    """

    def __init__(self, dimension: int = 256) -> None:
        if dimension < 2:
            raise ValueError(f"dimension must be 2 or more, not {dimension}")
        self.dimension = dimension
        self.name = f"hashing-1-{dimension}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self._vector(text) for text in texts]) if texts else np.zeros((0, self.dimension), np.float32)

    def _vector(self, text: str) -> np.ndarray:
        vector = np.zeros(self.dimension, np.float32)
        for feature, times in Counter(_features(text)).items():
            code = crc32(feature.encode("utf-8", "surrogatepass"))
            vector[(code >> 1) % self.dimension] += (1 if code & 1 else -1) * np.sqrt(times)
        length = np.linalg.norm(vector)
        if length == 0:  # no word at all, or features that cancelled out
            vector[0] = length = 1.0
        return vector / length

    def close(self) -> None:
        """Nothing to free."""


def _features(text: str) -> Iterator[str]:
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        yield word
        # Chinese, Japanese and Korean words are short and not separated by spaces: pairs carry the meaning there.
        size = 2 if max(word) >= _FIRST_CJK else 3
        marked = f"^{word}$"
        yield from (marked[at : at + size] for at in range(len(marked) - size + 1))
