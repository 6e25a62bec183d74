"""What is kept of a conversation in our own rows: turns, wishes in force, a bounded summary; read back as values.

Knows the store's tables for it; knows no model and does not interpret words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field

from agent.chat.wishes import Wish
from agent.history.conversations import Conversations, StoredWish, Summary
from agent.types import Condition, Receipt, Recommendation

LASTS = timedelta(hours=12)
"""How long a wish is in force: what is wanted tonight is not wanted tomorrow."""
READ = 12
"""Turns that are read back; what is older is in the summary."""
FOLD_EVERY = 6
MOST_SUMMARY = 800
"""Characters of a summary; its oldest parts go first."""


class Card(BaseModel, frozen=True):
    """One recommendation as it was shown."""

    item: str
    reason: str
    written_by: Literal["model", "template"] = "template"
    explored: bool = False
    receipts: list[dict[str, Any]] = []
    sources: list[tuple[str, int, float]] = []
    """(retriever, rank, score)."""
    rank: int = 0
    score: float = 0.0


class Learned(BaseModel):
    """What a turn wrote down about the person, so that it can be taken back."""

    events: list[int] = []
    tags: list[str] = []
    slots: list[str] = []
    before: list[dict[str, Any]] = []
    """Wishes that this turn took the place of, or took back."""

    def __bool__(self) -> bool:
        return bool(self.events or self.tags or self.slots or self.before)


class Body(BaseModel):
    """What was understood of a message, and what was answered."""

    intent: str = "chat"
    by: str = "rules"
    words: str = ""
    cards: list[Card] = []
    chips: list[dict[str, str]] = []
    focus: list[str] = []
    asked: str = ""
    """The slot of the question that was asked, e.g. "category"."""
    question: str = ""
    """Its words."""
    options: list[str] = []
    """What could be sent back as it stands."""
    choices: list[str] = []
    """Items of which one was meant: the next message may say which."""
    opinion: str = ""
    """What was said of the one that was meant: liked or disliked."""
    quote: str = ""
    learned: Learned = Field(default_factory=Learned)
    undone: bool = False
    ended: Literal["done", "aborted"] = "done"
    ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Exchange:
    number: int
    at: datetime
    text: str
    body: Body


@dataclass(frozen=True, slots=True)
class InForce:
    """A wish, where it comes from and when it ends."""

    wish: Wish
    quote: str
    at: datetime
    expires: datetime
    conversation: str = ""


@dataclass(frozen=True)
class Memory:
    """One store's conversations."""

    rows: Conversations

    def turns(self, user: str, conversation: str, last: int | None = READ) -> list[Exchange]:
        """Oldest first."""
        return [
            Exchange(one.number, one.at, one.text, Body.model_validate_json(one.body))
            for one in self.rows.turns(user, conversation, last)
        ]

    def keep(self, user: str, conversation: str, at: datetime, text: str, body: Body) -> int:
        """The new turn's number. Every FOLD_EVERY turns what is older than READ is folded into the summary."""
        number = self.rows.add_turn(user, conversation, at, text, body.model_dump_json())
        if number > READ and number % FOLD_EVERY == 0:
            self._fold(user, conversation, number)
        return number

    def change(self, user: str, conversation: str, turn: Exchange) -> None:
        self.rows.set_body(user, conversation, turn.number, turn.body.model_dump_json())

    def drop(self, user: str, conversation: str, after: int) -> None:
        """Without the turns after number `after`; a summary that speaks of them goes, too."""
        self.rows.drop_turns(user, conversation, after)
        if self.rows.summary(user, conversation).folded > after:
            self.rows.summarise(user, conversation, Summary())

    def summary(self, user: str, conversation: str) -> str:
        """What was said before the turns that are read back, in at most MOST_SUMMARY characters."""
        return self.rows.summary(user, conversation).text

    def wishes(self, user: str, now: datetime) -> list[InForce]:
        """Oldest first."""
        return [
            InForce(read_wish(one.slot, one.body), one.quote, one.at, one.expires, one.conversation)
            for one in self.rows.wishes(user, now)
        ]

    def wish(self, user: str, conversation: str, number: int, wish: Wish, quote: str, now: datetime) -> InForce | None:
        """Keeps a wish for LASTS; returns the one that it takes the place of."""
        stored = StoredWish(user, wish.slot, conversation, number, now, now + LASTS, quote, write_wish(wish))
        before = self.rows.wish(stored)
        if before is None or before.expires <= now:
            return None
        return InForce(
            read_wish(before.slot, before.body), before.quote, before.at, before.expires, before.conversation
        )

    def restore(self, user: str, conversation: str, before: Sequence[dict[str, Any]]) -> None:
        for one in before:
            self.rows.wish(
                StoredWish(
                    user,
                    one["slot"],
                    conversation,
                    0,
                    datetime.fromisoformat(one["at"]),
                    datetime.fromisoformat(one["expires"]),
                    one["quote"],
                    one["body"],
                )
            )

    def revoke(self, user: str, slots: Sequence[str] | None, now: datetime) -> list[InForce]:
        """Takes wishes back (all of them without `slots`) and returns them."""
        gone = [one for one in self.wishes(user, now) if slots is None or one.wish.slot in slots]
        self.rows.revoke(user, slots)
        return gone

    def _fold(self, user: str, conversation: str, number: int) -> None:
        """The beginning of the conversation in words, from what was understood: no model can put anything into it."""
        summary = self.rows.summary(user, conversation)
        older = [one for one in self.turns(user, conversation, None) if summary.folded < one.number <= number - READ]
        lines = [summary.text] if summary.text else []
        for one in older:
            said = ", ".join(chip["text"] for chip in one.body.chips)
            if said and not one.body.undone:
                lines.append(f"{one.body.intent}: {said}")
        text = "; ".join(lines)
        while len(text) > MOST_SUMMARY:
            text = text.partition("; ")[2] or text[-MOST_SUMMARY:]
        self.rows.summarise(user, conversation, Summary(text, number - READ))


