"""Board H: how is a model best asked to rerank? The formats of agent/recommend/rerank.py on one set of candidates.

The candidates are the 20 films that the linear blend of board A ranks first: its order is the baseline, its recall at
20 the ceiling. A case holds a profile of the earlier ratings, and candidates; not the film rated next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from agent.ask import Ask
from agent.features import Population, survey
from agent.labels import label, shown
from agent.persona.evidence import evidence
from agent.persona.naming import tag_of
from agent.persona.tally import Tally, add
from agent.persona.writing import portrait, template
from agent.recommend.rerank import Each, Letters, ModelReranker, Opinion, RerankConfig, Share, Structured
from agent.types import Candidate, Event, Item, Profile, Query
from eval import baselines
from eval.board import Answered, Board, Case, Labels, Part, System
from eval.compare import Measure
from eval.metrics import mrr, ndcg
from eval.movielens import FOLDER, Rating, board, earlier, films, read

WINDOW, FEW = 20, 100
LIKED = 4.0
LENGTHS = ((0, 50), (51, 100), (101, 200), (201, 10**9))


@dataclass(frozen=True, slots=True)
class Choice:
    """What a system sees of a case."""

    profile: Profile
    candidates: tuple[Candidate, ...]
    recent: tuple[Opinion, ...]
    """What was thought of the films rated last, newest first."""
    others: Mapping[str, Share]
    """What other people thought of the candidates."""


def retrieved(choices: Sequence[Choice]) -> list[list[str]]:
    return [[one.item.id for one in choice.candidates] for choice in choices]


def backwards(choices: Sequence[Choice]) -> list[list[str]]:
    return [order[::-1] for order in retrieved(choices)]


def shuffled(seed: int, choices: Sequence[Choice]) -> list[list[str]]:
    chance = np.random.default_rng(seed)
    return [chance.permutation(order).tolist() for order in retrieved(choices)]


def reranked(make: Callable[[Ask, Choice], ModelReranker], choice: Choice, ask: Ask) -> Answered:
    """The model's order alone; what it left out or invented is filled in retrieval order, and counted."""
    query = Query(choice.profile.user, WINDOW)
    vote = make(ask, choice).vote(query, choice.profile, choice.candidates, choice.recent)
    ids = [one.item.id for one in choice.candidates]
    order = sorted(range(len(vote.scores)), key=lambda at: (-vote.scores[at], at))
    spent = vote.provenance
    return Answered(
        [ids[at] for at in order] + ids[len(vote.scores) :],
        spent.prompts,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        invalid=("repaired",) * bool(vote.repairs),
    )


def letters(orders: int, ask: Ask, choice: Choice) -> ModelReranker:
    return Letters(ask, config=RerankConfig(orders=orders))


def each(ask: Ask, choice: Choice) -> ModelReranker:
    return Each(ask, others=choice.others.get)


def written(ask: Ask, choice: Choice) -> ModelReranker:
    return Structured(ask)


def load(data: Path) -> list[Part]:
    folder = data / FOLDER
    rows = read(folder)
    asked, labels = board(rows)
    fitted, _ = earlier(asked)
    catalogue = films(folder)
    population = survey(
        (catalogue[id] for id in asked.movies), Counter(one.movie for seen in asked.histories.values() for one in seen)
    )
    others = shares(one for seen in asked.histories.values() for one in seen)
    scores = baselines.matrices(fitted, asked)[baselines.BLEND]
    cases = []
    for (user, seen), row, own in zip(asked.histories.items(), scores, baselines.places(asked), strict=True):
        row[own] = -np.inf
        best = np.argsort(-row, kind="stable")[:WINDOW]
        found = tuple(Candidate(catalogue[asked.movies[at]], float(-place)) for place, at in enumerate(best))
        cases.append(Case(user, choice(user, seen, found, catalogue, population, others), slices=slices(len(seen))))
    right = {user: one.movie for user, one in labels.next.items()}
    inside = sum(right[case.id] in {one.item.id for one in case.shown.candidates} for case in cases)
    return [
        Part(
            "first 20 of the blend",
            tuple(cases),
            Labels(right),
            SYSTEMS,
            MEASURES,
            {"people": (len(cases), 610), "films": (len(asked.movies), 3650), "ratings": (len(rows), 90274)},
            tolerance=0.002,
            few=FEW,
            notes=(f"ceiling: the film rated next is among the 20 for {inside} of {len(cases)} people",),
        )
    ]


def choice(
    user: str,
    seen: Sequence[Rating],
    candidates: tuple[Candidate, ...],
    catalogue: Mapping[str, Item],
    population: Population,
    others: Mapping[str, Share],
) -> Choice:
    events = [Event(at, user, one.movie, "rating", one.stars, at=one.at) for at, one in enumerate(seen, 1)]
    items = {one.movie: catalogue[one.movie] for one in seen}
    tally = add(Tally(), events, items, population, {}, {}, len(events))
    tags = tuple(tag_of(one, shown(label(one.feature))) for one in evidence(tally, population))
    persona = template(portrait(tags, tally, items, "film", "en"))
    profile = Profile(user, tags, persona, events=len(events), as_of=tally.at)
    said = [Opinion(catalogue[one.movie].title, one.stars >= LIKED) for one in reversed(seen)]
    return Choice(profile, candidates, tuple(said), {one.item.id: others[one.item.id] for one in candidates})


def shares(rows: Iterable[Rating]) -> dict[str, Share]:
    """What people thought of each film. Nobody's candidates are films that they rated themselves."""
    rows = list(rows)
    said, liked = Counter(one.movie for one in rows), Counter(one.movie for one in rows if one.stars >= LIKED)
    return {film: Share(liked[film], count) for film, count in said.items()}


def slices(length: int) -> tuple[tuple[str, str], ...]:
    names = ("up to 50", "51-100", "101-200", "from 201")
    return (
        ("ratings before", next(n for n, (low, high) in zip(names, LENGTHS, strict=True) if low <= length <= high)),
    )


def place(order: Sequence[str], right: str) -> float:
    return order.index(right) + 1.0 if right in order else np.inf


SYSTEMS = (
    System("the blend's order", "baseline", retrieved, expected={"NDCG@10[blend top 20]": 0.0844}),
    System("the blend's order, backwards", "baseline", backwards),
    System("shuffled, seed 0", "baseline", partial(shuffled, 0)),
    System("letters, 2 orders", "rapport", one=partial(reranked, partial(letters, 2))),
    System("letters, 4 orders", "rapport", one=partial(reranked, partial(letters, 4))),
    System("yes or no of each", "rapport", one=partial(reranked, each)),
    System("an order written under a grammar", "rapport", one=partial(reranked, written)),
)
MEASURES = (
    Measure("NDCG@10[blend top 20]", lambda order, right: (float(ndcg([place(order, right)], 10)[0]),)),
    Measure("MRR@10[blend top 20]", lambda order, right: (float(mrr([place(order, right)], 10)[0]),)),
    # Where it is among the candidates, which is all that an order can change.
    Measure(
        "NDCG@10 where it is there",
        lambda order, right: (float(ndcg([place(order, right)], 10)[0]) if right in order else np.nan,),
    ),
)
BOARD = Board(
    "board-h",
    1,
    "H. How to ask a model for an order",
    "first 20 of the blend, the model's order alone, nothing blended; full retrieval before it",
    (f"{FOLDER}/movies.csv", f"{FOLDER}/ratings.csv"),
    load,
)
