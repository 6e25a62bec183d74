"""A list of cards and the buttons on it: what a person says of an item counts at once, and the list moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.chat.parts import Chip
from agent.chat.wishes import Wish
from agent.errors import UnknownItem, UsageError
from agent.personal import Personal
from agent.service.pages.cards import CardView, title_of, views
from agent.service.pages.render import Words
from agent.types import Answer
from agent.wiring import Rapport

DIAL = (0.0, 0.2, 0.5, 0.9)
"""What the dial from familiar to surprising can be set to."""
USUAL = 1
"""Where it stands when nobody has touched it."""
MANY = 12
"""Cards of the list for you."""
MOST = 30
"""Cards that a list may be asked for again with."""


@dataclass(frozen=True, slots=True)
class Steering:
    """What is asked for now, until it expires."""

    chips: tuple[Chip, ...]
    dial: int
    """Which of DIAL."""


@dataclass(frozen=True, slots=True)
class ListView:
    """A list with all that stands around it."""

    cards: tuple[CardView, ...]
    steering: Steering
    known: int
    """Events of this person."""
    degraded: tuple[str, ...]
    """What was missing, in words; empty when nothing was."""
    model: str
    """Which model was asked."""
    catalogue: bool = True
    """Whether there is anything at all."""


@dataclass(frozen=True, slots=True)
class Flash:
    """What just happened, and how to take it back."""

    text: str
    undo: str = ""
    """For `taken_back`; "" when it cannot be."""


def steering(rapport: Rapport, user: str, words: Words) -> Steering:
    chips = tuple(rapport.chat.wishes(user, words.language))
    wished = next((one.wish.surprise for one in rapport.chat.in_force(user) if one.wish.surprise is not None), None)
    at = USUAL if wished is None else min(range(len(DIAL)), key=lambda place: abs(DIAL[place] - wished))
    return Steering(chips, at)


def listed(rapport: Rapport, user: str, words: Words, n: int = MANY, before: Sequence[str] = ()) -> ListView:
    """The list as it is now. `before`: ids as they stood, to tell what moved."""
    return shown(rapport, user, words, rapport.chat.listed(user, n, language=words.language), before)


def shown(rapport: Rapport, user: str, words: Words, answer: Answer, before: Sequence[str] = ()) -> ListView:
    return ListView(
        cards=tuple(views(rapport.store, user, answer.items, words, before)),
        steering=steering(rapport, user, words),
        known=len(rapport.store.events(user)),
        degraded=answer.provenance.notes if answer.degraded else (),
        model=answer.provenance.model,
        catalogue=bool(answer.items) or rapport.store.count_items(titled=True) > 0,
    )


def said(rapport: Rapport, user: str, words: Words, button: str, conversation: str = "") -> Flash:
    """Write down what a button of a card says: "liked ran-1985". `conversation`: where it was pressed.
    Raises UsageError, UnknownItem."""
    verb, _, item = button.partition(" ")
    title = title_of(rapport.store, item)
    if verb == "more":
        if rapport.store.item(item) is None:
            raise UnknownItem(f"no item has the id {item!r}")
        rapport.chat.want(user, Wish("like", like=(item,)), conversation)
        return Flash(words("noted_more", title), "wish like")
    if verb == "less":
        event = Personal(rapport, user).feedback(item, "not_interested")["event"]
        return Flash(words("noted_less", title), f"event {event}")
    if verb == "liked" or verb == "disliked" or verb == "seen":
        event = rapport.chat.opinion(user, item, verb, conversation=conversation, language=words.language)
        return Flash(words(f"noted_{verb}", title), f"turn {conversation}" if conversation else f"event {event.id}")
    raise UsageError("no button says that")


def taken_back(rapport: Rapport, user: str, words: Words, undo: str) -> Flash:
    """The opposite of what Flash.undo names. Raises UsageError."""
    kind, _, value = undo.partition(" ")
    if kind == "event" and value.lstrip("-").isdigit():
        gone = rapport.store.remove_events(user, [int(value)])
        return Flash(words("undone" if gone else "nothing_to_undo"))
    if kind == "wish":
        return Flash(words("undone" if rapport.chat.revoke(user, value) else "nothing_to_undo"))
    if kind == "turn":
        gone = rapport.chat.undo(user, value)
        return Flash(words("undone_what", "; ".join(gone)) if gone else words("nothing_to_undo"))
    raise UsageError("nothing can be taken back by that")


def dialled(rapport: Rapport, user: str, at: str) -> None:
    """Set the dial; where it usually stands, nothing is asked for. Raises UsageError."""
    if at not in {str(place) for place in range(len(DIAL))}:
        raise UsageError(f"the dial goes from 0 to {len(DIAL) - 1}")
    if int(at) == USUAL:
        rapport.chat.revoke(user, "surprise")
    else:
        rapport.chat.want(user, Wish("surprise", surprise=DIAL[int(at)]))
