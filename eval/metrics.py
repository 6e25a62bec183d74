"""Measures of a ranking with one right answer each, and how sure they are. Knows ranks and numbers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    mean: float
    low: float
    high: float


def tied_rank(scores: ArrayLike, place: int, masked: ArrayLike = ()) -> float:
    """Rank, from 1, of the item at `place` when higher scores come first; of equal scores, the mean of their ranks.

    `masked`: places that are not ranked at all. Raises ValueError when `place` is one of them.

    >>> tied_rank([0.5, 0.9, 0.5, 0.1], 0)
    2.5
    """
    values = np.array(scores, dtype=np.float64)
    values[np.asarray(masked, dtype=np.intp)] = -np.inf
    if values[place] == -np.inf:
        raise ValueError(f"place {place} is masked: it has no rank")
    return float(1 + np.sum(values > values[place]) + (np.sum(values == values[place]) - 1) / 2)


def ndcg(ranks: ArrayLike, k: int) -> Floats:
    """Per case, 1 / log2(rank + 1) when the one right answer is among the first `k`, else 0; absent = infinite rank.

    Source: Järvelin and Kekäläinen 2002; with one relevant item the ideal is 1.
    """
    found = np.asarray(ranks, dtype=np.float64)
    return np.where(found <= k, 1 / np.log2(np.minimum(found, k) + 1), 0.0)


def mrr(ranks: ArrayLike, k: int) -> Floats:
    """Per case, 1 / rank when the right answer is among the first `k`, else 0."""
    found = np.asarray(ranks, dtype=np.float64)
    return np.where(found <= k, 1 / found, 0.0)


def recall(ranks: ArrayLike, k: int) -> Floats:
    """Per case, 1 when the right answer is among the first `k`, else 0; with one right answer also the hit rate."""
    return (np.asarray(ranks, dtype=np.float64) <= k).astype(np.float64)


def interval(values: ArrayLike, draws: int = 2000, seed: int = 0) -> Interval:
    """Mean and 95 % percentile bootstrap interval over cases; all 0 without any. Of differences: paired."""
    data = np.asarray(values, dtype=np.float64)
    if not len(data):
        return Interval(0.0, 0.0, 0.0)
    generator = np.random.default_rng(seed)
    means = [float(data[generator.integers(0, len(data), len(data))].mean()) for _ in range(draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(data.mean()), float(low), float(high))
