"""What a reply is made of, in the order in which it is sent: words, cards, a question, what was understood, the end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent.types import Provenance, Recommendation

ChipKind = Literal["wish", "liked", "disliked", "seen", "named", "not_interested", "taste", "undone", "note"]


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of the answer's text; pieces follow each other without a blank of their own."""

    text: str


@dataclass(frozen=True, slots=True)
class Cards:
    """Items of the catalogue, each with a reason that passed the checks."""

    items: tuple[Recommendation, ...]
    degraded: bool
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Question:
    """Asked in return. Each of `options` can be sent back as it stands."""

    slot: str
    text: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chip:
    """One thing that was understood and written down."""

    kind: ChipKind
    text: str
    key: str = ""
    """wish: its slot, to revoke it by. liked, disliked, seen, named, not_interested: the item. taste: the tag."""
    quote: str = ""
    """The person's own words that it rests on."""
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Understood:
    """What the message was taken for, and every wish that is in force now."""

    intent: str
    by: Literal["rules", "model"]
    chips: tuple[Chip, ...]
    in_force: tuple[Chip, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The last part of every reply."""

    conversation: str
    number: int
    ms: float


Part = Words | Cards | Question | Understood | Done
