"""What goes over the wire, in and out: bounded and checked on the way in, described truly on the way out.

The values are those of agent.shapes; a test holds both to each other by sending every answer through these.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agent.chat.conversation import MOST_ID, MOST_TEXT
from agent.chat.noting import Verdict
from agent.chat.parts import ChipKind
from agent.chat.understand import Intent
from agent.history.text import ID, TEXT, TITLE, clean_id
from agent.history.values import Unusable
from agent.types import EventKind, Language, Polarity


def text_of(value: str) -> str:
    """Text that can be written down. Raises ValueError for half a surrogate pair, which UTF-8 cannot spell."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is no text") from None
    return value


def person_of(value: str) -> str:
    return _id(value, "user")


def item_of(value: str) -> str:
    return _id(value, "item")


def _id(value: str, what: str) -> str:
    try:
        return clean_id(text_of(value), what)
    except Unusable as error:
        raise ValueError(str(error)) from None


Text = Annotated[str, AfterValidator(text_of)]
UserId = Annotated[str, Field(min_length=1, max_length=ID), AfterValidator(person_of)]
ItemId = Annotated[str, Field(min_length=1, max_length=ID), AfterValidator(item_of)]
UserPath = Annotated[UserId, Path(description="A person's id, as in their events.")]
ItemPath = Annotated[ItemId, Path(description="An item's id, as in the catalogue.")]
Where = Annotated[
    list[Annotated[Text, Field(max_length=500)]],
    Query(max_length=20, description="A filter, e.g. year>=1990 or categories:Drama; may be repeated."),
]
Words = Annotated[Text, Query(max_length=2000, description="What is wanted right now.")]
ConversationQuery = Annotated[Text, Query(min_length=1, max_length=MOST_ID, description="A conversation's id.")]
Scalar = Annotated[Text, Field(max_length=TEXT)] | int | float


class In(BaseModel):
    """What comes in: unknown fields are refused, and so is what JSON cannot carry back."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ItemIn(In):
    title: Annotated[Text, Field(min_length=1, max_length=4 * TITLE)]
    text: Annotated[Text, Field(max_length=4 * TEXT)] = ""
    categories: list[Annotated[Text, Field(max_length=400)]] = Field(default=[], max_length=100)
    attributes: dict[
        Annotated[Text, Field(max_length=200)],
        Scalar | Annotated[list[Annotated[Text, Field(max_length=400)]], Field(max_length=100)],
    ] = Field(default={}, max_length=100, description="Known names: year, price, creator (a list), language, image.")


class EventIn(In):
    user: UserId
    item: ItemId
    kind: EventKind
    value: Annotated[float, Field(ge=0, le=1e9)] | None = Field(
        default=None, description="rating and review: 0.5 to 5 stars. play: how often. Else nothing."
    )
    text: Annotated[Text, Field(max_length=4 * TEXT)] = Field(default="", description="What the person wrote.")
    at: datetime | None = Field(
        default=None, description="When; without a zone it is UTC. Left out: now; in bulk: not known."
    )


class ChangeIn(In):
    """What a person says about a tag of theirs."""

    action: Literal["add", "mute", "remove", "rename"]
    name: Annotated[Text, Field(min_length=1, max_length=200)]
    polarity: Polarity = Field(default=1, description="Of add: an interest (1) or an aversion (-1).")
    to: Annotated[Text, Field(max_length=200)] = Field(default="", description="Of rename: the new name.")


class ChatIn(In):
    text: Annotated[Text, Field(min_length=1, max_length=MOST_TEXT, description="What the person says.")]
    conversation: Annotated[Text, Field(max_length=MOST_ID)] = Field(
        default="", description="An earlier one's id, to go on with it; left out, a new one begins, named in done."
    )
    n: Annotated[int, Field(ge=1, le=20)] = Field(default=5, description="How many cards at most.")
    stream: bool = Field(default=True, description="false: the whole reply as one JSON value.")


class OpinionIn(In):
    item: ItemId
    opinion: Verdict
    conversation: Annotated[Text, Field(max_length=MOST_ID)] = Field(
        default="", description="Where it was said, so that undo there takes it back."
    )


class ConversationIn(In):
    conversation: Annotated[Text, Field(min_length=1, max_length=MOST_ID)]


class WishIn(In):
    slot: Annotated[Text, Field(max_length=500)] | None = Field(
        default=None, description="The key of the wish to take back; left out: all of them."
    )


class Item(BaseModel):
    id: str
    title: str = Field(description="Empty for an item that only events refer to.")
    text: str
    categories: list[str]
    attributes: dict[str, str | int | float | list[str]]


class Items(BaseModel):
    items: list[Item]
    degraded: bool = Field(description="Only titles were looked at; note says why.")
    note: str


class ItemKept(BaseModel):
    item: Item
    stored: Literal["added", "changed", "unchanged"]
    indexed: bool
    note: str = Field(description="Why it is not in the index, if it is not.")


class EventKept(BaseModel):
    event: int
    stored: Literal["added", "changed", "unchanged"]
    known_item: bool = Field(description="Whether the catalogue has a title for the item.")


class RefusedLine(BaseModel):
    line: int = Field(description="From 1.")
    reason: str


class BulkReport(BaseModel):
    """What became of every line: they were added, changed something, were there already, or were refused."""

    lines: int
    added: int
    changed: int
    unchanged: int
    refused: int
    reasons: dict[str, int] = Field(description="How often each reason to refuse a line was met.")
    refusals: list[RefusedLine] = Field(description="The first refused lines.")


class Receipt(BaseModel):
    event: int
    item: str
    at: str | None
    quote: str | None = None


class Tag(BaseModel):
    name: str
    polarity: Polarity
    weight: float = Field(ge=0, le=1)
    kind: Literal["stated", "observed", "latent"]
    feature: str = Field(description="What was counted, e.g. category:Drama; empty for a stated tag that matches none.")
    receipts: list[Receipt]
    first_seen: str | None
    last_seen: str | None


class Tokens(BaseModel):
    prompt: int
    completion: int


class Provenance(BaseModel):
    model: str
    prompt: list[str]
    tokens: Tokens
    ms: float
    profile_version: int
    notes: list[str]


class Sentiment(BaseModel):
    positive: int
    neutral: int
    negative: int


class Profile(BaseModel):
    user: str
    tags: list[Tag]
    persona: str
    persona_by: Literal["model", "template"]
    language: Language
    sentiment: Sentiment
    questions: list[str]
    events: int
    as_of: str | None
    version: int
    provenance: Provenance


class Profiles(BaseModel):
    versions: list[Profile] = Field(description="The newest first.")


class Edit(BaseModel):
    name: str
    action: Literal["add", "remove", "mute"]
    polarity: Polarity
    at: str | None


class Edits(BaseModel):
    edits: list[Edit] = Field(description="What this person says about their tags, oldest first.")


class Place(BaseModel):
    rank: int
    was: int | None = Field(description="Its rank before the change; null when it was not among them.")
    item: str
    title: str


class Titled(BaseModel):
    item: str
    title: str


class Preview(BaseModel):
    """What would change if the edit were saved; nothing of it was."""

    tags: list[Tag]
    items: list[Place]
    gone: list[Titled]


class Source(BaseModel):
    rank: int
    score: float


class Recommendation(BaseModel):
    rank: int
    item: str
    title: str
    score: float
    reason: str
    receipts: list[str] = Field(description="Ids of the person's own items that the reason rests on.")
    grounded: bool
    written_by: Literal["model", "template"]
    explored: bool
    sources: dict[str, Source]


class Answer(BaseModel):
    user: str
    items: list[Recommendation]
    degraded: bool = Field(description="A part was missing and a simpler one answered; provenance.notes says which.")
    provenance: Provenance


class Chip(BaseModel):
    """One thing that was understood and written down."""

    kind: ChipKind
    text: str
    key: str = Field(
        description="wish: its slot. liked, disliked, seen, named, not_interested: the item. taste: the tag."
    )
    quote: str = Field(description="The person's own words that it rests on.")
    expires: str | None


class WordsPart(BaseModel):
    """A piece of the answer's text; pieces follow each other without a blank of their own."""

    part: Literal["words"]
    text: str


