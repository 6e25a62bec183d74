"""Measures the vector stores: recall and time against exact search, also after churn, and texts embedded a second.

Observes only. Small by default; machine load changes every time it prints, never the recall.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np

from vectorstore import chroma_generation
from vectorstore.base import Document, Embedder, Filter, Vectors, VectorStore
from vectorstore.chroma import ChromaStore
from vectorstore.embed.hashing import HashingEmbedder
from vectorstore.embed.llama import LlamaEmbedder
from vectorstore.exact import ExactStore
from vectorstore.minilm import builtin_gguf

Result = TypeVar("Result")
K = 50
CASES: dict[str, tuple[Filter, ...]] = {
    "unfiltered": (),
    "half": (Filter("half", "=", 1),),
    "one in a hundred": (Filter("hundredth", "=", 1),),
}


@dataclass(frozen=True, slots=True)
class Size:
    items: int = 2000
    """Documents in the index."""
    texts: int = 200
    """Texts to embed."""
    cache: Path | None = None
    """Folder of the built-in model; without it only hashing is measured."""
    threads: int = 0
    """Of the embedding model; 0 = all cores."""
    dimension: int = 64
    queries: int = 50


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line `arguments` and print a table."""
    sys.stdout.write(markdown(measure(Size(**vars(_options(arguments))))) + "\n")


def measure(size: Size) -> dict[str, Any]:
    """Recall and milliseconds a query at each moment, and texts embedded a second."""
    # What is measured is Chroma's own search, which small indexes do without.
    with tempfile.TemporaryDirectory() as home, patch.object(chroma_generation, "IN_MEMORY", 0):
        found = list(_stores(Path(home), size))
    embedder = HashingEmbedder()
    embedded = {embedder.name: _embedding(embedder, size.texts)}
    if size.cache:
        embedder = LlamaEmbedder(builtin_gguf(size.cache), threads=size.threads)
        embedded[embedder.name] = _embedding(embedder, size.texts)
        embedder.close()
    return {"items": size.items, "searches": found, "texts a second": embedded}


def markdown(result: Mapping[str, Any]) -> str:
    """The table for people to read."""
    head = f"| {result['items']} documents | filter | recall@{K} | ms a query | exact | healthy |"
    rows = [" | ".join(map(str, one.values())) for one in result["searches"]]
    texts = [f"- {name}: {round(speed)} texts/s" for name, speed in result["texts a second"].items()]
    return "\n".join([head, "|---" * 6 + "|", *(f"| {row} |" for row in rows), "", *texts])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000, help="documents in the index")
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--texts", type=int, default=200, help="texts to embed")
    parser.add_argument("--threads", type=int, default=0, help="of the embedding model; 0 = all cores")
    parser.add_argument("--cache", type=Path, help="folder of the built-in model; without it only hashing is measured")
    return parser.parse_args(arguments)


def _stores(home: Path, size: Size) -> Iterator[dict[str, Any]]:
    documents = [Document(f"d{at}", "", {"half": at % 2, "hundredth": at % 100}) for at in range(size.items)]
    queries = _random(size.queries, size.dimension, seed=0)
    twin = ExactStore(size.dimension)
    store = ChromaStore.open(home, "random", size.dimension)
    try:
        _fill((store, twin), documents, size.dimension, seed=1)
        yield from _searched("fresh", store, twin, queries)
        for seed in (2, 3, 4):
            _fill((store, twin), documents, size.dimension, seed)
        yield from _searched("after 3 full rewrites", store, twin, queries)
        gone = [document.id for document in documents[: size.items // 4] + documents[-size.items // 4 :]]
        for one in (store, twin):
            one.delete(gone)
        yield from _searched("after deleting half", store, twin, queries)
    finally:
        store.close()


def _random(n: int, dimension: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _fill(stores: Sequence[VectorStore], documents: list[Document], dimension: int, seed: int) -> None:
    vectors = _random(len(documents), dimension, seed)
    for store in stores:
        store.upsert(documents, vectors)


def _searched(moment: str, store: ChromaStore, twin: ExactStore, queries: Vectors) -> Iterator[dict[str, Any]]:
    healthy = store.healthy()
    for case, where in CASES.items():
        seconds, ours = _timed(lambda where=where: store.search(queries, K, where=where))
        exact_seconds, exact = _timed(lambda where=where: twin.search(queries, K, where=where))
        shares = [
            len({hit.id for hit in mine} & {hit.id for hit in best}) / len(best)
            for mine, best in zip(ours, exact, strict=True)
            if best
        ]
        yield {
            "moment": moment,
            "filter": case,
            "recall": round(float(np.mean(shares)), 4),
            "ms": round(1000 * seconds / len(queries), 2),
            "exact ms": round(1000 * exact_seconds / len(queries), 2),
            "healthy": healthy,
        }


def _embedding(embedder: Embedder, n: int) -> float:
    """Texts a second."""
    texts = [f"The invented film number {at} ({1950 + at % 70}) Adventure, Comedy" for at in range(n)]
    seconds, _ = _timed(lambda: embedder.embed(texts))
    return n / seconds


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
