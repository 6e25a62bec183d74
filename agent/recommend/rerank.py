"""Reranking: the model votes on the first candidates, and code turns any answer into a bounded permutation of them.

Knows profiles, candidates and typed questions; knows no store and no index. Candidate texts are data from strangers.
"""

from __future__ import annotations

import math
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, Field

from agent.ask import Ask, Reply
from agent.errors import BadCompletion
from agent.llm.base import Schema
from agent.recommend.catalogue import line, plain
from agent.recommend.gate import Gate
from agent.recommend.retrieve import Stats, rescored, strongest
from agent.types import Candidate, Item, Profile, Provenance, Query, Source

X = TypeVar("X")
LETTERS = string.ascii_uppercase[:20]
LEAST_LOG = -20.0
"""Log-probabilities below this are all "never"."""
PERSONA_CHARS = 400
TAG_CHARS = 60
TITLE_CHARS = 80
WORDS_CHARS = 300
INSTRUCTION_TOKENS = 250
"""More than the prompt takes without person and options, chat template included."""
LIKING = ("yes", "no")
FEWEST_OTHERS = 5
"""What fewer people think of an item is not told."""


class RerankConfig(BaseModel, frozen=True, extra="forbid"):
    window: int = Field(default=20, ge=2, le=len(LETTERS))
    """Candidates that the model sees; those after them keep their places."""
    orders: int = Field(default=2, ge=1, le=len(LETTERS))
    """Letters only: in how many orders the candidates are shown, so that place and letter average out; best even."""
    max_shift: int = Field(default=10, ge=0)
    """Places that an item moves at most because of the model."""
    item_chars: int = Field(default=100, ge=20, le=300)
    """Of a candidate's title, categories and text in the prompt."""
    likes: int = Field(default=6, ge=0)
    dislikes: int = Field(default=3, ge=0)
    recent: int = Field(default=8, ge=0)
    """Titles of recently liked items in the prompt."""
    lately: int = Field(default=10, ge=1)
    """Yes or no only: of how many of the last opinions the prompt tells."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody thought of an item that they had."""

    title: str
    liked: bool


@dataclass(frozen=True, slots=True)
class Share:
    """How many of those who judged an item liked it."""

    liked: int
    said: int


def share_of(stats: Mapping[str, Stats], item: str) -> Share | None:
    """What everybody's events say of an item; None for one without any."""
    found = stats.get(item)
    return Share(found.positive, found.events) if found else None


def nobody_said(item: str) -> Share | None:
    """Where what others think is not known."""
    return None


@dataclass(frozen=True, slots=True)
class Vote:
    """What the model thinks of the first candidates."""

    scores: tuple[float, ...]
    """One per candidate of the window, in retrieval order; higher is better, all equal when nothing was said."""
    repairs: int = 0
    """Invalid or missing parts of the answers that were replaced by the retrieval order."""
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(frozen=True, slots=True)
class Reranked:
    candidates: tuple[Candidate, ...]
    """A permutation of what came in."""
    repairs: int = 0
    provenance: Provenance = field(default_factory=Provenance)


class Reranker(Protocol):
    def __call__(
        self, query: Query, profile: Profile, candidates: Sequence[Candidate], recent: Sequence[Opinion] = ()
    ) -> Reranked:
        """A permutation of `candidates`. `recent`: what the person thought of what they had last, newest first."""
        ...


class Order(BaseModel, extra="forbid"):
    """The structured answer: handles, best first."""

    order: list[str] = Field(max_length=2 * len(LETTERS))


class Identity:
    """Retrieval order: what a reranker must beat, and what answers while there is no model."""

    def __call__(
        self, query: Query, profile: Profile, candidates: Sequence[Candidate], recent: Sequence[Opinion] = ()
    ) -> Reranked:
        return Reranked(tuple(candidates))


