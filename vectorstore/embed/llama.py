"""Texts to vectors by an embedding model in a GGUF file, in this process, on llama.cpp.

Knows nothing of what the texts are. One model has one caller: a lock keeps the others waiting.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vectorstore.base import Vectors, VectorStoreError

if TYPE_CHECKING:
    from llama_cpp import Llama

CONTEXT = 512
"""Tokens of a text that are read; what is beyond is cut."""
DECODED_TOGETHER = 128
"""Tokens. Attention is computed over all texts that are decoded together, so more is slower for short texts."""


class LlamaEmbedder:
    """The embedding model in the GGUF file `path`.

    Vectors are pooled as the file says, by the mean where it says nothing, and have length 1.
    `threads`: 0 takes all cores; on a machine with other load fewer are faster.
    Raises VectorStoreError when the file or llama-cpp-python is missing, or the file is no embedding model.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        if not path.is_file():
            raise VectorStoreError(f"the embedding model {path} does not exist")
        self._llama = _load(path, threads or os.cpu_count() or 1)
        self._lock = threading.Lock()  # two callers inside one llama.cpp context abort the process
        self.dimension = self._llama.n_embd()
        self.name = f"{path.stem}-{_digest(path)}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self.dimension), np.float32)
        with self._lock:
            for start, group in self._groups(texts):
                vectors[start : start + len(group)] = self._llama.embed(group)
        return _unit(vectors)

    def _groups(self, texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        start, tokens, group = 0, 0, []
        for at, text in enumerate(map(_encodable, texts)):
            size = min(CONTEXT, len(self._llama.tokenize(text.encode())))
            if group and tokens + size > DECODED_TOGETHER:
                yield start, group
                start, tokens, group = at, 0, []
            tokens += size
            group.append(text)
        if group:
            yield start, group

    def close(self) -> None:
        with self._lock:
            self._llama.close()


def _load(path: Path, threads: int) -> Llama:
    # Waiting OpenMP threads spin by default, for milliseconds; beside other work two of them then embedded 4 texts a
    # second instead of 99 (measured), so they spin for some 10 us and sleep. OpenMP reads this when it is loaded, so it
    # stands before the first import; who has set it decides.
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        os.environ.update(OMP_WAIT_POLICY="passive", GOMP_SPINCOUNT="1000")
    try:
        import llama_cpp
    except ImportError as error:
        raise VectorStoreError(
            "llama-cpp-python is not installed: run `make install` or pip install '.[local]'"
        ) from error
    unset, none = llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED, llama_cpp.LLAMA_POOLING_TYPE_NONE
    try:
        llama = _open(path, threads, CONTEXT, unset)
        # A text longer than the model's table of positions would abort the process.
        context = min(CONTEXT, _trained_context(llama))
        pooling = llama_cpp.LLAMA_POOLING_TYPE_MEAN if llama.pooling_type() == none else unset
        if (context, pooling) != (CONTEXT, unset):
            llama.close()
            llama = _open(path, threads, context, pooling)
    except (ValueError, RuntimeError) as error:
        raise VectorStoreError(f"{path} cannot be loaded as an embedding model: {error}") from error
    return llama


def _trained_context(llama: Llama) -> int:
    architecture = llama.metadata.get("general.architecture", "")
    return int(llama.metadata.get(f"{architecture}.context_length", CONTEXT))


def _open(path: Path, threads: int, context: int, pooling: int) -> Llama:
    from llama_cpp import Llama

    return Llama(
        str(path),
        embedding=True,
        n_ctx=context,
        n_batch=context,
        n_ubatch=context,
        n_threads=threads,
        n_threads_batch=threads,
        n_gpu_layers=-1,
        flash_attn=True,
        pooling_type=pooling,
        verbose=False,
    )


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or np.any(lengths == 0):
        raise VectorStoreError("the embedding model returned a vector without a direction")
    return vectors / lengths
