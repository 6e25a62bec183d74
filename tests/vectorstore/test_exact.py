"""What the matrix in memory remembers of questions changes no answer."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vectorstore.test_stores import random_vectors
from vectorstore import exact
from vectorstore.exact import Whole

IDS = [f"i{at:03}" for at in np.random.default_rng(1).permutation(200)]
VECTORS = random_vectors(200)
QUESTIONS = random_vectors(12, seed=2)


def by_hand(query: np.ndarray, k: int, excluded: set[str]) -> list[str]:
    scores = VECTORS @ query
    left = [at for at in range(200) if IDS[at] not in excluded]
    return [IDS[at] for at in sorted(left, key=lambda at: -scores[at])[:k]]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(exact, "NEAREST", 20)
    monkeypatch.setattr(exact, "MOST", 8)


@pytest.mark.parametrize("k", [1, 5, 20, 30, 500])
def test_a_question_that_comes_again_gets_what_it_would_get_anew_whatever_is_left_out(k):
    whole = Whole.of(IDS, VECTORS)
    nearest = {id for query in QUESTIONS for id in by_hand(query, 18, set())}
    for excluded in (set(), set(IDS[:40]), nearest, set(IDS[:198]), set(IDS), {"unheard of"}, set()):
        for some in (QUESTIONS[:3], QUESTIONS[2:9], QUESTIONS):
            found = whole.search(some, k, excluded)
            assert [[hit.id for hit in hits] for hits in found] == [by_hand(one, k, excluded) for one in some]
            assert all(
                hit.score == pytest.approx(float(VECTORS[IDS.index(hit.id)] @ one), abs=1e-6)
                for one, hits in zip(some, found, strict=True)
                for hit in hits
            )


def test_it_is_computed_once_and_the_last_questions_are_remembered(monkeypatch):
    computed = list[int]()
    nearest = exact.nearest
    monkeypatch.setattr(exact, "nearest", lambda scores, k: (computed.append(k), nearest(scores, k))[1])
    whole = Whole.of(IDS, VECTORS)
    whole.search(QUESTIONS[:8], 5, set())
    whole.search(QUESTIONS[:8], 5, set(IDS[:10]))
    whole.search(QUESTIONS[[7, 7, 0]], 5, set())
    assert computed == [20] * 8
    whole.search(QUESTIONS[8:9], 5, set())
    whole.search(QUESTIONS[[0, 7]], 5, set())
    assert len(computed) == 9
    whole.search(QUESTIONS[1:2], 5, set())
    assert len(computed) == 10
