"""Candidates for a person: several questions to the index, what goes together in everybody's histories, and a
popularity list, fused; the seen and disliked go out.

Knows the index, the catalogue and a profile; knows no model that chats. Its cost does not depend on how many people
there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import filterfalse, islice
from typing import Protocol

import numpy as np
from pydantic import BaseModel, Field

from agent.errors import StoreBusy, StoreError
from agent.features import Described, Population, value_of
from agent.persona.tally import preference
from agent.recommend.catalogue import filters, matches
from agent.recommend.fuse import Ballot, Votes
from agent.types import Candidate, Condition, Event, EventKind, Item, Profile, Query, Source, Tag
from vectorstore.base import Embedder, Filter, Vectors, VectorStore, VectorStoreBusy, VectorStoreError

Items = Callable[[Sequence[str]], Mapping[str, Item]]
ENOUGH_EVENTS = 5.0
EXPLORE = "explore:"
"""Begins the name of a guess about the person, as a retriever and as an arm of exploration."""
UNDER_SHOWN = "under-shown"
"""The retriever of items close to the person's likes that hardly anybody had."""
KNOWN_HALF = 2
"""An item counts as under-shown outside the first 1/KNOWN_HALF of the popularity list."""
POPULAR = "popular"
"""What the votes of popularity are called; "popular:<name>" is among the items that have an interest of that name."""
COLLABORATIVE = "collaborative"
"""What the votes of everybody's histories are called; "collaborative:<id>" names the own item they rest on most."""
ALONGSIDE = "alongside"
"""What everybody's histories say beside an item that was asked for; "alongside:<id>" names it."""
OTHERS_SCAN = 2000
"""How far down the collaborative list is looked for items that match a filter."""
LIKED = 0.4
"""From this preference on (see persona.tally) an item counts as liked, and from its negative on as disliked."""


class RetrieveConfig(BaseModel, frozen=True, extra="forbid"):
    size: int = Field(default=100, ge=1)
    """Candidates returned at most; a query for more gets more."""
    depth: int = Field(default=150, ge=1)
    """Hits per question, fewer in a small catalogue. MovieLens: recall@20 .110, .110, .127 at 60, 150, 300."""
    damping: int = Field(default=60, ge=1)
    """k of reciprocal-rank fusion."""
    tags: float = 1.0
    """Weight of all interest tags together; they share it by their own weight."""
    most_tags: int = Field(default=8, ge=0)
    recent: float = 1.0
    """Weight of all recently liked items together."""
    most_recent: int = Field(default=10, ge=0)
    decay: float = Field(default=0.85, gt=0, le=1)
    """What a liked item's weight is multiplied by for each one liked after it."""
    persona: float = 0.4
    taste: float = 0.5
    """Weight of the features that an item shares with likes and dislikes. 0.5 costs nothing on MovieLens, 1 does."""
    words: float = 4.0
    """Weight of the request's own words: more than all that is known about the person together."""
    alongside: float = 16.0
    """Weight, all together, of what goes together in everybody's histories with the items that the answer should be
    close to: by "like X" people mean what others like who like X, more than a story that sounds the same. ReDial, 50
    dialogues: recall@50 .169, .181, .194, .206 at 0, 4, 8, 16."""
    popular: float = 1.0
    """Weight of popularity among what the questions found; up to three times that for a person with hardly any history.

    Close in meaning is not yet good. Measured on 300 MovieLens users, last liked film hidden: NDCG@10 .037 and
    recall@100 .23 at weight 1 and depth 150, about .02 and .07 without; with three events known it is better tripled.
    """
    beside_words: float = 1.0
    """Most that the collaborative list weighs when somebody says what they want: that comes first. Where they name
    titles and hardly more is known of them it weighs what it always does."""
    others_depth: int = Field(default=100, ge=1)
    """Places of the collaborative list that vote."""
    stranger: float = Field(default=0.4, ge=0, le=1)
    """Above this strangeness, 3 / (3 + items had), the head of the popularity list is proposed as well, and that of
    each stated interest: below 5 items.

    For everybody it would raise NDCG@10 to .051, by films that no taste of the person speaks for; we do without.
    """
    known: float = 1.0
    """Weight, all together, of the popular items that have what somebody says they like, while they are hardly known.
    189 people without events, three genres named: recall@100 .20 at 0 and 1, .22 at 2, NDCG@10 .0185, .0181, .0165."""
    explore: float = 1.0
    """Weight of all latent tags together at surprise 1."""
    most_latent: int = Field(default=4, ge=0)
    proposed: int = Field(default=15, ge=0)
    """Candidates that each guess, and what is under-shown, have among those returned, beyond `size`."""
    aversion: float = Field(default=0.8, ge=0, le=1)
    """How much of its score an item loses for a feature in an aversion of weight 1.

    An aversion that was only observed takes nothing from what everybody's histories say: people do have what their
    other likes lead to. What that cost on validation is in docs/measured.md."""
    near_duplicate: float = Field(default=0.97, ge=0, le=1)
    """Cosine similarity to a disliked item from which on an item goes out as well."""
    most_disliked: int = Field(default=50, ge=0)
    """Disliked items, newest first, whose near-duplicates are looked for."""
    consumed: frozenset[EventKind] = frozenset({"purchase", "play", "rating", "review", "like", "dislike", "skip"})
    """Events after which an item is not recommended again. To look at something is not to have it."""


