"""What stands out in one history against everyone's: computed, never asked of a model.

The contrast is the log-odds ratio with an informative Dirichlet prior of Monroe, Colaresi and Quinn, "Fightin' Words"
(2008), over features of items weighted by how much the person liked them and how recently.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from agent.features import Population, kind_of
from agent.persona.tally import Mark, Side, Tally
from agent.types import Polarity

PRIOR = 8.0
"""Strength of the population's share as prior, in events."""
KIND_ORDER = ("category", "creator", "word", "language", "minutes", "price", "decade")
"""Of two features that rest on the same items, the one whose kind comes first is kept."""
BY_CHANCE = ("word", "minutes", "price", "decade")
"""Kinds of which every item has one or many, so that some stand out by chance alone: they must do so clearly."""
LEAST_WEIGHT_BY_CHANCE = 0.38
FEW_ITEMS = 5
"""Up to this many items, one item alone may be evidence."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One feature that a person's history has clearly more of (+1), or clearly dislikes (-1)."""

    feature: str
    polarity: Polarity
    support: int
    """Items of this polarity that have the feature."""
    of: int
    """All items of this polarity."""
    z: float
    """Standard deviations above what the background would give."""
    weight: float
    """Strength, 0 to 1."""
    marks: tuple[Mark, ...]
    """What it rests on, strongest first; never empty, and every one of this polarity."""


def evidence(tally: Tally, population: Population, limit: int = 10) -> list[Evidence]:
    """The features that stand out, likes first, strongest first: at most `limit` likes and a third as many dislikes."""
    likes = apart(stand_out(tally, population, 1))
    liked = {one.feature for one in likes}
    dislikes = apart(one for one in stand_out(tally, population, -1) if one.feature not in liked)
    return [*likes[:limit], *dislikes[: max(2, limit // 3)]]


def stand_out(tally: Tally, population: Population, polarity: Polarity) -> list[Evidence]:
    """Features over-represented on one side of a history, strongest first, that the other side does not outweigh.

    A like is contrasted with the population; a dislike with what this person meets anyway, because everybody dislikes
    most of what there is most of.
    """
    few = len(tally.marks) <= FEW_ITEMS
    whole = tally.whole
    total, of = (whole.mass_liked, whole.likes) if polarity > 0 else (whole.mass_disliked, whole.dislikes)
    found = []
    for feature, side in tally.features.items():
        mass, against, support = sides(side, polarity)
        if support < needed(feature, few) or mass <= against * (1.0 if polarity > 0 else 1.2):
            continue
        share = population.share(feature)
        if polarity < 0:
            share = (side.met + PRIOR * share) / (whole.met + PRIOR)
        z = log_odds_z(mass, total, share)
        marks = tuple(mark for item in side.items if (mark := tally.marks[item]) and mark.preference * polarity > 0)
        if marks and z >= (0.3 if few or polarity < 0 else 1.0):
            # How far it stands out, and how much of the history it is: a rare speciality and a staple both count.
            weight = (1 - math.exp(-max(z, 0.3) / 2.5)) * (0.5 + 0.5 * min(1.0, 2 * mass / total))
            if kind_of(feature) not in BY_CHANCE or weight >= LEAST_WEIGHT_BY_CHANCE:
                found.append(Evidence(feature, polarity, support, of, round(z, 3), round(weight, 3), marks))
    return sorted(found, key=lambda one: (-one.weight, one.feature))


def sides(side: Side, polarity: Polarity) -> tuple[float, float, int]:
    if polarity > 0:
        return side.mass_liked, side.mass_disliked, side.likes
    return side.mass_disliked, side.mass_liked, side.dislikes


def needed(feature: str, few: bool) -> int:
    """How many items a feature must rest on."""
    kind = kind_of(feature)
    if few:
        return 1 if kind in ("category", "language") else 2
    return 3 if kind in BY_CHANCE else 2


def log_odds_z(mass: float, total: float, share: float) -> float:
    """z-score of the log-odds of `mass` in `total` against a background `share`, which is also the prior."""
    prior = PRIOR * share
    inside = math.log((mass + prior) / max(1e-9, total + PRIOR - mass - prior))
    return (inside - math.log(share / (1 - share))) / math.sqrt(1 / (mass + prior))


def apart(found: Iterable[Evidence]) -> list[Evidence]:
    """Without those that rest on nearly the same items (three in four) as a stronger or better-named one."""
    kept: list[Evidence] = []
    for one in found:
        mine = {mark.item for mark in one.marks}
        for place, other in enumerate(kept):
            theirs = {mark.item for mark in other.marks}
            alike = len(mine & theirs) >= 0.75 * len(mine | theirs)
            if alike and 0.6 <= one.support / other.support <= 1.7:
                if KIND_ORDER.index(kind_of(one.feature)) < KIND_ORDER.index(kind_of(other.feature)):
                    kept[place] = one
                break
        else:
            kept.append(one)
    return sorted(kept, key=lambda one: (-one.weight, one.feature))
