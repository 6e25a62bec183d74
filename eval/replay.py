"""What another way to explore would have earned, from the log of what was shown and with what probability.

Reads a home's log of exploration and what people did afterwards; changes nothing. Good only where every choice of the
other way had a chance in the log, which Thompson sampling gives all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.history.explored import Explored
from agent.recommend.explore import chances, reaction
from agent.settings import load
from agent.types import Arm, Slot
from agent.wiring import open_rapport
from eval.metrics import Interval, interval

Policy = Callable[[Sequence[Arm]], Sequence[float]]
"""The arms that can be chosen -> the probability of each; the item is drawn evenly from the arm's."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What a place would have earned on average: the share of places whose item was liked."""

    mean: float
    low: float
    high: float
    """95 % bootstrap interval, places drawn again."""
    places: int
    effective: float
    """To how many evenly weighted places the weights come: few means that the log says little about this policy."""


def thompson(arms: Sequence[Arm]) -> Sequence[float]:
    """What the service does."""
    return chances(arms).tolist()


def evenly(arms: Sequence[Arm]) -> Sequence[float]:
    """Every arm alike, whatever was learned."""
    return [1 / len(arms)] * len(arms)


def greedily(arms: Sequence[Arm]) -> Sequence[float]:
    """Always the arm that is believed best."""
    means = np.array([one.yes / (one.yes + one.no) for one in arms])
    best = means == means.max()
    return (best / best.sum()).tolist()


POLICIES: Mapping[str, Policy] = {"thompson": thompson, "evenly": evenly, "greedily": greedily}


def run(home: Path | None) -> dict[str, Any]:
    """Every policy's worth on the log of a home."""
    with open_rapport(settings=load(home=home, llm="none")) as rapport:
        log = list(Explored(rapport.store).everybodys())
        events = {user: rapport.store.events(user) for user in {one.user for one in log}}
    earned = [float((reaction(one, events[one.user]) or 0.0) > 0) for one in log]
    return {name: asdict(worth(log, earned, policy)) for name, policy in POLICIES.items()}


def worth(log: Sequence[Slot], earned: Sequence[float], policy: Policy) -> Worth:
    """The mean of earned x (its probability under `policy` / the logged one).

    Source: Horvitz and Thompson 1952, inverse propensity weighting; unbiased while the logged probabilities are true.
    """
    weights = np.array([chance(one, policy) / one.probability for one in log])
    told: Interval = interval(weights * np.asarray(earned, float))
    square = float((weights**2).sum())
    effective = float(weights.sum()) ** 2 / square if square else 0.0
    return Worth(round(told.mean, 4), round(told.low, 4), round(told.high, 4), len(log), round(effective, 1))


def chance(slot: Slot, policy: Policy) -> float:
    """With what probability `policy` would have put the same item there."""
    odds: Iterable[tuple[Arm, float]] = zip(slot.arms, policy(slot.arms), strict=True)
    return sum(share / len(arm.items) for arm, share in odds if slot.item in arm.items)
