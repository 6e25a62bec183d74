"""Some places of a list for what is not known yet: a guess about the person, or an item that hardly anybody had.

Thompson sampling: each guess is an arm with a Beta belief, moved by what the person did with what was shown for it.
Every such place knows with what probability it was given, so that other ways to choose can be judged afterwards.
Knows candidates, beliefs and a generator of numbers; no store and no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from agent.persona.tally import preference
from agent.recommend.retrieve import EXPLORE, UNDER_SHOWN, rescored
from agent.types import Arm, Candidate, Event, Profile, Slot

GRID = (np.arange(1000) + 0.5) / 1000
"""Where densities are evaluated."""


NEUTRAL = 3.5
"""Stars that most people give on average."""


class ExploreConfig(BaseModel, frozen=True, extra="forbid"):
    share: float = Field(default=0.5, ge=0, le=1)
    """Share of the places that are given away at surprise 1, as far as there is something to explore."""
    each: int = Field(default=5, ge=1)
    """Candidates of an arm that a place is drawn from, the first ones, all equally likely."""
    strength: float = Field(default=3.0, ge=0)
    """How many answers the first belief is worth."""
    under_shown: float = Field(default=0.2, ge=0, le=1)
    """First belief that an item which hardly anybody had is liked."""
    ignored: float = Field(default=0.2, ge=0, le=1)
    """What showing something without any answer counts as, where a dislike counts 1."""


def places(n: int, surprise: float, share: float) -> list[int]:
    """Which of the places 1 to `n` are for exploration: evenly spread, the k-th where k / place falls to the share."""
    part = surprise * share
    return [place for place in range(1, n + 1) if int(place * part + 1e-9) > int((place - 1) * part + 1e-9)]


def explored(
    shown: Sequence[Candidate],
    pool: Sequence[Candidate],
    slots: Sequence[int],
    beliefs: Sequence[Arm],
    config: ExploreConfig,
    random: np.random.Generator,
) -> tuple[list[Candidate], list[tuple[int, str, str, float, tuple[Arm, ...]]]]:
    """`shown` with candidates of `pool` put at the places `slots` (from 1), and what was put there.

    `beliefs`: arms without items. What is put in pushes the last ones out; nothing is shown twice. A place for which
    nothing is left stays as it was.
    """
    size, kept, given = len(shown), list(shown), list[tuple[int, str, str, float, tuple[Arm, ...]]]()
    by_id = {one.item.id: one for one in pool}
    for place in slots:
        taken = {one.item.id for one in kept[: place - 1]}
        arms = offers(beliefs, pool, taken | {item for _, item, *_ in given}, config.each)
        if not arms or place > size:
            break
        chosen = arms[int(np.argmax([random.beta(one.yes, one.no) for one in arms]))]
        item = chosen.items[int(random.integers(len(chosen.items)))]
        odds = dict(zip([one.name for one in arms], chances(arms), strict=True))
        chance = sum(odds[one.name] / len(one.items) for one in arms if item in one.items)
        kept = [one for one in kept if one.item.id != item]
        kept.insert(place - 1, by_id[item])
        given.append((place, item, chosen.name, float(chance), tuple(arms)))
    return rescored(kept[:size]), given


def offers(beliefs: Sequence[Arm], pool: Sequence[Candidate], taken: set[str], each: int) -> list[Arm]:
    """The arms that have something to show, each with its first items that are not `taken`."""
    found = []
    for arm in beliefs:
        votes = [(source.rank, one.item.id) for one in pool for source in one.sources if source.retriever == arm.name]
        items = tuple(id for _, id in sorted(votes) if id not in taken)[:each]
        if items:
            found.append(Arm(arm.name, arm.yes, arm.no, items))
    return found


def chances(arms: Sequence[Arm]) -> NDArray[np.float64]:
    """For each arm the probability that its draw is the highest: the integral of its density times the others' shares
    below it, by the midpoint rule. Its error is below a hundredth for beliefs of up to some hundred answers."""
    logs = np.array([(one.yes - 1) * np.log(GRID) + (one.no - 1) * np.log1p(-GRID) for one in arms])
    density = np.exp(logs - logs.max(axis=1, keepdims=True))
    density /= density.sum(axis=1, keepdims=True)
    below = np.cumsum(density, axis=1) - density / 2
    won = np.array([(density[at] * np.delete(below, at, axis=0).prod(axis=0)).sum() for at in range(len(arms))])
    return won / won.sum()


def believed(profile: Profile, log: Sequence[Slot], events: Sequence[Event], config: ExploreConfig) -> list[Arm]:
    """What there is to try with this person: each guess of the profile, and items that hardly anybody had.

    A guess starts at its weight; every slot of the `log` moves it by what the person did with its item. One after which
    they did nothing at all says nothing yet.
    """
    first = {f"{EXPLORE}{tag.name}": tag.weight for tag in profile.tags if tag.kind == "latent" and tag.polarity > 0}
    first[UNDER_SHOWN] = config.under_shown
    last = latest(events)
    answers = [(slot.arm, reaction(slot, events)) for slot in log if last is not None and slot.at <= last]
    return [
        Arm(
            name,
            1 + config.strength * prior + sum(1 for arm, answer in answers if arm == name and answer and answer > 0),
            1
            + config.strength * (1 - prior)
            + sum(config.ignored if answer is None else answer <= 0 for arm, answer in answers if arm == name),
        )
        for name, prior in first.items()
    ]


def unlogged(slots: Iterable[Slot], log: Iterable[Slot], events: Iterable[Event]) -> list[Slot]:
    """Those that were not given already since the person did something: the same list seen again is one try."""
    last = latest(events)
    given = {(one.place, one.item, one.arm) for one in log if last is None or one.at > last}
    return [one for one in slots if (one.place, one.item, one.arm) not in given]


def latest(events: Iterable[Event]) -> datetime | None:
    """When the person did something last, as far as that is known."""
    return max((one.at for one in events if one.at is not None), default=None)


def reaction(slot: Slot, events: Iterable[Event]) -> float | None:
    """What the person did with the item after it was shown: above 0 liked, else not; None where nothing."""
    later = [one for one in events if one.item == slot.item and one.at is not None and one.at >= slot.at]
    said = [amount for one in later if (amount := preference(one, NEUTRAL, 1.0, None))]
    return said[-1] if said else None