def saved(one: InForce) -> dict[str, Any]:
    """A wish in a turn's body, so that it can be put back."""
    return {
        "slot": one.wish.slot,
        "at": one.at.isoformat(),
        "expires": one.expires.isoformat(),
        "quote": one.quote,
        "body": write_wish(one.wish),
    }


class WishBody(BaseModel):
    condition: tuple[str, str, str | int | float] | None = None
    words: str = ""
    like: list[str] = []
    surprise: float | None = None


def write_wish(wish: Wish) -> str:
    one = wish.condition
    condition = (one.field, one.op, one.value) if one else None
    return WishBody(
        condition=condition, words=wish.words, like=list(wish.like), surprise=wish.surprise
    ).model_dump_json()


def read_wish(slot: str, body: str) -> Wish:
    one = WishBody.model_validate_json(body)
    condition = None
    if one.condition:
        name, op, value = one.condition
        condition = Condition(name, op, value)  # type: ignore[arg-type]
    return Wish(slot, condition, one.words, tuple(one.like), one.surprise)


def card(one: Recommendation) -> Card:
    return Card(
        item=one.item.id,
        reason=one.reason,
        written_by=one.written_by,
        explored=one.explored,
        receipts=[
            {
                "event": each.event,
                "item": each.item,
                "at": each.at.isoformat() if each.at else None,
                "quote": each.quote,
            }
            for each in one.receipts
        ],
        sources=[(each.retriever, each.rank, round(each.score, 4)) for each in one.sources],
        rank=one.rank,
        score=one.score,
    )


def receipts(one: Card) -> list[Receipt]:
    return [
        Receipt(each["event"], each["item"], datetime.fromisoformat(each["at"]) if each["at"] else None, each["quote"])
        for each in one.receipts
    ]
