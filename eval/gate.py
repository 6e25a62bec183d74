"""Does reranking by this model beat the retrieval order, and for histories of which length? Writes what the gate reads.

The hidden item is known to the scorer in this module alone: candidates and votes are computed from the history before
it, by callables that are handed nothing else.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from agent import show
from agent.ask import Ask, template_of
from agent.errors import SetupError
from agent.history.store import POSITIVE_STARS, ItemStats
from agent.labels import label
from agent.labels import shown as display
from agent.persona.evidence import evidence
from agent.persona.naming import tag_of
from agent.persona.tally import Tally, add
from agent.persona.writing import portrait, template
from agent.recommend.collaborative import CollaborativeConfig, taken, train
from agent.recommend.gate import BUCKETS, Bucket, Measurement, save
from agent.recommend.gate import load as load_gate
from agent.recommend.rerank import Each, ModelReranker, blend, choose_reranker, share_of
from agent.recommend.retrieve import Retrieve, popularity
from agent.settings import load
from agent.types import Candidate, Event, Profile, Query
from agent.wiring import Rapport, open_rapport
from eval.metrics import interval

Recommend = Callable[[str, Sequence[Event]], Sequence[Candidate]]
"""(user, history) -> candidates in retrieval order."""
Vote = Callable[[str, Sequence[Event], Sequence[Candidate]], Sequence[float]]
"""(user, history, the first candidates) -> the model's score of each, higher is better."""


class GateTask(BaseModel, frozen=True, extra="forbid"):
    k: int = Field(default=10, ge=1)
    """Depth of NDCG."""
    window: int = Field(default=20, ge=2)
    """Candidates that are reranked."""
    max_shift: int = Field(default=10, ge=0)
    weights: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7)
    """Weights tried on one half of the users; the best is reported on the other half."""
    draws: int = Field(default=2000, ge=100)
    """Bootstrap draws over users."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """A history cut in two: what the system may see, and what only the scorer sees."""

    shown: tuple[Event, ...]
    hidden: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One user, answered."""

    user: str
    events: int
    candidates: tuple[Candidate, ...]
    votes: tuple[float, ...]
    hidden: str


def measure(
    histories: Iterable[tuple[str, Sequence[Event]]],
    recommend_candidates: Recommend,
    vote: Vote,
    *,
    model: str,
    prompt: str,
    data: str,
    measured_at: datetime,
    task: GateTask | None = None,
) -> Measurement:
    """NDCG with the model's vote minus without, per length of history, on held-out last positive events.

    `histories`: (user, events oldest first). The weight of a bucket is chosen on one half of its users and reported on
    the other. Users whose hidden item is not among the candidates stay in the mean with a difference of 0.
    The callables must build whatever they need (a profile too) from the history they are handed, never from the store.
    """
    task = task or GateTask()
    trials = [
        trial
        for user, events in histories
        if (trial := run(user, events, recommend_candidates, vote, task)) is not None
    ]
    name = f"{data}; leave last positive out, ndcg@{task.k}[retrieval order, first {task.window} reranked]"
    buckets = tuple(bucket(trials, least, most, task) for least, most in BUCKETS)
    return Measurement(model=model, prompt=prompt, data=name, measured_at=measured_at, buckets=buckets)


def run(user: str, events: Sequence[Event], recommend: Recommend, vote: Vote, task: GateTask) -> Trial | None:
    """One user's trial; None when there is no positive event to hide."""
    held = hold_out(events)
    if held is None:
        return None
    candidates = tuple(recommend(user, held.shown))
    votes = tuple(vote(user, held.shown, candidates[: task.window])) if len(candidates) > 1 else ()
    return Trial(user, len(held.shown), candidates, votes, held.hidden)


def hold_out(events: Sequence[Event]) -> Held | None:
    """Hide the last positive event with an item not liked before, and all that came after it. `events`: oldest first.

    What is shown holds nothing about the hidden item: looking at a thing before buying it would give it away.
    """
    for place in range(len(events) - 1, -1, -1):
        event = events[place]
        if is_positive(event) and not any(one.item == event.item and is_positive(one) for one in events[:place]):
            return Held(tuple(one for one in events[:place] if one.item != event.item), event.item)
    return None


def is_positive(event: Event) -> bool:
    """The same events that count as positive in the store's popularity."""
    if event.kind in ("rating", "review"):
        return event.value is not None and event.value >= POSITIVE_STARS
    return event.kind in ("like", "purchase", "play")


def bucket(trials: Sequence[Trial], least: int, most: int | None, task: GateTask) -> Bucket:
    """Choose the weight on one half of the users with such histories, report it on the other."""
    inside = [one for one in trials if least <= one.events and (most is None or one.events <= most)]
    chosen_on, reported_on = halves(inside, task.seed)
    weight = max(task.weights, key=lambda one: (sum(differences(chosen_on, one, task)), -one))
    gain = interval(differences(reported_on, weight, task), task.draws, task.seed)
    return Bucket(
        at_least=least,
        at_most=most,
        weight=weight,
        delta=gain.mean,
        low=gain.low,
        high=gain.high,
        users=len(reported_on),
        reachable=sum(one.hidden in {c.item.id for c in one.candidates[: task.window]} for one in reported_on),
    )


