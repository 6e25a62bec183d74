"""What is true of everybody: feature shares, popularity, known fields; counted from the store once and kept there.

Counting reads the whole catalogue and all events, so it is done again only when they have grown noticeably.
"""

from __future__ import annotations

from pydantic import BaseModel

from agent.features import Population, survey
from agent.history.store import ItemStats, Store

KEY = "background.2"
"""With the version of what is counted: a kept count of another version is counted again."""
STALE = 0.02
"""Growth in events from which on everything is counted again; any change in the number of items counts at once."""


class Background(BaseModel, frozen=True):
    items: int
    events: int
    population: Population
    stats: dict[str, ItemStats]
    """item id -> how it did with everybody; items without events are not in it."""


def background(store: Store) -> Background:
    """The kept background if it is fresh enough, else a new one."""
    items, events = store.count_items(), store.count_events()
    body = store.meta(KEY)
    if body:
        kept = Background.model_validate_json(body)
        if kept.items == items and abs(events - kept.events) <= STALE * kept.events:
            return kept
    stats = store.popularity()
    counted = survey(store.all_items(), {id: one.events for id, one in stats.items()})
    fresh = Background(items=items, events=events, population=counted, stats=stats)
    store.set_meta(KEY, fresh.model_dump_json())
    return fresh