@dataclass(frozen=True)
class ModelReranker(ABC):
    """The part that is the same for every format: ask where the gate says so, blend, bound."""

    ask: Ask
    gate: Gate = field(default_factory=Gate)
    config: RerankConfig = field(default_factory=RerankConfig)

    @abstractmethod
    def vote(
        self, query: Query, profile: Profile, candidates: Sequence[Candidate], recent: Sequence[Opinion] = ()
    ) -> Vote:
        """The model's scores of the first candidates, whatever the gate says. Raises LLMError."""

    def __call__(
        self, query: Query, profile: Profile, candidates: Sequence[Candidate], recent: Sequence[Opinion] = ()
    ) -> Reranked:
        """A permutation of `candidates`; the model is not asked where its vote does not count. Raises LLMError."""
        llm = self.ask.llm
        weight = self.gate.weight(llm.name, profile.events, capable=llm.capable)
        note = self.gate.note(llm.name, profile.events, capable=llm.capable)
        if weight <= 0 or len(candidates) < 2:
            return Reranked(tuple(candidates), provenance=Provenance(notes=(note,)))
        vote = self.vote(query, profile, candidates, recent)
        notes = (note, *vote.provenance.notes)
        return Reranked(
            tuple(blend(candidates, vote.scores, weight, self.config.max_shift)),
            vote.repairs,
            replace(vote.provenance, notes=notes, profile_version=profile.version),
        )

    def _window(self, person: Mapping[str, Any], candidates: Sequence[Candidate], answer_tokens: int) -> list[str]:
        """One line per candidate that the model will see; fewer where its context is small."""
        llm = self.ask.llm
        lines = [line(one.item, self.config.item_chars) for one in candidates[: self.config.window]]
        known = llm.count_tokens(" ".join(f"{value}" for value in person.values()))
        return self.ask.fit(lines, llm.context - INSTRUCTION_TOKENS - known - answer_tokens)

    def person(self, query: Query, profile: Profile, recent: Sequence[Opinion]) -> dict[str, Any]:
        """What the prompt says of the person: its inputs but for the options."""
        config = self.config
        likes, dislikes = (strongest(profile.tags, polarity, latent=False) for polarity in (1, -1))
        return {
            "persona": plain(profile.persona, PERSONA_CHARS),
            "likes": [plain(tag.name, TAG_CHARS) for tag in likes[: config.likes]],
            "dislikes": [plain(tag.name, TAG_CHARS) for tag in dislikes[: config.dislikes]],
            "recent": titles([one for one in recent if one.liked][: config.recent]),
            "words": plain(query.words, WORDS_CHARS),
        }


class Letters(ModelReranker):
    """The model picks a letter; its probabilities score every candidate. How a small model reranks.

    Each order of the candidates is one prompt pass. From each letter's log-probability goes what the model gives
    that letter when the options say nothing, and the rest is averaged over the orders.
    Source: contextual calibration, Zhao et al. 2021, Calibrate Before Use; position bias of option letters: Zheng et
    al. 2024, Large Language Models Are Not Robust Multiple Choice Selectors.
    """

    def vote(
        self, query: Query, profile: Profile, candidates: Sequence[Candidate], recent: Sequence[Opinion] = ()
    ) -> Vote:
        language = query.language or profile.language
        person = self.person(query, profile, recent)
        lines = self._window(person, candidates, len(LETTERS) * 4)
        if len(lines) < 2:
            return Vote((0.0,) * len(lines), provenance=Provenance(notes=("the options do not fit the model",)))
        orders = rotations(len(lines), self.config.orders)
        # The content-free question comes first: all the prompts share the person's part of the prefix.
        shown = [["N/A"] * len(lines), *([lines[at] for at in order] for order in orders)]
        prompts = [{**person, "options": lettered(texts)} for texts in shown]
        replies = self.ask.choose("rerank", prompts, list(LETTERS[: len(lines)]), language=language)
        prior, *rows = [readable(reply.value, len(lines)) for reply in replies]
        scores = debiased(prior, rows, orders, len(lines))
        return Vote(tuple(scores), sum(row is None for row in (prior, *rows)), provenance_of(self.ask, replies))


@dataclass(frozen=True)
class Each(ModelReranker):
    """The model says of every candidate alone whether the person will like it: the probability of yes.

    Source: pointwise ranking by the likelihood of yes, Nogueira et al. 2020, and TALLRec, Bao et al. 2023.
    """

    others: Callable[[str], Share | None] = nobody_said
    """Item -> how many of those who judged it liked it."""

    def vote(
        self, query: Query, profile: Profile, candidates: Sequence[Candidate], recent: Sequence[Opinion] = ()
    ) -> Vote:
        inputs = [
            liking_inputs(recent, one.item, self.others(one.item.id), query.words, self.config)
            for one in candidates[: self.config.window]
        ]
        language = query.language or profile.language
        replies = self.ask.choose("liking", inputs, LIKING, language=language)
        rows = [readable(reply.value, len(LIKING)) for reply in replies]
        unread = sum(row is None for row in rows)
        # Without a readable answer the whole vote is none: a guess for one item would move all the others.
        scores = tuple(0.0 if row is None or unread else round(row[0] - row[1], 6) for row in rows)
        return Vote(scores, unread, provenance_of(self.ask, replies))


