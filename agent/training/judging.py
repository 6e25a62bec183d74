"""Examples of judging, from the histories of this installation: will this person like that, and which of lettered
options did they like next?

What the person liked last is taken out of their history; everything that the prompt says comes from what lies before
it. The other options are what the retriever puts forward instead. Only histories that are in the home are seen: what is
to be measured on must not be imported.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agent.ask import Ask
from agent.history.store import Store
from agent.llm.scripted import NoModel
from agent.persona import naming, writing
from agent.persona.evidence import evidence
from agent.persona.tally import Tally, add
from agent.recommend.catalogue import line
from agent.recommend.recommender import Recommender, approved
from agent.recommend.rerank import (
    LETTERS,
    LIKING,
    Letters,
    Opinion,
    RerankConfig,
    Share,
    lettered,
    liking_inputs,
)
from agent.training.examples import Example, Examples, mixed
from agent.types import Event, Item, Profile, Query
from agent.wiring import Rapport

FEWEST_EVENTS = 8
OPTIONS = (6, len(LETTERS))
"""Fewest and most options of one question."""
PER_PERSON = 3
"""Questions about one person: about the last thing they liked, the one before it, and so on."""
CONTENT_FREE = 30
"""One question in so many has options that say nothing."""
LETTERED = 8
"""One question in so many is about lettered options, the others about one item alone."""
FEWEST_OPINIONS = 3
"""Opinions that a question about one item tells at least."""
DESCRIBED = 0.7
"""Share of questions about one item with more than its title, and of those with what others think of it."""
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
    lettered_ones = count // LETTERED
    empty = lettered_ones // CONTENT_FREE
    real = asked(rapport, others, lettered_ones - empty, rng, seed)
    alone = judged(rapport, others, count - lettered_ones, rng)
    training = mixed([real, [content_free(one, rng) for one in real[:empty]], alone], seed)
    lettered_held = held // LETTERED
    aside = mixed(
        [asked(rapport, kept, lettered_held, rng, seed), judged(rapport, kept, held - lettered_held, rng)], seed
    )
    return Examples(training, aside, aside)


def judged(rapport: Rapport, people: Sequence[str], count: int, rng: random.Random) -> list[Example]:
    """What people thought of something new, one question a person in turn, until there are `count`."""
    asking = [questions(rapport, user, rng) for user in people]
    found: list[Example] = []
    while asking and len(found) < count:
        taken = [(one, example) for one in asking if (example := next(one, None))]
        found += [example for _, example in taken]
        asking = [one for one, _ in taken]
    return found[:count]


def questions(rapport: Rapport, user: str, rng: random.Random) -> Iterator[Example]:
    """Whether one person liked this or that, in an order of chance, from their opinions before it."""
    said = [(event.item, liked) for event in rapport.store.events(user) if (liked := approved(event)) is not None]
    items = rapport.store.items(item for item, _ in said)
    opinions = [Opinion(items[id].title, liked) for id, liked in said if id in items]
    places = [at for at, (id, _) in enumerate(said) if at >= FEWEST_OPINIONS and id not in dict(said[:at])]
    config = rapport.recommender.rerank
    rng.shuffle(places)
    for at in places:
        id, liked = said[at]
        before = opinions[max(0, at - rng.randint(FEWEST_OPINIONS, config.lately)) : at]
        item = items[id] if rng.random() < DESCRIBED else Item(id, items[id].title)
        others = without(rapport.recommender.others(id), [one for one in said if one[0] == id])
        yield Example(
            "liking",
            liking_inputs(before[::-1], item, others if rng.random() < DESCRIBED else None, config=config),
            LIKING[not liked],
            LIKING,
            "liking",
        )


def without(others: Share | None, own: Sequence[tuple[str, bool]]) -> Share | None:
    """What everybody but one person thought of an item: their own opinion is what is asked for."""
    if others is None:
        return None
    return Share(others.liked - sum(liked for _, liked in own), others.said - len(own))


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
    """Whether an event says that the person took to the item: what is played is no opinion, but chosen."""
    return event.kind == "play" or approved(event) is True


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


def recent(recommender: Recommender, moment: Moment) -> list[Opinion]:
    return recommender.opinions(moment.before)


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
