"""Measures of rankings, lists and verdicts, and how sure they are. Knows ranks, ids and numbers only."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
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


# several right answers; a ranking is a sequence of distinct ids, best first


def precision(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Share of the first `k` places that hold a right answer; places that are not filled count as wrong."""
    return _hits(ranked, relevant, k) / k


def recall_of(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Share of the right answers that are among the first `k`; 0 without any right answer."""
    return _hits(ranked, relevant, k) / len(relevant) if relevant else 0.0


def f1(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Harmonic mean of precision and recall at `k`."""
    right, found = precision(ranked, relevant, k), recall_of(ranked, relevant, k)
    return 2 * right * found / (right + found) if right + found else 0.0


def hit_rate(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """1 when any of the first `k` is right."""
    return float(_hits(ranked, relevant, k) > 0)


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """1 / place of the first right answer among the first `k`, else 0."""
    return next((1 / place for place, one in enumerate(ranked[:k], 1) if one in relevant), 0.0)


def ndcg_of(ranked: Sequence[str], gains: Mapping[str, float], k: int) -> float:
    """Discounted gain of the first `k` over that of the best order; 0 without gains. `gains`: id -> 0 or more.

    Source: Järvelin and Kekäläinen 2002, linear gain, as in trec_eval.
    """
    ideal = _dcg(sorted(gains.values(), reverse=True)[:k])
    return _dcg([gains.get(one, 0.0) for one in ranked[:k]]) / ideal if ideal > 0 else 0.0


def average_precision(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Sum of the precisions at right answers among the first `k`, over all right answers; its mean is MAP."""
    hits, total = 0, 0.0
    for place, one in enumerate(ranked[:k], 1):
        if one in relevant:
            hits += 1
            total += hits / place
    return total / len(relevant) if relevant else 0.0


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Chance that a positive case scores above a negative one, ties half; 0.5 where one kind is missing.

    Source: the rank-sum statistic, Hanley and McNeil 1982.
    """
    values, yes = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    ups, downs = int(yes.sum()), int((~yes).sum())
    if not ups or not downs:
        return 0.5
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean_ranks = ends - (counts - 1) / 2
    return float((mean_ranks[place][yes].sum() - ups * (ups + 1) / 2) / (ups * downs))


def macro_f1(said: ArrayLike, true: ArrayLike) -> float:
    """Mean over the labels that occur in `true` of each label's F1."""
    told, right = np.asarray(said), np.asarray(true)
    return float(np.mean([_label_f1(told == one, right == one) for one in np.unique(right)]))


# a list as a whole, and all lists together


def coverage(lists: Iterable[Sequence[str]], catalogue: int) -> float:
    """Share of a catalogue of that many items that appears in any list."""
    return len({one for ranked in lists for one in ranked}) / catalogue if catalogue else 0.0


def intra_list_diversity(vectors: ArrayLike) -> float:
    """Mean over pairs of 1 - cosine of one list's item vectors; 0 for fewer than two. Source: Ziegler et al. 2005."""
    rows = np.asarray(vectors, dtype=np.float64)
    if len(rows) < 2:
        return 0.0
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    return float(1 - (alike.sum() - np.trace(alike)) / (len(rows) * (len(rows) - 1)))


def novelty(ranked: Sequence[str], people_with: Mapping[str, int], people: int) -> float:
    """Mean over the list of -log2 of the share of people who had the item, unseen items counting half a person; bits.

    Source: Zhou et al. 2010, mean self-information.
    """
    shares = [max(people_with.get(one, 0), 0.5) / people for one in ranked]
    return float(np.mean([-math.log2(share) for share in shares])) if shares else 0.0


def serendipity(ranked: Sequence[str], expected: Collection[str], relevant: Collection[str]) -> float:
    """Share of the list that is right and not `expected`, i.e. what a trivial recommender shows. Ge et al. 2010."""
    return sum(one in relevant and one not in expected for one in ranked) / len(ranked) if ranked else 0.0


def miscalibration(shown: Mapping[str, float], had: Mapping[str, float], mix: float = 0.01) -> float:
    """Kullback-Leibler divergence, in nats, of the kinds a list shows from those a person had; 0 is perfect.

    Both: kind -> weight of any scale. `mix`: how much of `had` is mixed into `shown`, which keeps it finite.
    Source: Steck 2018, Calibrated recommendations.
    """
    mine, theirs = _shares(had), _shares(shown)
    return sum(
        share * math.log(share / ((1 - mix) * theirs.get(kind, 0.0) + mix * share))
        for kind, share in mine.items()
        if share > 0
    )


def _hits(ranked: Sequence[str], relevant: Collection[str], k: int) -> int:
    return sum(one in relevant for one in ranked[:k])


def _dcg(gains: Iterable[float]) -> float:
    return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains, 1))


def _label_f1(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    both = int(np.sum(said & true))
    return 2 * both / (int(said.sum()) + int(true.sum())) if both else 0.0


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    whole = sum(weights.values())
    return {kind: weight / whole for kind, weight in weights.items()} if whole > 0 else {}
