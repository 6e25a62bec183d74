"""The nouns of Rapport: small frozen values that travel between the steps. Times are timezone-aware UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

Value = str | int | float | tuple[str, ...]
"""What an item's attribute may hold; several creators are a tuple."""

EventKind = Literal[
    "view", "click", "search", "cart", "purchase", "play", "rating", "like", "dislike", "review", "skip"
]
TagKind = Literal["stated", "observed", "latent"]
Language = Literal["en", "zh"]
Polarity = Literal[1, -1]


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be recommended."""

    id: str
    title: str
    text: str = ""
    categories: tuple[str, ...] = ()
    attributes: Mapping[str, Value] = field(default_factory=dict)
    """Known names: year, price, creator (who made it: a tuple), language, image. Others are kept as they came."""
    added_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person did with an item."""

    id: int
    """Stable hash of (user, item, kind, at): the same event imported again has the same id."""
    user: str
    item: str
    kind: EventKind
    value: float | None = None
    """rating and review: stars, 0.5 to 5, whatever the source's scale was. play: number of plays. Else None."""
    text: str = ""
    at: datetime | None = None
    """When it happened; None where the source does not say."""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The event that a statement rests on, checkable by code."""

    event: int
    item: str
    at: datetime | None = None
    quote: str = ""
    """For reviews: the words of the person, verbatim in the event's text."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One interest (polarity +1) or aversion (-1)."""

    name: str
    polarity: Polarity
    weight: float
    """Strength, 0 to 1, comparable within one profile."""
    kind: TagKind
    feature: str
    """What was counted, as "<kind>:<value>", e.g. "category:Drama"; "" for a stated tag that matches no feature."""
    receipts: tuple[Receipt, ...] = ()
    first_seen: datetime | None = None
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a text or an order came from; enough to replay it."""

    model: str = ""
    prompts: tuple[str, ...] = ()
    """prompt ids with version and hash, e.g. "persona@1-8c1f02aa"."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ms: float = 0.0
    profile_version: int = 0
    notes: tuple[str, ...] = ()
    """What was degraded or skipped, in words."""


@dataclass(frozen=True, slots=True)
class Sentiment:
    """What a person's reviews and ratings say, counted over events."""

    positive: int = 0
    neutral: int = 0
    negative: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """What is believed about a person, with receipts."""

    user: str
    tags: tuple[Tag, ...] = ()
    persona: str = ""
    persona_by: Literal["model", "template"] = "template"
    sentiment: Sentiment = Sentiment()
    language: Language = "en"
    questions: tuple[str, ...] = ()
    """What would be worth asking this person."""
    version: int = 0
    events: int = 0
    """How many events it was built from."""
    as_of: datetime | None = None
    """Time of the last event seen."""
    provenance: Provenance = Provenance()


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter on the catalogue, e.g. year >= 1990. `has` tests a list such as categories for one member."""

    field: str
    op: Literal["=", "!=", ">", ">=", "<", "<=", "has"]
    value: str | int | float


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller asks. It has no field that could carry the right answer."""

    user: str
    n: int = 10
    words: str = ""
    where: tuple[Condition, ...] = ()
    surprise: float = 0.2
    """0 = familiar, 1 = surprising."""
    language: Language | None = None
    """None = the person's own."""
    like: tuple[str, ...] = ()
    """Ids of items that what is wanted should be close to."""
    without: tuple[str, ...] = ()
    """Ids of items that are not wanted in this answer, e.g. because they were shown a moment ago."""


class Source(NamedTuple):
    """One retriever's vote for an item; a tuple, because more than a thousand are made for one answer."""

    retriever: str
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item on its way to a recommendation; the same type before and after reranking."""

    item: Item
    score: float
    """Higher is better; comparable within one request only."""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Arm:
    """Something that can be tried with a person, and the Beta belief that they like it."""

    name: str
    yes: float
    """At least 1, as `no`."""
    no: float
    items: tuple[str, ...] = ()
    """What it would be tried with."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place of a list that was given to something that is not known yet."""

    user: str
    at: datetime
    place: int
    """From 1 on."""
    item: str
    arm: str
    """The one that was drawn."""
    probability: float
    """Of this item at this place, given what the earlier places got."""
    arms: tuple[Arm, ...] = ()
    """What there was to choose from, and what was believed of it."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    rank: int
    item: Item
    score: float
    reason: str
    receipts: tuple[Receipt, ...]
    grounded: bool
    """The reason passed every check of agent/grounding."""
    written_by: Literal["model", "template"]
    explored: bool
    """It is here for a latent interest, not for an observed one."""
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A list of recommendations and how it came about."""

    user: str
    items: tuple[Recommendation, ...]
    degraded: bool
    """A part (model, index) was missing and a simpler one answered; provenance.notes says which."""
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class TagEdit:
    """What a person said about a tag themselves; no model ever overwrites it."""

    user: str
    name: str
    feature: str
    """The feature the tag stood for, as in Tag.feature; "" when it matches none."""
    action: Literal["add", "remove", "mute"]
    polarity: Polarity = 1
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model: what `rapport logs` shows. It holds neither prompt nor answer."""

    at: datetime
    prompt: str
    """Prompt id, e.g. "persona.en@1-8c1f02aa"."""
    model: str
    prompt_tokens: int
    completion_tokens: int
    ms: float
    outcome: str
    """"ok", or the name of the error."""
    user: str = ""
