"""The conversation: words as they are made, then cards; buttons move the list that stands there."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncIterator, Generator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response

from agent.chat.conversation import MOST_ID
from agent.chat.parts import Cards, Part, Question, Understood, Words
from agent.errors import RapportError, UsageError
from agent.service import problem
from agent.service.pages import lists, talk
from agent.service.pages.cards import views
from agent.service.pages.door import Member, PageRoute, Sent, Visitor
from agent.service.pages.refusals import refusal
from agent.service.pages.routes.for_you import apply
from agent.service.pool import Gone
from agent.service.requests import Do
from agent.service.streaming import ALIVE, Sending, Stream, lively

log = logging.getLogger("rapport.service")
router = APIRouter(include_in_schema=False, route_class=PageRoute)
MANY = 5
"""Cards of an answer."""
Which = Annotated[str, Query(max_length=MOST_ID)]


@router.get("/chat")
async def page(visitor: Member, do: Do, c: Which = "", new: str | None = None) -> Response:
    """A conversation; without its name the last one, and a new one where there is none yet."""
    user, rapport, words = visitor.user, visitor.rapport, visitor.words

    def look() -> dict[str, Any]:
        known = talk.talks(rapport, user)
        id = c or (known[0].id if known and new is None else secrets.token_hex(6))
        said = talk.turns(rapport, user, id, words)
        return {
            "conversation": id,
            "talks": known,
            "turns": said,
            "number": next((one.number for one in reversed(said) if one.cards), 0),
            "starters": [] if said else talk.starters(rapport, user, words),
            "steering": lists.steering(rapport, user, words),
            "found": None,
        }

    return visitor.page("chat.html", await do(look, user))


@router.post("/chat")
async def say(visitor: Member, sent: Sent, do: Do) -> Response:
    """A message, answered as a stream where the script reads it, and as a page elsewhere."""
    user = visitor.may_change()
    conversation, text = conversation_of(sent.one("c")), sent.one("text")
    if not text.strip():
        raise UsageError("there is nothing to answer: the message is empty")
    if not visitor.wants_part:
        await do(lambda: list(visitor.rapport.chat.reply(user, conversation, text, n=MANY)), user)
        return RedirectResponse(f"/chat?c={quote(conversation, safe='')}", 303)

    def make() -> Generator[bytes]:
        # In the thread: what a card shows is looked up there, too.
        with do.desk.people.about(user):
            for part in visitor.rapport.chat.reply(user, conversation, text, n=MANY):
                yield from pieces(visitor, user, conversation, part)

    stream = Stream(do.desk.pool, make)
    return Sending(stream, sending(visitor, stream, await stream.first(visitor.request)))


@router.post("/chat/list")
async def changed(visitor: Member, sent: Sent, do: Do) -> Response:
    """What a button said, and the list that stood there as it is then."""
    user, rapport, words = visitor.may_change(), visitor.rapport, visitor.words
    conversation, before = conversation_of(sent.one("c")), sent.every("shown")[: lists.MOST]
    number = int(sent.one("number")) if sent.one("number").isdecimal() else 0

    def change() -> dict[str, Any]:
        flash = apply(visitor, user, sent, conversation)
        found = None
        if before:
            earlier = [one for one in rapport.chat.history(user, conversation) if one.number < number]
            told = {card.item for one in earlier for card in one.body.cards} - set(before)
            answer = rapport.chat.listed(user, len(before), language=words.language, without=sorted(told))
            rapport.chat.showing(user, conversation, answer.items)
            found = views(rapport.store, user, answer.items, words, before)
        steering = lists.steering(rapport, user, words)
        return {"conversation": conversation, "number": number, "found": found, "flash": flash, "steering": steering}

    values = await do(change, user)
    if not visitor.wants_part:
        return RedirectResponse(f"/chat?c={quote(conversation, safe='')}", 303)
    return visitor.page("chat.html", values)


async def sending(visitor: Visitor, stream: Stream[bytes], first: bytes | None) -> AsyncIterator[bytes]:
    """The pieces as they go over the wire; a failure is the last of them."""
    try:
        async for piece in lively(stream, first):
            yield ALIVE if piece is None else piece
    except Gone:
        # Nobody reads this.
        return
    except RapportError as error:
        words = visitor.words
        said = refusal(str(error), words.language) if problem.status_of(error) == 422 else str(error)
        yield event("failed", text=problem.readable(said or words("failed")))
    except Exception as error:
        log.error("%s failed", problem.id_of(visitor.request), exc_info=error)
        yield event("failed", text=visitor.words("failed"))


def pieces(visitor: Visitor, user: str, conversation: str, part: Part) -> Generator[bytes]:
    """What shows one part of a reply: words as they are, all else as a piece of a page."""
    rapport, words, context = visitor.rapport, visitor.words, visitor.context({})
    match part:
        case Words(text):
            yield event("words", text=text)
        case Cards(items):
            number = rapport.chat.history(user, conversation)[-1].number
            found = views(rapport.store, user, items, words)
            yield piece(visitor, "listing", context["token"], conversation, number, found)
        case Question():
            yield piece(visitor, "question", context["token"], conversation, part)
        case Understood(chips=chips):
            yield piece(visitor, "chips", chips)
            values = {"conversation": conversation, "talks": talk.talks(rapport, user), "number": 0}
            values |= {"steering": lists.steering(rapport, user, words)}
            yield event("places", html=visitor.office.renderer.text("_steered.html", visitor.context(values)))


def piece(visitor: Visitor, macro: str, *values: Any) -> bytes:
    """A piece of the turn that is being answered."""
    return event("piece", html=visitor.office.renderer.macro("_turns.html", macro)(visitor.words, *values))


def event(part: str, *, text: str = "", html: str = "") -> bytes:
    return f"data: {json.dumps({'part': part, 'text': text, 'html': html})}\n\n".encode()


def conversation_of(text: str) -> str:
    """Raises UsageError."""
    if not 1 <= len(text) <= MOST_ID or not text.isprintable():
        raise UsageError(f"a conversation has a name of 1 to {MOST_ID} characters")
    return text