def halves(trials: Sequence[Trial], seed: int) -> tuple[list[Trial], list[Trial]]:
    """Two halves by a hash of the user, so that neither order nor growth of the data moves anybody across."""
    sides: tuple[list[Trial], list[Trial]] = ([], [])
    for one in trials:
        sides[hashlib.blake2b(f"{seed}:{one.user}".encode("utf-8", "surrogatepass")).digest()[0] % 2].append(one)
    return sides


def differences(trials: Sequence[Trial], weight: float, task: GateTask) -> list[float]:
    """Per user NDCG@k of the blended order minus that of the retrieval order."""
    return [
        gain(blend(one.candidates, one.votes, weight, task.max_shift), one.hidden, task.k)
        - gain(one.candidates, one.hidden, task.k)
        for one in trials
    ]


def gain(ranked: Sequence[Candidate], hidden: str, k: int) -> float:
    """NDCG@k with one relevant item: 1 / log2(rank + 1) when it is among the first k, else 0."""
    ranks = (rank for rank, one in enumerate(ranked[:k], 1) if one.item.id == hidden)
    return next((1 / math.log2(rank + 1) for rank in ranks), 0.0)


def run_on_home(home: Path | None, llm: str | None, users: int, *, each: bool = False) -> dict[str, Any]:
    """Measure the model of an opened home on `users` of its people, and write the home's gate file.

    `each`: the model is asked yes or no of each candidate, instead of as its kind is asked unless told otherwise.
    """
    with open_rapport(settings=load(home=home, llm=llm)) as rapport, show.progress("people") as progress:
        retrieve, stats = unknowing(rapport)
        ask = Ask(rapport.llm, rapport.store.log_call)
        reranker = Each(ask, others=partial(share_of, stats)) if each else choose_reranker(ask)
        if not isinstance(reranker, ModelReranker):
            raise SetupError("there is no model to measure: name one with --llm")
        everybody = rapport.store.users()
        chosen = everybody[:: max(1, len(everybody) // users)][:users]

        def histories() -> Iterator[tuple[str, Sequence[Event]]]:
            for done, user in enumerate(chosen):
                progress(done, len(chosen))
                yield user, rapport.store.events(user)

        def candidates(user: str, shown: Sequence[Event]) -> Sequence[Candidate]:
            return retrieve(Query(user, task.window), profile_of(rapport, user, shown), shown)

        def vote(user: str, shown: Sequence[Event], window: Sequence[Candidate]) -> Sequence[float]:
            profile = profile_of(rapport, user, shown)
            return reranker.vote(Query(user, task.window), profile, window, rapport.recommender.opinions(shown)).scores

        task = GateTask()
        asked = "liking" if each else "rerank-order" if rapport.llm.capable else "rerank"
        prompt = template_of(asked, rapport.settings.language)
        measured = measure(
            histories(),
            candidates,
            vote,
            model=rapport.llm.name,
            prompt=prompt.id,
            data=f"{rapport.store.count_events()} events of {len(everybody)} people, {len(chosen)} of them measured",
            measured_at=datetime.now(UTC),
            task=task,
        )
        path = rapport.settings.gate_file
        save(load_gate(path).with_measurement(measured), path)
        return {"written": str(path), **measured.model_dump(mode="json")}


def unknowing(rapport: Rapport) -> tuple[Retrieve, Mapping[str, ItemStats]]:
    """Retrieval, and how items did with everybody, as they would be, had nobody's hidden event happened, nor what came
    after it: what is learned from everybody's histories would know the item otherwise."""
    retrieve = rapport.recommender.retrieve
    if not isinstance(retrieve, Retrieve):
        raise SetupError("the gate is measured on the index: run `rapport index` first")
    shown, hidden = list[Sequence[Event]](), list[Event]()
    for user in rapport.store.users():
        events = rapport.store.events(user)
        held = hold_out(events)
        shown.append(held.shown if held else events)
        known = {one.id for one in shown[-1]}
        hidden += [one for one in events if one.id not in known]
    config = CollaborativeConfig(counts=rapport.settings.interactions)
    others = train((taken(one, "had") for one in shown), 0, config) if retrieve.others else None
    stats = without(rapport.store.popularity(), hidden)
    return replace(retrieve, others=others, popular=popularity(stats)), stats


def without(stats: Mapping[str, ItemStats], dropped: Sequence[Event]) -> dict[str, ItemStats]:
    """How items did with everybody, had `dropped` not happened."""
    events = Counter(one.item for one in dropped)
    positive = Counter(one.item for one in dropped if is_positive(one))
    left = {
        id: replace(one, events=one.events - events[id], positive=one.positive - positive[id])
        for id, one in stats.items()
    }
    return {id: one for id, one in left.items() if one.events > 0}


def profile_of(rapport: Rapport, user: str, shown: Sequence[Event]) -> Profile:
    """A profile from the shown events alone, with a template persona; nothing of it is kept."""
    items, population = rapport.store.items({event.item for event in shown}), rapport.background.population
    tally = tally_of(rapport, shown)
    tags = tuple(tag_of(one, display(label(one.feature))) for one in evidence(tally, population))
    who = portrait(tags, tally, items, rapport.domain, "en")
    return Profile(user, tags, template(who), events=len(shown), as_of=tally.at)


def tally_of(rapport: Rapport, shown: Sequence[Event]) -> Tally:
    """What is counted about somebody of whom these events are known."""
    items = rapport.store.items({event.item for event in shown})
    return add(Tally(), shown, items, rapport.background.population, {}, {}, 0)
