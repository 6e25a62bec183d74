from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics import interval, mrr, ndcg, recall, tied_rank


def test_measures_by_hand():
    ranks = [1, 3, 10, 11, math.inf]
    assert ndcg(ranks, 10) == pytest.approx([1, 0.5, 1 / math.log2(11), 0, 0])
    assert mrr(ranks, 10) == pytest.approx([1, 1 / 3, 0.1, 0, 0])
    assert recall(ranks, 10).tolist() == [1, 1, 1, 0, 0]
    assert ndcg([2.5], 5) == pytest.approx([1 / math.log2(3.5)])


def full_ndcg(ranked: list[int], relevant: set[int], k: int) -> float:
    """The general definition, for any number of relevant items."""
    gains = [1 / math.log2(place + 1) for place, item in enumerate(ranked[:k], 1) if item in relevant]
    ideal = [1 / math.log2(place + 1) for place in range(1, min(k, len(relevant)) + 1)]
    return sum(gains) / sum(ideal)


@given(st.permutations(list(range(12))), st.integers(0, 11), st.integers(1, 15))
def test_one_right_answer_is_a_case_of_the_general_measure(ranked, right, k):
    rank = ranked.index(right) + 1
    assert ndcg([rank], k)[0] == pytest.approx(full_ndcg(ranked, {right}, k))
    assert recall([rank], k)[0] == len({right} & set(ranked[:k]))
    assert mrr([rank], k)[0] == pytest.approx(next((1 / at for at, x in enumerate(ranked[:k], 1) if x == right), 0.0))


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=9), st.data())
def test_a_tied_rank_is_the_mean_over_every_order_of_the_equals(scores, data):
    place = data.draw(st.integers(0, len(scores) - 1))
    masked = data.draw(st.sets(st.integers(0, len(scores) - 1).filter(lambda at: at != place)))
    left = [at for at in range(len(scores)) if at not in masked]
    first = sorted(left, key=lambda at: (-scores[at], at != place)).index(place) + 1
    last = sorted(left, key=lambda at: (-scores[at], at == place)).index(place) + 1
    assert tied_rank(scores, place, sorted(masked)) == (first + last) / 2


def test_what_is_masked_has_no_rank():
    with pytest.raises(ValueError, match="masked"):
        tied_rank([1.0, 2.0], 0, [0])


def test_the_interval_holds_the_mean_and_shrinks_with_more_cases():
    few = np.random.default_rng(1).normal(0.2, 1.0, 50)
    one, many = interval(few), interval(np.tile(few, 16))
    assert one.mean == pytest.approx(few.mean())
    assert one.low < one.mean < one.high
    assert many.high - many.low == pytest.approx((one.high - one.low) / 4, rel=0.15)
    # The normal approximation, as an independent oracle.
    assert one.high - one.low == pytest.approx(2 * 1.96 * few.std() / math.sqrt(50), rel=0.15)
    assert interval(few) == one


def test_no_cases_are_no_gain():
    assert (interval([]).mean, interval([]).low, interval([]).high) == (0, 0, 0)
