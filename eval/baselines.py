"""Ranking without Rapport: what a recommender has to beat. Scores of every item for every history, as dense matrices.

Sees a board's histories; knows no labels. The item-to-item weights are trained by the same functions that Rapport
uses, whole instead of cut down: numbers that match the published recipe prove those functions.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.recommend.collaborative import Weights, apart, ease, together
from eval.movielens import Board

Matrix = NDArray[np.floating]
WINDOW, DAMPING = 5, 10.0
"""Of the transitions."""


def places(board: Board) -> list[NDArray[np.intp]]:
    """Each person's films as places in `board.movies`, oldest first."""
    place = {movie: at for at, movie in enumerate(board.movies)}
    return [np.array([place[one.movie] for one in rows], np.intp) for rows in board.histories.values()]


def matrices(fitted: Board, asked: Board) -> dict[str, Matrix]:
    """name -> scores [people, films] for the histories of `asked`, with weights trained on `fitted`.

    Source: the recipes of board A. Popularity counts `asked`, which holds the validation events too, as published.
    """
    known, own, size = places(fitted), places(asked), len(fitted.movies)
    counts = together(known, size)
    light, next_ones = ease(counts, 200), transitions(known, size, WINDOW, DAMPING)
    following = decayed(own, size, 0.7) @ next_ones
    popularity = np.bincount(np.concatenate(own), minlength=size).astype(np.float64)
    return {
        "Pop": np.tile(popularity, (len(own), 1)),
        "EASE plain, lambda 500": decayed(own, size, 1.0) @ ease(counts, 500),
        "EASE plain, lambda 200": decayed(own, size, 1.0) @ light,
        "EASE x recency decay": decayed(own, size, 0.5) @ light,
        "Markov": following,
        BLEND: standard(decayed(own, size, 0.7) @ light) + 0.5 * standard(following),
    }


def transitions(histories: Sequence[NDArray[np.intp]], size: int, window: int, damping: float) -> Weights:
    """[from, to]: 1/d for each time `to` came d <= `window` places after `from`, over the row's sum + `damping`."""
    counts = apart(histories, size, [0, *(1 / lag for lag in range(1, window + 1))])
    return counts / (counts.sum(axis=1, keepdims=True) + damping)


def of_implicit(asked: Board) -> dict[str, Matrix]:
    """The same from the library implicit: factors (ALS: Hu, Koren and Volinsky 2008; BPR: Rendle et al. 2009) and
    item-to-item weights, fitted on the histories of `asked` that are ranked for.

    Settings are the best of 36, 16 and 12 on the validation events (NDCG@10 .0405, .0423 and .0375).
    """
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from implicit.nearest_neighbours import BM25Recommender
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    own = places(asked)
    people = np.repeat(np.arange(len(own)), [len(one) for one in own])
    had: Any = csr_matrix(
        (np.ones(len(people), np.float32), (people, np.concatenate(own))), (len(own), len(asked.movies))
    )
    with threadpool_limits(1), warnings.catch_warnings():
        # The library hands itself another sparse layout than the one that it likes best.
        warnings.filterwarnings("ignore", "Method expects CSR input")
        als: Any = AlternatingLeastSquares(factors=128, regularization=1.0, alpha=1.0, random_state=0, num_threads=1)
        bpr: Any = BayesianPersonalizedRanking(
            factors=64, learning_rate=0.01, regularization=0.01, iterations=100, random_state=0, num_threads=1
        )
        near: Any = BM25Recommender(K=100, num_threads=1)
        for one in (als, bpr, near):
            one.fit(had, show_progress=False)
    return {
        "implicit, ALS": als.user_factors @ als.item_factors.T,
        "implicit, BPR": bpr.user_factors @ bpr.item_factors.T,
        "implicit, item to item (BM25)": (had @ near.similarity).toarray(),
    }


BLEND = "EASE-decay + Markov blend"


def exact_text(vectors: Mapping[str, NDArray[np.float32]], board: Board, decay: float = 0.7) -> Matrix:
    """Scores [people, films]: cosine of each film's text with the decayed sum of a history's texts."""
    rows = np.stack([vectors[movie] for movie in board.movies])
    return decayed(places(board), len(board.movies), decay) @ (rows @ rows.T)


def decayed(histories: Sequence[NDArray[np.intp]], size: int, decay: float) -> Matrix:
    """[histories, size]: decay^j for the j-th last item of each history."""
    out = np.zeros((len(histories), size))
    for at, one in enumerate(histories):
        out[at, one] = decay ** np.arange(len(one) - 1, -1, -1)
    return out


def standard(scores: Matrix) -> Matrix:
    """Each row with mean 0 and spread 1; a constant row becomes 0."""
    spread = scores.std(axis=1, keepdims=True)
    return (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
