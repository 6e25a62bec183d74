"""How much should everybody's histories count beside what is known of the person, by length of history?

Hides the last item of each history, counts and trains without it, asks with the rest, and keeps the weight under which
the hidden item ranks best. Histories are also cut short, because hardly any data set has people with three events.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agent import show
from agent.errors import SetupError
from agent.recommend.collaborative import Collaborative, CollaborativeConfig, Counts, taken, train
from agent.recommend.fusion import Fusion, Share
from agent.recommend.gate import BUCKETS
from agent.recommend.retrieve import Retrieve, RetrieveConfig, consumed, popularity
from agent.settings import load
from agent.types import Event, Query
from agent.wiring import Rapport, open_rapport
from eval import board_a
from eval.gate import hold_out, profile_of, without
from eval.metrics import Floats, interval, ndcg
from eval.movielens import FOLDER, board, earlier, read

WEIGHTS = (0.0, 2.0, 8.0, 16.0, 32.0, 64.0, 128.0, 512.0)
CUTS = (None, 12, 3)
"""Events that are left of a history; None = all of them."""
FOLDS = 5
"""What a chosen weight is worth is told on a fifth of the people, who had no part in the choice; five times."""
K = 10


@dataclass(frozen=True, slots=True)
class Split:
    """A history without its last item, and what was taken off."""

    shown: Sequence[Event]
    hidden: str
    dropped: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Case:
    """One history, and where its hidden item came; infinite where it is not in the list."""

    person: int
    items: int
    """In what was shown."""
    places: tuple[float, ...]
    """For each of WEIGHTS."""
    alone: float
    """By the collaborative list itself."""


def run(data: Path | None, home: Path | None, users: int) -> dict[str, Any]:
    """Fit on MovieLens under `data` (validation events; prints what is shipped as agent/recommend/fusion.json), or on
    an opened home (writes its fusion.json)."""
    if data is None:
        with open_rapport(settings=load(home=home, llm="none")) as rapport:
            events = rapport.store.count_events()
            found = fit(rapport, users, f"{events} events of the home", rapport.settings.interactions)
            rapport.settings.fusion_file.write_text(found.model_dump_json(indent=2) + "\n")
            return found.model_dump(mode="json")
    asked, _ = board(read(data / FOLDER))
    fitted, _ = earlier(asked)
    with tempfile.TemporaryDirectory(prefix="rapport-fusion-") as scratch:
        at, name = Path(scratch), "board A's validation events (MovieLens latest-small, test events left out)"
        with board_a.home(at / "home", data / FOLDER, fitted, asked, "had", at / "index") as rapport:
            return fit(rapport, users, name, "had").model_dump(mode="json")


def fit(rapport: Rapport, users: int, data: str, counts: Counts) -> Fusion:
    """The weights for the histories in `rapport`, on at most `users` people for each cut."""
    everybody = rapport.store.users()
    splits = {user: one for user in everybody if (one := split(rapport.store.events(user), counts)) is not None}
    others = train((taken(one.shown, "had") for one in splits.values()), 0, CollaborativeConfig(counts=counts))
    if others is None:
        raise SetupError("there are too few people to learn what goes together: nothing to weigh")
    dropped = [event for one in splits.values() for event in one.dropped]
    popular = popularity(without(rapport.store.popularity(), dropped))
    chosen = list(splits)[:: max(1, len(splits) // users)][:users]
    with show.progress(f"histories ({counts})") as progress:
        found = list(cases(rapport, {user: splits[user] for user in chosen}, others, popular, progress))
    return Fusion(
        data=f"{data}; {counts}, last item hidden, {len(chosen)} people, also cut to 12 and 3 events; ndcg@{K}",
        measured_at=datetime.now(UTC).replace(microsecond=0),
        shares=tuple(share(found, least, most) for least, most in BUCKETS),
    )


def split(events: Sequence[Event], counts: Counts) -> Split | None:
    """A history cut before its last item: the last one liked, or simply the last one had. `events`: oldest first."""
    if counts == "liked":
        held = hold_out(events)
        shown, hidden = (held.shown, held.hidden) if held else ((), "")
    else:
        hidden = events[-1].item if events else ""
        shown = tuple(one for one in events if one.item != hidden)
    known = {one.id for one in shown}
    return Split(shown, hidden, [one for one in events if one.id not in known]) if shown else None


def cases(
    rapport: Rapport,
    splits: Mapping[str, Split],
    others: Collaborative,
    popular: Sequence[str],
    progress: Callable[[int, int], None],
) -> Iterator[Case]:
    retrieve = rapport.recommender.retrieve
    if not isinstance(retrieve, Retrieve):
        raise SetupError("the weights are fitted beside the index: run `rapport index` first")
    asked = replace(retrieve, others=others, popular=popular)
    weighed = [replace(asked, share=constant(weight)) for weight in WEIGHTS]
    for person, (user, one) in enumerate(splits.items()):
        for at, cut in enumerate(CUTS):
            progress(person * len(CUTS) + at, len(splits) * len(CUTS))
            shown = one.shown[-cut:] if cut else one.shown
            found = asked.gathered(Query(user, K, surprise=0.0), profile_of(rapport, user, shown), shown)
            lists = [step.ranked(found)[: step.config.size] for step in weighed]
            yield Case(
                person,
                len(consumed(shown, RetrieveConfig().consumed)),
                tuple(place(ranked, one.hidden) for ranked in lists),
                place([id for id, _ in found.heard], one.hidden),
            )


def constant(weight: float) -> Callable[[int], float]:
    return lambda items: weight


def share(found: Iterable[Case], least: int, most: int | None) -> Share:
    """The best weight for histories of these lengths; of equals the smallest."""
    inside = [one for one in found if least <= one.items and (most is None or one.items <= most)]
    gains = ndcg(np.array([one.places for one in inside]).reshape(len(inside), len(WEIGHTS)), K)
    folds = np.array([one.person % FOLDS for one in inside], dtype=np.intp)
    elsewhere = [best(gains[folds != fold]) for fold in range(FOLDS)]
    told = gains[np.arange(len(inside)), [elsewhere[fold] for fold in folds]] if inside else np.zeros(0)
    more = interval(told - gains[:, 0])
    return Share(
        at_least=least,
        at_most=most,
        weight=WEIGHTS[best(gains)],
        ndcg=mean(told),
        without=mean(gains[:, 0]),
        low=round(more.low, 4),
        high=round(more.high, 4),
        alone=mean(ndcg([one.alone for one in inside], K)),
        cases=len(inside),
        curve=tuple((weight, mean(gains[:, at])) for at, weight in enumerate(WEIGHTS)),
    )


def best(gains: Floats) -> int:
    """Which of WEIGHTS ranks best on average; of equals the smallest, and 0 where nothing was measured."""
    return int(np.argmax(gains.mean(axis=0).round(6))) if len(gains) else 0


def place(ranked: Sequence[str], wanted: str) -> float:
    return ranked.index(wanted) + 1 if wanted in ranked else np.inf


def mean(values: Floats) -> float:
    return round(float(values.mean()), 4) if len(values) else 0.0
