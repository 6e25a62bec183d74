"""Measures the vector stores: recall and time against exact search, also after churn, and texts embedded a second.

Observes only. Small by default; machine load changes every time it prints, never the recall.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line `arguments` and print a table."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as home:
        _stores(Path(home), options)
    embedder = HashingEmbedder()
    _embedding(embedder, options.texts)
    if options.cache:
        embedder = LlamaEmbedder(builtin_gguf(options.cache), threads=options.threads)
        _embedding(embedder, options.texts)
        embedder.close()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000, help="documents in the index")
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--texts", type=int, default=200, help="texts to embed")
    parser.add_argument("--threads", type=int, default=0, help="of the embedding model; 0 = all cores")
    parser.add_argument("--cache", type=Path, help="folder of the built-in model; without it only hashing is measured")
    return parser.parse_args(arguments)


def _stores(home: Path, options: argparse.Namespace) -> None:
    documents = [Document(f"d{at}", "", {"half": at % 2, "hundredth": at % 100}) for at in range(options.items)]
    queries = _random(options.queries, options.dimension, seed=0)
    twin = ExactStore(options.dimension)
    # What is measured is Chroma's own search, which small indexes do without.
    chroma_generation.IN_MEMORY = 0
    store = ChromaStore.open(home, "random", options.dimension)
    try:
        _fill((store, twin), documents, options, seed=1)
        _report("fresh", store, twin, queries)
        for seed in (2, 3, 4):
            _fill((store, twin), documents, options, seed)
        _report("after 3 full upserts", store, twin, queries)
        gone = [document.id for document in documents[: options.items // 4] + documents[-options.items // 4 :]]
        for one in (store, twin):
            one.delete(gone)
        _report("after deleting half", store, twin, queries)
    finally:
        store.close()


def _random(n: int, dimension: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _fill(stores: Sequence[VectorStore], documents: list[Document], options: argparse.Namespace, seed: int) -> None:
    vectors = _random(len(documents), options.dimension, seed)
    for store in stores:
        seconds, _ = _timed(lambda store=store: store.upsert(documents, vectors))
        print(f"{type(store).__name__:12} upsert {len(documents) / seconds:10,.0f} documents/s")  # noqa: T201


def _report(moment: str, store: ChromaStore, twin: ExactStore, queries: Vectors) -> None:
    for case, where in CASES.items():
        seconds, ours = _timed(lambda where=where: store.search(queries, K, where=where))
        exact_seconds, exact = _timed(lambda where=where: twin.search(queries, K, where=where))
        shares = [
            len({hit.id for hit in mine} & {hit.id for hit in best}) / len(best)
            for mine, best in zip(ours, exact, strict=True)
            if best
        ]
        print(  # noqa: T201
            f"{moment:22} {case:17} recall@{K} {np.mean(shares):.3f}  {1000 * seconds / len(queries):6.2f} ms/query, "
            f"exact {1000 * exact_seconds / len(queries):6.2f}"
        )
    print(f"{moment:22} healthy: {store.healthy()}")  # noqa: T201


def _embedding(embedder: Embedder, n: int) -> None:
    texts = [f"The invented film number {at} ({1950 + at % 70}) Adventure, Comedy" for at in range(n)]
    seconds, _ = _timed(lambda: embedder.embed(texts))
    print(f"{embedder.name}: {n / seconds:,.0f} texts/s")  # noqa: T201


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
