"""Recommendations as cards: what a page shows of each, how it got there, and how it moved. Knows no request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.features import creators, number
from agent.history.store import Store
from agent.labels import label
from agent.recommend.catalogue import plain
from agent.recommend.recommender import RETRIEVED
from agent.service.pages.render import Words
from agent.types import Event, Item, Receipt, Recommendation, Source

MODEL = "model"
"""The source that tells the place that the model voted for."""
VOTERS = 6
"""Signals that are named for one card."""
TITLE = 200
REASON = 600
QUOTE = 300


@dataclass(frozen=True, slots=True)
class Ground:
    """One thing that a statement rests on."""

    title: str
    did: str
    """What the person did with it, in words."""
    quote: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class CardView:
    item: str
    rank: int
    title: str
    facts: str
    kind: str
    """The first category: one kind has one colour."""
    reason: str
    written_by: str
    explored: bool
    grounds: tuple[Ground, ...]
    found_by: tuple[tuple[str, int], ...]
    """(who proposed it, in words, at which place)."""
    retrieved: int
    """Its place before the model and before the list was made diverse; 0 where that is not known."""
    voted: int
    """Its place in the model's vote; 0 without one."""
    moved: int | None
    """Places up since the list was last shown; None when it was not in it."""
    fresh: bool
    """Whether there was a list before, and it was not in it."""


def views(
    store: Store, user: str, items: Sequence[Recommendation], words: Words, before: Sequence[str] = ()
) -> list[CardView]:
    """Cards in their order. `before`: ids as they stood before something changed."""
    receipts = [one for each in items for one in each.receipts]
    named = {one.item for one in receipts} | {value(one.retriever) for each in items for one in each.sources}
    titles = {id: plain(item.title, TITLE) for id, item in store.items(named - {""}).items()}
    events = {one.id: one for one in store.events_by_id(user, {one.event for one in receipts})}
    was = {id: place for place, id in enumerate(before, 1)}
    return [view(one, titles, events, words, was) for one in items]


def view(
    one: Recommendation,
    titles: Mapping[str, str],
    events: Mapping[int, Event],
    words: Words,
    was: Mapping[str, int],
) -> CardView:
    places = {each.retriever: each.rank for each in one.sources}
    voters = [each for each in one.sources if each.retriever not in (MODEL, RETRIEVED)]
    before = was.get(one.item.id)
    return CardView(
        item=one.item.id,
        rank=one.rank,
        title=plain(one.item.title, TITLE) or one.item.id,
        facts=facts(one.item, words),
        kind=next(iter(one.item.categories), ""),
        reason=plain(one.reason, REASON),
        written_by=one.written_by,
        explored=one.explored,
        grounds=tuple(ground(each, titles, events, words) for each in one.receipts),
        found_by=tuple((voter(each, titles, words), each.rank) for each in voters[:VOTERS]),
        retrieved=places.get(RETRIEVED, 0),
        voted=places.get(MODEL, 0),
        moved=None if before is None else before - one.rank,
        fresh=bool(was) and before is None,
    )


def facts(item: Item, words: Words) -> str:
    """Year, length, makers and kinds in one line."""
    year, minutes = number(item, "year"), number(item, "minutes")
    kinds = [label(f"category:{one}", words.language) for one in item.categories[:3]]
    parts = [
        f"{year:g}" if year else "",
        words("minutes", n=int(minutes)) if minutes else "",
        ", ".join([one for one in creators(item) if one][:2]),
        ("、" if words.language == "zh" else ", ").join(kinds),
    ]
    return plain(" · ".join(part for part in parts if part), TITLE)


def ground(one: Receipt, titles: Mapping[str, str], events: Mapping[int, Event], words: Words) -> Ground:
    event = events.get(one.event)
    return Ground(
        title=titles.get(one.item) or one.item,
        did=did(event, words, "d") if event else "",
        quote=plain(one.quote, QUOTE),
        at=one.at,
    )


def did(event: Event, words: Words, how: str) -> str:
    """What an event was, in words. `how`: "d" to the person, "did" about them."""
    if event.value is not None and event.kind in ("rating", "review"):
        return words(f"{how}_rating", f"{event.value:g}")
    return words(f"{how}_{event.kind}")


def voter(source: Source, titles: Mapping[str, str], words: Words) -> str:
    """Who proposed an item, in words."""
    kind, rest = source.retriever.partition(":")[0], value(source.retriever)
    interest = kind in ("tag", "explore", "popular")
    name = label(f"category:{rest}", words.language) if interest else titles.get(rest, rest)
    if kind == "collaborative" and rest:
        return words("s_collaborative_of", name)
    key = "s_popular_of" if kind == "popular" and rest else f"s_{kind}"
    return words(key, plain(name, TITLE)) if words.has(key) else words("s_other")


def value(retriever: str) -> str:
    return retriever.partition(":")[2]


def title_of(store: Store, item: str) -> str:
    found = store.item(item)
    return plain(found.title, TITLE) if found else item