class Structured(ModelReranker):
    """The model writes the order as handles, decoded under an enum of them. For capable models."""

    def vote(
        self, query: Query, profile: Profile, candidates: Sequence[Candidate], recent: Sequence[Opinion] = ()
    ) -> Vote:
        person = self.person(query, profile, recent)
        lines = self._window(person, candidates, answer_tokens(self.config.window) * 2)
        handles = [f"c{place}" for place in range(1, len(lines) + 1)]
        if len(lines) < 2:
            return Vote((0.0,) * len(lines), provenance=Provenance(notes=("the options do not fit the model",)))
        options = [{"handle": handle, "text": text} for handle, text in zip(handles, lines, strict=True)]
        (answer,) = self.ask.answer(
            "rerank-order",
            [{**person, "options": options}],
            Order,
            schemas=[order_schema(handles)],
            language=query.language or profile.language,
            max_tokens=answer_tokens(len(handles)),
        )
        if isinstance(answer, BadCompletion):
            why = f"no valid order from the model ({type(answer).__name__}): retrieval order kept"
            return Vote((0.0,) * len(lines), 1, Provenance(self.ask.llm.name, notes=(why,)))
        ordered = reorder(handles, answer.value.order)
        place = {handle: at for at, handle in enumerate(ordered.items)}
        scores = tuple(float(-place[handle]) for handle in handles)
        return Vote(scores, ordered.repairs, provenance_of(self.ask, [answer]))


def choose_reranker(
    ask: Ask,
    gate: Gate | None = None,
    config: RerankConfig | None = None,
    others: Callable[[str], Share | None] = nobody_said,
) -> Reranker:
    """The format that suits the model: a written order for a capable one, for a small one that which it was measured
    with, else letters."""
    gate, config = gate or Gate(), config or RerankConfig()
    if ask.llm.capable:
        return Structured(ask, gate, config)
    if gate.prompt(ask.llm.name).startswith("liking."):
        return Each(ask, gate, config, others)
    return Letters(ask, gate, config)


def liking_inputs(
    recent: Sequence[Opinion], item: Item, others: Share | None, words: str = "", config: RerankConfig | None = None
) -> dict[str, Any]:
    """What the yes-or-no question says. `recent`: newest first."""
    config = config or RerankConfig()
    told = recent[: config.lately]
    return {
        "liked": titles([one for one in told if one.liked]),
        "disliked": titles([one for one in told if not one.liked]),
        "words": plain(words, WORDS_CHARS),
        "item": line(item, config.item_chars),
        "others": percent(others),
    }


def titles(opinions: Iterable[Opinion]) -> list[str]:
    return [plain(one.title, TITLE_CHARS) for one in opinions]


def percent(share: Share | None) -> str:
    """Per cent who liked it; "" where too few said anything."""
    if share is None or share.said < FEWEST_OTHERS:
        return ""
    return str(round(100 * share.liked / share.said))


@dataclass(frozen=True, slots=True)
class Ordered:
    items: tuple[str, ...]
    repairs: int
    """Foreign, repeated and missing handles."""


def reorder(handles: Sequence[str], picks: Iterable[str]) -> Ordered:
    """Every one of `handles` exactly once: the valid picks first, the rest in the order they came.

    >>> reorder(["c1", "c2", "c3"], ["c3", "c9", "c3"])
    Ordered(items=('c3', 'c1', 'c2'), repairs=4)
    """
    said = list(picks)
    known = set(handles)
    valid = list(dict.fromkeys(pick for pick in said if pick in known))
    missing = [handle for handle in handles if handle not in set(valid)]
    return Ordered((*valid, *missing), len(said) - len(valid) + len(missing))


def answer_tokens(handles: int) -> int:
    """Enough for a JSON list of that many handles."""
    return 32 + 8 * handles


def order_schema(handles: Sequence[str]) -> Schema:
    return {
        "type": "object",
        "properties": {
            "order": {
                "type": "array",
                "items": {"type": "string", "enum": list(handles)},
                "minItems": len(handles),
                "maxItems": len(handles),
            }
        },
        "required": ["order"],
        "additionalProperties": False,
    }


