"""What somebody says of an item, as the event that it becomes: the same by a button, a tool or a sentence."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from agent.errors import UnknownItem
from agent.history.store import Store, event_id
from agent.types import Event, EventKind, Item

SOURCE = "chat"
"""Of events: said in a conversation, or by a button beside it."""
Verdict = Literal["liked", "disliked", "seen", "not_interested"]
Word = Verdict | Literal["named"]
"""A verdict, or that it was spoken of, which no button says."""
KINDS: dict[Word, EventKind] = {
    "liked": "like",
    "disliked": "dislike",
    # To know something is not to like it, so it becomes a review without stars: its words decide.
    "seen": "review",
    "not_interested": "skip",
    # Spoken of with interest: what goes with it counts, and it may be recommended.
    "named": "view",
}


def as_event(user: str, item: str, verdict: Word, at: datetime, words: str = "") -> Event:
    """`words`: the person's own, which are the receipt."""
    kind = KINDS[verdict]
    return Event(event_id(user, item, kind, at), user, item, kind, None, words, at, SOURCE)


def note(store: Store, user: str, item: str, verdict: Verdict, at: datetime) -> tuple[Event, Item]:
    """Write down what a person says of an item of the catalogue; it counts at once. Raises UnknownItem."""
    known = store.item(item)
    if known is None or not known.title:
        raise UnknownItem(f"no item has the id {item!r}")
    event = as_event(user, item, verdict, at)
    store.add_events([event])
    return event, known
