"""Examples of judging, from the histories of this installation: which of lettered options did this person like next?

What the person liked last is taken out of their history; everything that the prompt says comes from what lies before
it. The other options are what the retriever puts forward instead. Only histories that are in the home are seen: what is
to be measured on must not be imported.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.ask import Ask
from agent.history.store import Store
from agent.llm.scripted import NoModel
from agent.persona import naming, writing
from agent.persona.evidence import evidence
from agent.persona.tally import Tally, add
from agent.recommend.catalogue import line
from agent.recommend.recommender import Recommender
from agent.recommend.rerank import LETTERS, Letters, RerankConfig, lettered
from agent.training.examples import Example, Examples, mixed
from agent.types import Event, Profile, Query
from agent.wiring import Rapport

FEWEST_EVENTS = 8
OPTIONS = (6, len(LETTERS))
"""Fewest and most options of one question."""
PER_PERSON = 3
"""Questions about one person: about the last thing they liked, the one before it, and so on."""
CONTENT_FREE = 30
"""One question in so many has options that say nothing."""
HELD_SHARE = 10
"""One person in so many is held back."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known of a person just before they liked an item."""

    user: str
    before: tuple[Event, ...]
    liked: str
    later: frozenset[str]
    """What they came to like after it: no wrong answer."""


def examples(rapport: Rapport, count: int, held: int, seed: int) -> Examples:
    """`count` questions to train on and `held` about other people; fewer where there are not so many."""
    people = rapport.store.users()
    rng = random.Random(f"judging {seed}")
    rng.shuffle(people)
    kept = people[::HELD_SHARE]
    others = sorted(set(people) - set(kept))
    rng.shuffle(others)
    empty = count // CONTENT_FREE
    real = asked(rapport, others, count - empty, rng, seed)
    training = mixed([real, [content_free(one, rng) for one in real[:empty]]], seed)
    aside = asked(rapport, kept, held, rng, seed)
    return Examples(training, aside, aside)


def content_free(example: Example, rng: random.Random) -> Example:
    """The same question with options that say nothing. The reranker takes the answer to it for the model's leaning
    towards letters and divides by it, so each letter has to be as likely as the others."""
    options = lettered(["N/A"] * len(example.options))
    return replace(example, inputs={**example.inputs, "options": options}, answer=rng.choice(example.options))


def asked(rapport: Rapport, people: Sequence[str], count: int, rng: random.Random, seed: int) -> tuple[Example, ...]:
    found: list[Example] = []
    for user in people:
        if len(found) >= count:
            break
        for moment in moments(rapport.store, user):
            if example := question(rapport, moment, rng):
                found.append(example)
    return mixed([found[:count]], seed)


def moments(store: Store, user: str) -> list[Moment]:
    """The last few things that a person liked, each with the history before it."""
    events = store.events(user)
    if len(events) < FEWEST_EVENTS:
        return []
    met: dict[str, int] = {}
    for place, event in enumerate(events):
        met.setdefault(event.item, place)
    found = []
    later: set[str] = set()
    for place in range(len(events) - 1, FEWEST_EVENTS - 2, -1):
        event = events[place]
        # What was met before is no discovery, and its receipts would give the answer away.
        if met[event.item] == place and pleased(event):
            found.append(Moment(user, tuple(events[:place]), event.item, frozenset(later)))
        if pleased(event):
            later.add(event.item)
        if len(found) == PER_PERSON:
            break
    return found


def pleased(event: Event) -> bool:
    """Whether an event says that the person liked the item, as the recommender counts it."""
    return event.kind in ("like", "purchase", "play") or (
        event.kind in ("rating", "review") and (event.value or 0.0) >= 4.0
    )


def question(rapport: Rapport, moment: Moment, rng: random.Random) -> Example | None:
    """The question that the product would have asked then; None where there is too little to choose from."""
    recommender = rapport.recommender
    liked = rapport.store.item(moment.liked)
    if liked is None or not liked.title or recommender.retrieve is None:
        return None
    profile = profile_of(rapport, moment)
    query = Query(moment.user, n=10)
    candidates = recommender.retrieve(query, profile, moment.before)
    hard = [one.item for one in candidates if one.item.id not in {moment.liked, *moment.later}]
    size = min(rng.randint(*OPTIONS), len(hard) + 1)
    if size < OPTIONS[0]:
        return None
    shown = [*hard[: size - 1], liked]
    rng.shuffle(shown)
    config = RerankConfig()
    person = Letters(Ask(NoModel())).person(query, profile, recent(recommender, moment))
    options = lettered([line(item, config.item_chars) for item in shown])
    letters = tuple(LETTERS[:size])
    answer = letters[shown.index(liked)]
    return Example("rerank", {**person, "options": options}, answer, letters, "rerank", profile.language)


def recent(recommender: Recommender, moment: Moment) -> list[str]:
    return recommender.liked_lately(moment.before)


def profile_of(rapport: Rapport, moment: Moment) -> Profile:
    """The profile as of that moment, without a model and kept nowhere."""
    population, domain = rapport.background.population, rapport.domain
    items = rapport.store.items({event.item for event in moment.before})
    tally = add(Tally(), moment.before, items, population, {}, {}, 0)
    found = evidence(tally, population)
    titles = {id: item.title for id, item in items.items()}
    language = rapport.settings.language
    tags = naming.name(found, titles, Ask(NoModel()), language, domain).tags
    who = writing.portrait(tags, tally, items, domain, language)
    return Profile(moment.user, tags, writing.template(who), language=language, events=tally.events, as_of=tally.at)