def lettered(texts: Sequence[str]) -> list[dict[str, str]]:
    return [{"letter": letter, "text": text} for letter, text in zip(LETTERS, texts, strict=False)]


def rotations(size: int, orders: int) -> list[list[int]]:
    """`orders` orders of range(size): rotations, each followed by its reverse, so that first and last places cancel.

    With an even number of orders every index has the same mean place; with rotations alone it does not, and a leaning
    towards late letters came through (correlation of score and place .27, measured over 40 lists of 20).
    """
    turns = -(-orders // 2)
    turned = [[(round(turn * size / turns) + at) % size for at in range(size)] for turn in range(turns)]
    return [order for forward in turned for order in (forward, forward[::-1])][:orders]


def readable(row: Sequence[float], size: int) -> list[float] | None:
    """Log-probabilities that can be computed with, or None: wrong length, or not a number."""
    if len(row) != size or any(math.isnan(value) for value in row):
        return None
    return [min(0.0, max(LEAST_LOG, value)) for value in row]


def debiased(
    prior: Sequence[float] | None, rows: Sequence[Sequence[float] | None], orders: Sequence[Sequence[int]], size: int
) -> list[float]:
    """Mean over the readable rows of log p(letter) - log p(letter | no content), for each of `size` candidates.

    rows[r][at] belongs to candidate orders[r][at]. Without a readable row every candidate has 0.
    """
    bias = prior or [0.0] * size
    totals, count = [0.0] * size, 0
    for row, order in zip(rows, orders, strict=True):
        if row is not None:
            count += 1
            for at, candidate in enumerate(order):
                totals[candidate] += row[at] - bias[at]
    # Rounded, because sums in another order differ in the last bit, which must not break a tie.
    return [round(total / max(count, 1), 6) for total in totals]


def blend(candidates: Sequence[Candidate], scores: Sequence[float], weight: float, max_shift: int) -> list[Candidate]:
    """`candidates` with the first len(scores) reordered by (1 - weight) x prior + weight x vote, both as rank shares.

    Ranks, not values: however sure a model is (or a hostile text makes it), it counts as one first place. No item
    moves more than `max_shift` places; ties keep the retrieval order. The scores are dealt out again in order, and the
    model's vote is added to the sources as "model".
    """
    size = len(scores)
    vote = rank_shares(scores)
    prior = rank_shares([float(-place) for place in range(size)])
    mixed = [(1 - weight) * prior[at] + weight * vote[at] for at in range(size)]
    wanted = sorted(range(size), key=lambda at: (-round(mixed[at], 9), at))
    place_of = {at: place for place, at in enumerate(sorted(range(size), key=lambda at: (-vote[at], at)), 1)}
    head = [
        replace(candidates[at], sources=(*candidates[at].sources, Source("model", place_of[at], vote[at])))
        for at in bounded(wanted, max_shift)
    ]
    return rescored([*head, *candidates[size:]])


def rank_shares(scores: Sequence[float]) -> list[float]:
    """1 for the highest score down to 0 for the lowest; equal scores share the mean of their places.

    >>> rank_shares([0.3, 9.0, 0.3])
    [0.25, 1.0, 0.25]
    """
    if len(scores) < 2:
        return [0.5] * len(scores)
    below = [sum(other < score for other in scores) for score in scores]
    equal = [sum(other == score for other in scores) - 1 for score in scores]
    return [(low + same / 2) / (len(scores) - 1) for low, same in zip(below, equal, strict=True)]


def bounded(wanted: Sequence[int], max_shift: int) -> list[int]:
    """The permutation nearest in spirit to `wanted` in which index i stands within `max_shift` places of place i.

    Place by place: the one index that would come too late must go now; else the most wanted that is not too early.
    Exactly one index falls due at a place, so there is always a choice.
    """
    left = list(wanted)
    order: list[int] = []
    for place in range(len(wanted)):
        due = place - max_shift
        pick = due if due in left else next(at for at in left if at <= place + max_shift)
        left.remove(pick)
        order.append(pick)
    return order


def provenance_of(ask: Ask, replies: Sequence[Reply[Any]]) -> Provenance:
    return Provenance(
        model=ask.llm.name,
        prompts=tuple(dict.fromkeys(reply.prompt for reply in replies)),
        prompt_tokens=sum(reply.prompt_tokens for reply in replies),
        completion_tokens=sum(reply.completion_tokens for reply in replies),
        ms=round(sum(reply.ms for reply in replies), 1),
    )
