"""Are the guesses of a profile right? Made from the first half of a history, held against the other half.

The second half is known to the scorer alone. Beside them stand as many features of chance that the person has had as
little of, the same person's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.ask import Ask
from agent.errors import SetupError
from agent.features import Population, listed
from agent.llm.scripted import NoModel
from agent.persona import naming
from agent.persona.evidence import evidence
from agent.persona.profiler import LIKED, when
from agent.persona.tally import Tally, add
from agent.settings import load
from agent.types import Event, Item, Tag
from agent.wiring import Rapport, open_rapport
from eval.metrics import interval

FEWEST = 6
"""Events of somebody whose history is cut in two."""


@dataclass(frozen=True, slots=True)
class Later:
    """What a person did afterwards: each item's features, and how they liked it."""

    had: tuple[tuple[frozenset[str], float], ...]

    def liked(self, feature: str) -> bool:
        return any(preference > LIKED for features, preference in self.had if feature in features)

    def share(self, feature: str) -> float:
        return sum(feature in features for features, _ in self.had) / len(self.had)


def run(home: Path | None, users: int) -> dict[str, Any]:
    """Figures of `users` people of the home, evenly spread. Raises SetupError where nobody can be guessed about."""
    with open_rapport(settings=load(home=home, llm="none")) as rapport:
        people = rapport.store.users()
        people = people[:: max(1, len(people) // users)][:users]
        rows = [row for user in people for row in of_person(rapport, user)]
    if not rows:
        raise SetupError("no guess was made: `rapport import` and `rapport index` first, with histories of some length")
    mine, chance = ([row[name] for row in rows] for name in ("guess", "chance"))
    return {
        "people": len(people),
        "guesses": len(rows),
        "guess": figures(mine),
        "chance": figures(chance),
        "difference": asdict(interval([float(a[0]) - float(b[0]) for a, b in zip(mine, chance, strict=True)])),
    }


def of_person(rapport: Rapport, user: str) -> list[dict[str, tuple[bool, float, float]]]:
    """Of each guess, and of as many features of chance: was something of it liked, its share, everybody's share."""
    events = sorted(rapport.store.events(user), key=when)
    if len(events) < FEWEST:
        return []
    cut = len(events) // 2
    items = rapport.store.items({event.item for event in events})
    population = rapport.background.population
    tally, tags = known(rapport, events[:cut], items)
    guesses = [tag.feature for tag in rapport.profiler.guesses(tally, tags, rapport.settings.language)]
    others = unknown(tally, tags, population)
    chance = random.Random(user).sample(others, min(len(guesses), len(others)))
    after = later(events[cut:], items, population)
    if after is None:
        return []
    return [
        {
            name: (after.liked(feature), after.share(feature), population.share(feature))
            for name, feature in (("guess", one), ("chance", other))
        }
        for one, other in zip(guesses, chance, strict=False)
    ]


def known(rapport: Rapport, before: Sequence[Event], items: dict[str, Item]) -> tuple[Tally, tuple[Tag, ...]]:
    """What is counted and named of a person from `before`, without a model."""
    population = rapport.background.population
    tally = add(Tally(), before, items, population, {}, {}, 0)
    titles = {id: items[id].title for id in tally.marks if id in items}
    named = naming.name(evidence(tally, population), titles, Ask(NoModel()), rapport.settings.language, rapport.domain)
    return tally, named.tags


def unknown(tally: Tally, tags: Sequence[Tag], population: Population) -> list[str]:
    """Features that could have been guessed: no tag's, and hardly met."""
    taken = {tag.feature for tag in tags}
    most = naming.HARDLY * len(tally.marks)
    return sorted(
        feature
        for feature in population.listed
        if feature not in taken and (feature not in tally.features or tally.features[feature].met <= most)
    )


def later(after: Sequence[Event], items: dict[str, Item], population: Population) -> Later | None:
    """None where nothing of it is in the catalogue."""
    marks = add(Tally(), after, items, population, {}, {}, 0).marks
    had = tuple((frozenset(listed(items[id], population)), mark.preference) for id, mark in marks.items())
    return Later(had) if had else None


def figures(rows: Sequence[tuple[bool, float, float]]) -> dict[str, Any]:
    """Share of features of which something was liked later, with its interval; how often the person had them later,
    as a multiple of everybody."""
    liked, share, everybody = (np.array(column, float) for column in zip(*rows, strict=True))
    return {
        "liked_later": asdict(interval(liked)),
        "times_everybody": round(float(share.mean() / everybody.mean()), 2),
    }


def markdown(result: dict[str, Any]) -> str:
    """The table for people to read."""
    rows = [
        f"| {name} | {shown(one['liked_later'])} | {one['times_everybody']} |"
        for name, one in (("guessed", result["guess"]), ("of chance", result["chance"]))
    ]
    head = (
        f"| {result['guesses']} features of {result['people']} people | share liked later | times everybody's share |"
    )
    return "\n".join([head, "|---|---|---|", *rows, "", f"difference in the share: {shown(result['difference'])}"])


def shown(one: dict[str, float]) -> str:
    return f"{one['mean']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