class Stats(Protocol):
    """How an item did with everybody."""

    @property
    def events(self) -> int: ...

    @property
    def positive(self) -> int: ...


class Voice(Protocol):
    """What everybody's histories say to one person."""

    def ranked(self) -> Iterable[tuple[str, float]]:
        """(id, score), best first."""
        ...

    def loudest(self, ids: Sequence[str], *among: Container[str]) -> Mapping[str, str]:
        """For each of `ids` the item of the person's own history that speaks for it most, of the first of `among` that
        holds one which does; what none of them speaks for is left out."""
        ...


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to the index; `retriever` is what its votes are called."""

    retriever: str
    weight: float
    text: str = ""
    item: str = ""
    """The stored vector of this item is the question; else `text` is."""


Opinions = Sequence[tuple[Event, float]]
"""The last word on each item and how much it was liked (-1 to 1), newest first: see `opinions`."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Every list that has a say in one answer, before they are weighed against each other."""

    query: Query
    profile: Profile
    said: Opinions
    had: int
    """Items that the person has had, or wants the like of."""
    votes: Votes
    """Of what is known of the person, the request's words, and popularity."""
    voice: Voice | None
    heard: Sequence[tuple[str, float]]
    """(id, score) of what everybody's histories propose, best first."""
    proposed: Sequence[str] = ()
    """What exploration may try."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """What the lists of one answer add up to."""

    scores: Mapping[str, float]
    """Best first."""
    items: Mapping[str, Item]
    votes: Votes


@dataclass(frozen=True)
class Popular:
    """What everybody likes: the answer for a new person, and for everybody while the index is down."""

    items: Items
    ids: Sequence[str]
    """Best first, as popularity() gives them."""
    config: RetrieveConfig = field(default_factory=RetrieveConfig)
    scan: int = 2000
    """How far down the list is looked for items that match a filter."""

    def __call__(self, query: Query, profile: Profile, events: Sequence[Event]) -> list[Candidate]:
        """The first items of the list that this person has not had and that match the filters."""
        found = islice(self.unseen(query, events), max(self.config.depth, query.n))
        return [Candidate(item, 1 / rank, (Source(POPULAR, rank, 1 / rank),)) for rank, item in enumerate(found, 1)]

    def unseen(self, query: Query, events: Sequence[Event]) -> Iterator[Item]:
        """The same as items, and those after them."""
        seen = consumed(events, self.config.consumed) | {*query.without, *query.like}
        # A person with a long history has seen most of the head of the list: look that much further.
        for start in range(0, min(len(self.ids), self.scan + len(seen)), 200):
            chunk = [id for id in self.ids[start : start + 200] if id not in seen]
            items = self.items(chunk)
            yield from (one for id in chunk if (one := items.get(id)) and one.title and fits(one, query.where))


@dataclass(frozen=True)
class Retrieve:
    """The first step of a recommendation.

    Every recently liked item is a question of its own rather than a cluster's mean: a mean of two tastes is nobody's
    taste, the stored vectors cost no embedding, one batched search answers them all, and each vote then names the
    very item that it rests on, which is what a reason needs.
    """

    index: VectorStore
    embedder: Embedder
    items: Items
    popular: Sequence[str]
    config: RetrieveConfig = field(default_factory=RetrieveConfig)
    population: Population = field(default_factory=Population)
    """What decides which prices and languages count as features."""
    crowd: float = 1.0
    """How far the popularity list is to be believed, 0 to 1: see `crowd_size`."""
    others: Callable[[Sequence[Event]], Voice] | None = None
    """What goes together in everybody's histories; None while that is not trained."""
    share: Callable[[int], float] = lambda items: 1.0
    """Items had -> the weight of the collaborative list."""

    def __call__(self, query: Query, profile: Profile, events: Sequence[Event]) -> list[Candidate]:
        """Candidates, best first, none of them had already. Raises StoreError when the index fails."""
        return self.weighed(self.gathered(query, profile, events))

    def gathered(self, query: Query, profile: Profile, events: Sequence[Event]) -> Gathered:
        """Every list that has a say. Raises StoreError when the index fails."""
        config, where = self.config, filters(query.where)
        had = consumed(events, config.consumed)
        seen = had | {*query.without, *query.like}
        stated = [tag for tag in strongest(profile.tags, 1, latent=False) if tag.kind == "stated"]
        counted, asking = [tag for tag in stated if tag.feature], bool(query.words.strip() or query.like)
        # Who says what they want is not a stranger, however short their history; but a genre has a popular head, too.
        strange = 0.0 if asking or len(counted) < len(stated) else 3 / (3 + len(had))
        begun = len(had | set(query.like))
        if query.like and self.others:
            # Titles are a beginning of a history: with one or two of them what most people like says something, too,
            # where there are people enough to learn from.
            strange = 3 / (3 + begun)
        said = opinions(events)
        with index_errors():
            # In a small catalogue a deep list would hold everything, and a vote for everything says nothing.
            depth = max(2 * query.n, min(config.depth, self.index.count() // 10))
            ballots = self._ask(self._probes(query, profile, said), where, seen, depth)
            head = list[Candidate]()
            if not ballots or strange > config.stranger:
                head = Popular(self.items, self.popular, config)(query, profile, events)
            if not ballots and len(head) < query.n:
                near = [Probe("near-popular", 1.0, item=id) for id in self.popular[:5]]
                ballots = self._ask(near, where, seen, depth)
        ballots = [*ballots, *self._alongside(query, seen)]
        if counted and not asking and 3 / (3 + len(had)) > config.stranger:
            ballots += self._known_for(counted, query, events)
        exploring = [one for one in ballots if one.retriever.startswith(EXPLORE)]
        others = [one for one in ballots if not one.retriever.startswith(EXPLORE)]
        close = Votes([one for one in others if one.weight > 0], config.damping)
        votes = close.plus(*exploring, *(one for one in others if one.weight <= 0))
        popular = self._popular_ballot(votes.ids, head, config.popular * (self.crowd + 2 * strange))
        if query.surprise and not (query.words or query.like):
            exploring.append(under_shown := self._under_shown(close))
            votes = votes.plus(under_shown, popular)
        else:
            votes = votes.plus(popular)
        proposed = [id for one in exploring for id, _ in one.hits[: config.proposed]]
        told = [*events, *asked_after(query, events)] if self._hardly_known(begun) else events
        voice = self.others(told) if self.others and self.crowd else None
        heard = self._heard(voice, query.where, seen) if voice else []
        return Gathered(query, profile, said, begun, votes, voice, heard, proposed)

    def weighed(self, found: Gathered) -> list[Candidate]:
        """What the lists add up to, best first. Raises StoreError when the index fails."""
        ordered, wanted, tried = self._ordered(found), max(self.config.size, found.query.n), set(found.proposed)
        ids = list(ordered.scores)
        told = [*ids[:wanted], *(id for id in ids[wanted:] if id in tried)]
        candidates = [
            Candidate(ordered.items[id], ordered.scores[id], sources)
            for id, sources in zip(told, ordered.votes.sources(told), strict=True)
        ]
        return named(candidates, found.voice, found.said) if found.voice else candidates

    def ranked(self, found: Gathered) -> list[str]:
        """The ids of `weighed` and those after them, without what each rests on. Raises StoreError."""
        return list(self._ordered(found).scores)

    def _ordered(self, found: Gathered) -> Ordered:
        config, query, profile = self.config, found.query, found.profile
        wanted = max(config.size, query.n)
        collaborative = self._collaborative(found)
        votes, others = found.votes.plus(*collaborative), Votes(collaborative, config.damping)
        leading = votes.leading(4 * wanted)
        items = self.items(list(dict.fromkeys([*leading, *found.proposed])))
        known = {id: items[id] for id in leading if id in items}
        votes = votes.plus(Ballot("taste", config.taste, self._tasted(known, profile)))
        best = votes.leading(2 * wanted, among=items)
        proposed = dict.fromkeys(id for id in found.proposed if id in items)
        best = list(dict.fromkeys([*best, *proposed]))
        with index_errors():
            unwanted = self._near_duplicates(best, found.said)
        against = [tag for tag in strongest(profile.tags, -1, latent=False) if tag.feature]
        aversions = {tag.feature: tag.weight for tag in against}
        stated = {tag.feature: tag.weight for tag in against if tag.kind == "stated"}
        scores = {
            id: self._lowered(votes.score(id) - heard, items[id], aversions) + self._lowered(heard, items[id], stated)
            for id, heard in zip(best, map(others.score, best), strict=True)
            # The index may be older than the catalogue, so its answer to a filter is checked again.
            if id not in unwanted and items[id].title and fits(items[id], query.where)
        }
        return Ordered(dict(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))), items, votes)

    def _probes(self, query: Query, profile: Profile, said: Opinions) -> list[Probe]:
        config = self.config
        likes = strongest(profile.tags, 1, latent=False)[: config.most_tags]
        latent = strongest(profile.tags, 1, latent=True)[: config.most_latent]
        against = [tag for tag in strongest(profile.tags, -1, latent=False) if not tag.feature][: config.most_latent]
        recent = recently_liked(said, config.most_recent, config.decay)
        return [
            *shared_out(config.tags, [Probe(f"tag:{tag.name}", tag.weight, tag_text(tag)) for tag in likes]),
            *shared_out(config.recent, [Probe(f"recent:{id}", weight, item=id) for id, weight in recent.items()]),
            *([Probe("persona", config.persona, profile.persona)] if profile.persona else []),
            *([Probe("words", config.words, query.words)] if query.words.strip() else []),
            *shared_out(config.words, [Probe(f"like:{id}", 1.0, item=id) for id in query.like]),
            *shared_out(
                config.explore * query.surprise,
                [Probe(f"{EXPLORE}{tag.name}", tag.weight, tag_text(tag)) for tag in latent],
            ),
            *(Probe(f"against:{tag.name}", -tag.weight * config.aversion, tag_text(tag)) for tag in against),
        ]

    def _ask(self, probes: Sequence[Probe], where: Sequence[Filter], seen: set[str], depth: int) -> list[Ballot]:
        vectors = self.index.vectors([probe.item for probe in probes if probe.item])
        # An item that is no longer in the index cannot be asked with.
        probes = [probe for probe in probes if probe.weight and (not probe.item or probe.item in vectors)]
        if not probes:
            return []
        texts = list(dict.fromkeys(probe.text for probe in probes if not probe.item))
        embedded = dict(zip(texts, self.embedder.embed(texts), strict=True)) if texts else {}
        asked = np.stack([vectors[probe.item] if probe.item else embedded[probe.text] for probe in probes])
        found = self.index.search(asked.astype(np.float32), depth, where=where, exclude=seen)
        return [Ballot(probe.retriever, probe.weight, hits) for probe, hits in zip(probes, found, strict=True)]

    def _popular_ballot(self, found: Sequence[str], head: Sequence[Candidate], weight: float) -> Ballot:
        places = self._places
        known = filter(places.__contains__, [*found, *(one.item.id for one in head)])
        pool = sorted(set(map(places.__getitem__, known)))
        return Ballot(POPULAR, weight, list(map(self._worth.__getitem__, pool)))

    def _known_for(self, stated: Sequence[Tag], query: Query, events: Sequence[Event]) -> list[Ballot]:
        """For each stated interest that the catalogue counts, the popular items that have it: by "horror" people mean
        the well-known ones first, and nearness of meaning knows nothing of that."""
        if not self.crowd:
            return []
        stated = stated[: self.config.most_tags]
        unseen = list(Popular(self.items, self.popular, self.config).unseen(query, events))
        known = {
            tag.name: [item.id for item in unseen if tag.feature in self._features(item)][: self.config.depth]
            for tag in stated
        }
        weight = self.config.known * self.crowd / len(stated)
        return [
            Ballot(f"{POPULAR}:{name}", weight, [(id, 1 / rank) for rank, id in enumerate(ids, 1)])
            for name, ids in known.items()
            if ids
        ]

    def _under_shown(self, close: Votes) -> Ballot:
        """What the questions about the person found that hardly anybody had; a ballot without weight."""
        rare = list(filterfalse(self._well_known.__contains__, close.ids))
        found = close.leading(self.config.proposed, among=rare)
        return Ballot(UNDER_SHOWN, 0.0, [(id, close.score(id)) for id in found])

    def _heard(self, voice: Voice, where: Sequence[Condition], seen: set[str]) -> list[tuple[str, float]]:
        """The first of what goes together with this history that can be recommended and fits the filters."""
        unseen = islice((hit for hit in voice.ranked() if hit[0] not in seen), OTHERS_SCAN)
        found, most = list[tuple[str, float]](), self.config.others_depth
        while chunk := list(islice(unseen, most)):
            items = self.items([id for id, _ in chunk])
            found += [hit for hit in chunk if (item := items.get(hit[0])) and item.title and fits(item, where)]
            if len(found) >= most:
                break
        return found[:most]

    def _alongside(self, query: Query, seen: set[str]) -> list[Ballot]:
        """For each item that the answer should be close to, what goes together with it in everybody's histories."""
        if not (self.others and self.crowd and query.like):
            return []
        weight, others = self.config.alongside * self.crowd / len(query.like), self.others
        asked = [(id, others([Event(0, query.user, id, "like")])) for id in query.like]
        heard = [(id, self._heard(voice, query.where, seen)) for id, voice in asked]
        return [Ballot(f"{ALONGSIDE}:{id}", weight, hits) for id, hits in heard if hits]

    def _collaborative(self, found: Gathered) -> list[Ballot]:
        """The vote of everybody's histories; none where it is unheard."""
        query, weight = found.query, self.share(found.had) * self.crowd
        titles_only = bool(query.like) and self._hardly_known(found.had)
        if (query.words.strip() or query.like) and not titles_only:
            weight = min(weight, self.config.beside_words)
        return [Ballot(COLLABORATIVE, weight, found.heard)] if weight and found.heard else []

    def _hardly_known(self, items: int) -> bool:
        """Whether the titles of a request are most of a history of so many items, theirs among them: what goes together
        with all of it is asked in one then. A longer one would drown what was asked for."""
        return 3 / (3 + items) > self.config.stranger

    @cached_property
    def _features(self) -> Described:
        return Described(self.population)

    @cached_property
    def _well_known(self) -> frozenset[str]:
        return frozenset(self.popular[: len(self.popular) // KNOWN_HALF])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {id: place for place, id in enumerate(self.popular)}

    @cached_property
    def _worth(self) -> list[tuple[str, float]]:
        """The popularity list with scores."""
        return [(id, 1 / (1 + place)) for place, id in enumerate(self.popular)]

    def _tasted(self, items: Mapping[str, Item], profile: Profile) -> list[tuple[str, float]]:
        """Those of `items` that share features with the likes, by how much, less what they share with the dislikes.

        The index knows what sounds alike; this knows what the person was seen to like.
        """
        weights = {
            tag.feature: tag.polarity * tag.weight for tag in profile.tags if tag.feature and tag.kind != "latent"
        }
        if not weights:
            return []
        scored = [
            (id, sum([weights[name] for name in self._features(item) if name in weights])) for id, item in items.items()
        ]
        return sorted(((id, score) for id, score in scored if score > 0), key=lambda pair: (-pair[1], pair[0]))

    def _near_duplicates(self, ids: Sequence[str], said: Opinions) -> set[str]:
        disliked = recently_disliked(said, self.config.most_disliked)
        if not disliked:
            return set()
        vectors = self.index.vectors([*ids, *disliked])
        bad, kept = [vectors[id] for id in disliked if id in vectors], [id for id in ids if id in vectors]
        if not bad or not kept:
            return set()
        nearest: Vectors = (np.stack([vectors[id] for id in kept]) @ np.stack(bad).T).max(axis=1)
        return {id for id, near in zip(kept, nearest, strict=True) if near >= self.config.near_duplicate}

    def _lowered(self, score: float, item: Item, aversions: Mapping[str, float]) -> float:
        """`score`, less what the person's aversions (feature -> weight) take from it."""
        if score <= 0 or not aversions:
            return score
        averse = [aversions[name] for name in self._features(item) if name in aversions]
        return score * math.prod(1 - self.config.aversion * weight for weight in averse)


def crowd_size(stats: Mapping[str, Stats]) -> float:
    """How far a popularity list is to be believed: 1 from five events an item on, in proportion below that."""
    return min(1.0, sum(one.events for one in stats.values()) / max(1, len(stats)) / ENOUGH_EVENTS)


def popularity(stats: Mapping[str, Stats], others: Iterable[str] = ()) -> list[str]:
    """Ids by how many events they have times the share of those that say yes, best first; then `others`, by id.

    The share is smoothed towards everybody's by as many events as an average item has (a Bayesian average), so that
    one enthusiastic event does not make an item popular.
    """
    events = sum(one.events for one in stats.values())
    overall = sum(one.positive for one in stats.values()) / max(events, 1)
    prior = events / max(len(stats), 1)

    def worth(id: str) -> float:
        one = stats[id]
        return one.events * (one.positive + prior * overall) / (one.events + prior)

    return [*sorted(stats, key=lambda id: (-worth(id), id)), *sorted(set(others) - set(stats))]


def fits(item: Item, where: Sequence[Condition]) -> bool:
    """Whether every condition holds."""
    return all(matches(item, one) for one in where)


def consumed(events: Iterable[Event], kinds: Iterable[EventKind]) -> set[str]:
    """The items that this person has had."""
    finished = frozenset(kinds)
    return {event.item for event in events if event.item and event.kind in finished}


def asked_after(query: Query, events: Sequence[Event]) -> list[Event]:
    """The items that the answer should be close to, as the newest likes of a history: what goes together with them
    and with the rest of it is asked for in one."""
    at = events[-1].at if events else None
    return [Event(0, query.user, id, "like", at=at) for id in query.like]


def recently_liked(said: Opinions, most: int, decay: float) -> dict[str, float]:
    """The `most` liked items with the highest preference x decay^(how many were liked after it), highest first.

    Undated events have no order, so only their preference counts.
    """
    weights: dict[str, float] = {}
    age = 0
    for event, amount in said:
        if amount > 0:
            weights[event.item] = amount * (decay**age if event.at else 1.0)
            age += event.at is not None
    best = sorted(weights, key=lambda id: -weights[id])[:most]
    return {id: weights[id] for id in best}


def liked_items(said: Opinions) -> frozenset[str]:
    """Every item that the person likes, by the last word on it."""
    return frozenset(event.item for event, amount in said if amount > 0)


def recently_disliked(said: Opinions, most: int) -> list[str]:
    """The items disliked last, newest first."""
    return [event.item for event, amount in said if amount < 0][:most]


def opinions(events: Sequence[Event]) -> list[tuple[Event, float]]:
    """The last event with each item that takes a side, and its preference (-1 to 1), newest first.

    The last word counts: what was liked and later disliked is disliked. `events`: oldest first.
    """
    stars = [event.value for event in events if event.kind in ("rating", "review") and event.value is not None]
    mean = sum(stars) / len(stars) if stars else 3.5
    most_plays = max((event.value or 1.0 for event in events if event.kind == "play"), default=1.0)
    said: dict[str, tuple[Event, float]] = {}
    amounts: dict[tuple[EventKind, float | None], float] = {}
    for event in reversed(events):
        if event.item and event.item not in said:
            # The same stars again and again.
            amount = amounts.get(how := (event.kind, event.value))
            if amount is None:
                amount = amounts[how] = preference(event, mean, most_plays, None)
            if abs(amount) >= LIKED:
                said[event.item] = (event, amount)
    return list(said.values())


def strongest(tags: Iterable[Tag], polarity: int, *, latent: bool) -> list[Tag]:
    """Tags of one polarity, the heaviest first; latent ones (hypotheses) or the others."""
    chosen = [tag for tag in tags if tag.polarity == polarity and (tag.kind == "latent") == latent and tag.weight > 0]
    return sorted(chosen, key=lambda tag: (-tag.weight, tag.name))


def tag_text(tag: Tag) -> str:
    """A tag as a question to the index: its name, and its feature's value where the name does not say it."""
    value = value_of(tag.feature)
    return tag.name if value.casefold() in tag.name.casefold() else f"{tag.name}: {value}"


def shared_out(total: float, probes: Sequence[Probe]) -> list[Probe]:
    """`probes` with their weights scaled to the sum `total`, so that many questions of a kind do not outvote a few."""
    whole = sum(probe.weight for probe in probes) or 1.0
    return [replace(probe, weight=total * probe.weight / whole) for probe in probes]


def named(candidates: Sequence[Candidate], voice: Voice, said: Opinions) -> list[Candidate]:
    """`candidates` with each collaborative vote named after the liked item of the own history that it rests on most;
    where no liked one speaks for it, after another that was not disliked."""

    heard = [one.item.id for one in candidates if any(vote.retriever == COLLABORATIVE for vote in one.sources)]
    disliked = {event.item for event, amount in said if amount < 0}
    loudest = voice.loudest(heard, liked_items(said), AllBut(disliked))

    def told(sources: tuple[Source, ...], own: str) -> tuple[Source, ...]:
        at = [one.retriever for one in sources].index(COLLABORATIVE)
        one = sources[at]
        return (*sources[:at], Source(f"{COLLABORATIVE}:{own}", one.rank, one.score), *sources[at + 1 :])

    return [
        Candidate(one.item, one.score, told(one.sources, own)) if (own := loudest.get(one.item.id)) else one
        for one in candidates
    ]


def rescored(order: Sequence[Candidate]) -> list[Candidate]:
    """`order` with its scores dealt out from the highest down."""
    scores = sorted((one.score for one in order), reverse=True)
    return [Candidate(one.item, score, one.sources) for one, score in zip(order, scores, strict=True)]


class AllBut(Container[str]):
    """Every id but those."""

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids

    def __contains__(self, id: object) -> bool:
        return id not in self._ids


@contextmanager
def index_errors() -> Iterator[None]:
    """The index's own errors as ours. Raises StoreBusy, StoreError."""
    try:
        yield
    except VectorStoreBusy as error:
        raise StoreBusy(str(error)) from error
    except VectorStoreError as error:
        raise StoreError(str(error)) from error
