"""The measures of lists against ir-measures and scikit-learn, and by hand where no library has them."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG
from sklearn.metrics import f1_score, roc_auc_score

from eval import metrics

ITEMS = [f"i{at}" for at in range(12)]


@st.composite
def rankings(draw):
    ranked = draw(st.permutations(ITEMS))[: draw(st.integers(1, 12))]
    relevant = draw(st.sets(st.sampled_from(ITEMS), min_size=1))
    return ranked, relevant, draw(st.integers(1, 14))


def library(measure, ranked, gains) -> float:
    run = [ir_measures.ScoredDoc("q", one, float(-at)) for at, one in enumerate(ranked)]
    judged = [ir_measures.Qrel("q", one, gain) for one, gain in gains.items()]
    return ir_measures.calc_aggregate([measure], judged, run)[measure]


@settings(max_examples=30, deadline=None)
@given(rankings())
def test_lists_as_ir_measures_has_them(drawn):
    ranked, relevant, k = drawn
    gains = dict.fromkeys(relevant, 1)
    pairs = [
        (metrics.precision(ranked, relevant, k), P @ k),
        (metrics.recall_of(ranked, relevant, k), R @ k),
        (metrics.hit_rate(ranked, relevant, k), Success @ k),
        (metrics.reciprocal_rank(ranked, relevant, k), RR @ k),
        (metrics.average_precision(ranked, relevant, k), AP @ k),
        (metrics.ndcg_of(ranked, dict.fromkeys(relevant, 1.0), k), nDCG @ k),
    ]
    for ours, measure in pairs:
        assert ours == pytest.approx(library(measure, ranked, gains)), measure
    right, found = metrics.precision(ranked, relevant, k), metrics.recall_of(ranked, relevant, k)
    assert metrics.f1(ranked, relevant, k) * (right + found) == pytest.approx(2 * right * found)


@settings(max_examples=30, deadline=None)
@given(
    st.permutations(ITEMS), st.dictionaries(st.sampled_from(ITEMS), st.integers(1, 3), min_size=1), st.integers(1, 9)
)
def test_graded_gains_as_ir_measures_has_them(ranked, gains, k):
    ours = metrics.ndcg_of(ranked, {one: float(gain) for one, gain in gains.items()}, k)
    assert ours == pytest.approx(library(nDCG @ k, ranked, gains))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.booleans()), min_size=2, max_size=30))
def test_auc_as_scikit_learn_has_it(pairs):
    scores, labels = zip(*pairs, strict=True)
    if len(set(labels)) == 2:
        assert metrics.auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    else:
        assert metrics.auc(scores, labels) == 0.5


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_macro_f1_as_scikit_learn_has_it(pairs):
    said, true = zip(*pairs, strict=True)
    wanted = f1_score(true, said, labels=sorted(set(true)), average="macro", zero_division=0)
    assert metrics.macro_f1(said, true) == pytest.approx(wanted)


def test_nothing_right_and_nothing_shown():
    assert metrics.f1(["a"], {"b"}, 5) == metrics.recall_of(["a"], set(), 5) == metrics.ndcg_of(["a"], {}, 5) == 0
    assert metrics.reciprocal_rank([], {"a"}, 5) == metrics.average_precision(["a"], set(), 5) == 0
    assert metrics.novelty([], {}, 3) == metrics.serendipity([], (), ()) == metrics.intra_list_diversity([[1, 0]]) == 0


def test_whole_lists_by_hand():
    assert metrics.coverage([["a", "b"], ["b"]], 4) == 0.5
    assert metrics.intra_list_diversity([[1, 0], [0, 2], [3, 0]]) == pytest.approx(2 / 3)
    assert metrics.novelty(["a", "b"], {"a": 4}, 8) == pytest.approx((1 + 4) / 2)
    assert metrics.serendipity(["a", "b", "c", "d"], expected={"a"}, relevant={"a", "b"}) == 0.25


def test_miscalibration_is_a_divergence():
    had = {"drama": 3.0, "war": 1.0}
    assert metrics.miscalibration({"drama": 6.0, "war": 2.0}, had) == pytest.approx(0)
    without = metrics.miscalibration({"drama": 1.0}, had)
    wanted = 0.75 * math.log(0.75 / (0.99 + 0.0075)) + 0.25 * math.log(0.25 / 0.0025)
    assert without == pytest.approx(wanted)
    assert metrics.miscalibration({}, had) > without
    assert metrics.miscalibration({"war": 1.0}, {}) == 0


def test_the_area_under_a_rounded_score_counts_ties_half():
    assert metrics.auc(np.zeros(4), [True, False, True, False]) == 0.5
