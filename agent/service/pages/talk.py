"""Conversations as a page shows them: what was said, and the cards as they stand now. Knows no request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent.chat.memory import Exchange
from agent.chat.parts import Chip, Question
from agent.labels import label
from agent.recommend.catalogue import plain
from agent.service.pages.cards import CardView, views
from agent.service.pages.render import Words
from agent.wiring import Rapport

OPENING = 80
MESSAGE = 2000
LISTED = 20
"""Conversations that are listed."""
TURNS = 60
"""Exchanges of a conversation that are shown."""


@dataclass(frozen=True, slots=True)
class TurnView:
    number: int
    text: str
    words: str
    cards: tuple[CardView, ...]
    chips: tuple[Chip, ...]
    aborted: bool
    question: Question | None = None


@dataclass(frozen=True, slots=True)
class TalkView:
    """A conversation in the list of them."""

    id: str
    opening: str
    at: datetime
    count: int


def talks(rapport: Rapport, user: str) -> list[TalkView]:
    openings = rapport.chat.openings(user)
    return [
        TalkView(id, plain(openings.get(id, ""), OPENING), at, count)
        for id, at, count in rapport.chat.conversations(user)[:LISTED]
    ]


def turns(rapport: Rapport, user: str, conversation: str, words: Words) -> list[TurnView]:
    """What was said, oldest first. A button changes the list that stands there: its turn is shown with the message
    whose list it moved."""
    groups: list[list[Exchange]] = []
    for one in rapport.chat.history(user, conversation)[-TURNS:]:
        if one.text or not groups:
            groups.append([one])
        else:
            groups[-1].append(one)
    views = [turn(rapport, user, group, words) for group in groups]
    # Only the last question waits for an answer, and not any more once a button was pressed.
    last = groups[-1][-1].body if groups else None
    if last and last.question:
        views[-1] = replace(views[-1], question=Question(last.asked, last.question, tuple(last.options)))
    return views


def turn(rapport: Rapport, user: str, group: Sequence[Exchange], words: Words) -> TurnView:
    first, last = group[0], group[-1]
    cards = views(rapport.store, user, rapport.chat.shown_again(last.body.cards), words)
    chips = [Chip(one["kind"], one["text"], one["key"]) for each in group for one in each.body.chips]  # type: ignore[arg-type]
    return TurnView(
        number=first.number,
        text=plain(first.text, MESSAGE),
        words=first.body.words.strip(),
        cards=tuple(cards),
        chips=tuple(chips),
        aborted=first.body.ended == "aborted",
    )


def starters(rapport: Rapport, user: str, words: Words) -> list[str]:
    """Messages that can be sent as they stand: what this person likes most as far as that was written down, because a
    page does not wait for a model, and two that anybody can say."""
    profile = rapport.store.profile(user)
    tags = profile.tags if profile else ()
    likes = [one for one in tags if one.polarity > 0 and one.feature.startswith("category:")][:2]
    named = [plain(label(one.feature, words.language), 40) for one in likes]
    return [words("try_for_me"), *(words("try_more", one) for one in named), words("try_surprise")]
