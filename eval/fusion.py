"""How much should everybody's histories count beside what is known of the person, by length of history?

Hides the last item of each history, trains and asks with the rest, and keeps the weight under which the hidden one
ranks best. Histories are also cut short, because hardly any data set has people with three events.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agent import show
from agent.errors import SetupError
from agent.recommend.collaborative import Collaborative, CollaborativeConfig, taken, train
from agent.recommend.fusion import Fusion, Share
from agent.recommend.gate import BUCKETS
from agent.recommend.retrieve import Retrieve, RetrieveConfig, consumed
from agent.settings import load
from agent.types import Event, Query
from agent.wiring import Rapport, open_rapport
from eval import board_a
from eval.gate import hold_out, profile_of
from eval.metrics import ndcg
from eval.movielens import FOLDER, board, earlier, read

WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
CUTS = (None, 12, 3)
"""Events that are left of a history; None = all of them."""
K = 10
DEPTH = 300
"""Candidates from content that are blended."""


@dataclass(frozen=True, slots=True)
class Case:
    """One history, asked both ways, and what was hidden from both."""

    items: int
    content: Mapping[str, float]
    """id -> score of reciprocal-rank fusion without the collaborative list."""
    others: Sequence[str]
    """The collaborative list, best first."""
    hidden: str


def run(data: Path | None, home: Path | None, users: int) -> dict[str, Any]:
    """Fit on MovieLens under `data` (validation events; prints), or on an opened home (writes its fusion.json)."""
    if data is None:
        with open_rapport(settings=load(home=home, llm="none")) as rapport:
            found = fit(rapport, users, f"{rapport.store.count_events()} events of the home")
            rapport.settings.fusion_file.write_text(found.model_dump_json(indent=2) + "\n")
            return found.model_dump(mode="json")
    asked, _ = board(read(data / FOLDER))
    fitted, _ = earlier(asked)
    with tempfile.TemporaryDirectory(prefix="rapport-fusion-") as scratch:
        at = Path(scratch)
        with board_a.home(at / "home", data / FOLDER, fitted, asked, "liked", at / "index") as rapport:
            return fit(rapport, users, "board A's validation events").model_dump(mode="json")


def fit(rapport: Rapport, users: int, data: str) -> Fusion:
    """The weights for the histories in `rapport`, on at most `users` people for each cut."""
    everybody = rapport.store.users()
    counts = rapport.settings.interactions
    split = {user: one for user in everybody if (one := hidden(rapport.store.events(user), counts)) is not None}
    others = train((taken(shown, counts) for shown, _ in split.values()), 0, CollaborativeConfig(counts=counts))
    if others is None:
        raise SetupError("there are too few people to learn what goes together: nothing to weigh")
    chosen = list(split)[:: max(1, len(split) // users)][:users]
    with show.progress("histories") as progress:
        found = list(cases(rapport, {user: split[user] for user in chosen}, others, progress))
    return Fusion(
        data=f"{data}; {counts}, last item hidden, {len(chosen)} people, also cut to 12 and 3 events; ndcg@{K}",
        measured_at=datetime.now(UTC),
        shares=tuple(share(found, least, most) for least, most in BUCKETS),
    )


def hidden(events: Sequence[Event], counts: str) -> tuple[tuple[Event, ...], str] | None:
    """A history without its last item, and that item: the last one liked, or simply the last one had."""
    if counts == "liked":
        held = hold_out(events)
        return (held.shown, held.hidden) if held else None
    last = events[-1].item if events else ""
    shown = tuple(one for one in events if one.item != last)
    return (shown, last) if shown else None


def cases(
    rapport: Rapport,
    split: Mapping[str, tuple[Sequence[Event], str]],
    others: Collaborative,
    progress: Any,
) -> Iterator[Case]:
    retrieve = rapport.recommender.retrieve
    if not isinstance(retrieve, Retrieve):
        raise SetupError("the weights are fitted beside the index: run `rapport index` first")
    content = replace(retrieve, others=None, config=RetrieveConfig(size=DEPTH))
    done = 0
    for user, (whole, wanted) in split.items():
        for cut in CUTS:
            progress(done := done + 1, len(split) * len(CUTS))
            shown = whole[-cut:] if cut else whole
            query, had = Query(user, K, surprise=0.0), consumed(shown, content.config.consumed)
            found = content(query, profile_of(rapport, user, shown), shown)
            ranked = [id for id, _ in others(shown).ranked() if id not in had]
            yield Case(
                len(had), {one.item.id: one.score for one in found}, ranked[: content.config.others_depth], wanted
            )


def share(found: Iterable[Case], least: int, most: int | None) -> Share:
    """The best weight for histories of these lengths; of equals the smallest."""
    inside = [one for one in found if least <= one.items and (most is None or one.items <= most)]
    gains = {weight: gain(inside, weight) for weight in WEIGHTS}
    best = max(gains, key=lambda weight: (round(gains[weight], 6), -weight))
    return Share(
        at_least=least,
        at_most=most,
        weight=best,
        ndcg=round(gains[best], 4),
        without=round(gains[0.0], 4),
        alone=round(mean([place(one.others, one.hidden) for one in inside]), 4),
        cases=len(inside),
    )


def gain(found: Sequence[Case], weight: float) -> float:
    """Mean NDCG@K of the blended lists."""
    return mean([place(blended(one, weight), one.hidden) for one in found])


def blended(one: Case, weight: float, damping: int = RetrieveConfig().damping) -> list[str]:
    """Ids by the sum of both votes, as reciprocal-rank fusion adds them; ties by id."""
    scores = dict(one.content)
    for rank, id in enumerate(one.others, 1):
        if weight:
            scores[id] = scores.get(id, 0.0) + weight / (damping + rank)
    return sorted(scores, key=lambda id: (-scores[id], id))


def place(ranked: Sequence[str], wanted: str) -> float:
    return ranked.index(wanted) + 1 if wanted in ranked else np.inf


def mean(ranks: Sequence[float]) -> float:
    return float(ndcg(ranks, K).mean()) if ranks else 0.0