class CardsPart(BaseModel):
    """Items of the catalogue, each with a reason that passed the checks."""

    part: Literal["cards"]
    items: list[Recommendation]
    degraded: bool
    provenance: Provenance


class QuestionPart(BaseModel):
    """Asked in return. Each of the options can be sent back as it stands."""

    part: Literal["question"]
    slot: str
    text: str
    options: list[str]


class UnderstoodPart(BaseModel):
    """What the message was taken for, what was written down of it, and every wish that is in force now."""

    part: Literal["understood"]
    intent: Intent
    by: Literal["rules", "model"]
    chips: list[Chip]
    wishes: list[Chip]


class DonePart(BaseModel):
    """The last part of every reply that did not fail."""

    part: Literal["done"]
    conversation: str
    number: int
    ms: float


PARTS = (WordsPart, CardsPart, QuestionPart, UnderstoodPart, DonePart)


class Asked(BaseModel):
    slot: str
    text: str
    options: list[str]


class Reply(BaseModel):
    """A whole reply, as it is sent without streaming."""

    conversation: str
    number: int
    words: str
    items: list[Recommendation]
    degraded: bool
    question: Asked | None
    intent: Intent
    by: Literal["rules", "model"]
    chips: list[Chip]
    wishes: list[Chip]
    provenance: Provenance | None
    ms: float


class Wishes(BaseModel):
    wishes: list[Chip] = Field(description="In force, oldest first.")


class TakenBack(BaseModel):
    wishes: list[Chip] = Field(description="Those that were taken back.")


class Noted(BaseModel):
    event: int
    item: str
    title: str
    opinion: Verdict


class Undone(BaseModel):
    undone: list[str] = Field(description="What was taken back, in words; empty when there was nothing.")


class Conversation(BaseModel):
    id: str
    at: str = Field(description="When it was last spoken in.")
    turns: int


class Conversations(BaseModel):
    conversations: list[Conversation] = Field(description="The newest first.")


class Turn(BaseModel):
    """What was said and what was answered."""

    number: int
    at: str
    text: str = Field(description="Empty where a button was pressed.")
    intent: Intent
    words: str
    items: list[Recommendation]
    chips: list[Chip]
    asked: str = Field(description="The slot of the question that was asked in return.")
    undone: bool
    ended: Literal["done", "aborted"]
    ms: float


class Turns(BaseModel):
    conversation: str
    turns: list[Turn] = Field(description="Oldest first.")


class Export(BaseModel):
    """Every row about a person, by table."""

    model_config = ConfigDict(extra="allow")
    user: str


class Proof(BaseModel):
    user: str
    rows: dict[str, int]
    lines: int
    searched: int
    files: int
    found: int


class Health(BaseModel):
    status: Literal["alive"]


class Ready(BaseModel):
    ready: bool
    degraded: bool = Field(description="It answers, but without its index or its model.")
    store: bool
    index: bool
    model: bool


Json = dict[str, Any]
