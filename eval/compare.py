"""How sure a figure is, and a difference of two: bootstrap over the units that were drawn (people, rows, dialogues).

Knows arrays only. A measure turns answers and labels into one row of numbers per case, and rows into one figure, so
that means, areas under curves and F1 are all resampled in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics import Floats, Interval, auc, macro_f1

DRAWS = 2000
Rows = NDArray[np.float64]
"""[cases, columns]."""


def mean(rows: Rows) -> float:
    return float(rows[:, 0].mean()) if len(rows) else 0.0


def area(rows: Rows) -> float:
    """Of columns score and label."""
    return auc(rows[:, 0], rows[:, 1] > 0)


def f1(rows: Rows) -> float:
    """Macro-F1 of columns said and true."""
    return macro_f1(rows[:, 0], rows[:, 1])


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a system. `score`: (answer, label) -> the case's row of numbers; nan = the case does not count."""

    name: str
    score: Callable[[Any, Any], Sequence[float]]
    reduce: Callable[[Rows], float] = mean
    higher_is_better: bool = True

    def rows(self, answers: Sequence[Any], labels: Sequence[Any]) -> Rows:
        return np.array([self.score(one, label) for one, label in zip(answers, labels, strict=True)], np.float64)


def resamples(units: Sequence[str], draws: int, seed: int) -> list[NDArray[np.intp]]:
    """`draws` samples, with replacement, of whole units: the places of their cases."""
    found: dict[str, list[int]] = {}
    for place, unit in enumerate(units):
        found.setdefault(unit, []).append(place)
    groups = [np.array(places, np.intp) for places in found.values()]
    generator = np.random.default_rng(seed)
    if all(len(one) == 1 for one in groups):
        return [generator.integers(0, len(groups), len(groups)) for _ in range(draws)]
    return [
        np.concatenate([groups[at] for at in generator.integers(0, len(groups), len(groups))]) for _ in range(draws)
    ]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure, and what it was on each sample."""

    figure: float
    draws: Floats

    def interval(self) -> Interval:
        """The figure with its 95 % percentile interval."""
        low, high = np.percentile(self.draws, [2.5, 97.5]) if len(self.draws) else (self.figure, self.figure)
        return Interval(self.figure, float(low), float(high))


def drawn(measure: Measure, rows: Rows, samples: Sequence[NDArray[np.intp]]) -> Drawn:
    return Drawn(
        measure.reduce(known(rows)), np.array([measure.reduce(known(rows[one])) for one in samples], np.float64)
    )


def paired(measure: Measure, ours: Drawn, theirs: Drawn) -> Interval:
    """Ours minus theirs, both on the same samples of the same cases; positive where ours is better.

    Source: paired bootstrap, Efron and Tibshirani 1993.
    """
    sign = 1.0 if measure.higher_is_better else -1.0
    return Drawn(sign * (ours.figure - theirs.figure), sign * (ours.draws - theirs.draws)).interval()


def known(rows: Rows) -> Rows:
    """Without the cases that do not count."""
    missing = np.isnan(rows).any(axis=1)
    return rows[~missing] if missing.any() else rows
