"""The conversation over HTTP: messages in, parts of an answer out as they are made; wishes, opinions, what was said."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.sse import format_sse_event

from agent import shapes
from agent.chat.parts import Chip, Part
from agent.errors import RapportError
from agent.service import schemas
from agent.service.desk import Desk
from agent.service.pool import Gone
from agent.service.problem import MEANING, answers, id_of, of_raised, problem
from agent.service.requests import Do, Who
from agent.service.schemas import ChatIn, ConversationIn, Json, OpinionIn, UserPath, WishIn
from agent.service.streaming import ALIVE, MEDIA, Sending, Stream, lively
from agent.wiring import Rapport

log = logging.getLogger("rapport.service")
router = APIRouter(prefix="/api/people/{user:path}", tags=["chat"])
EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["words", "cards", "question", "understood", "done", "error"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {
                "oneOf": [
                    {"$ref": f"#/components/schemas/{name}"}
                    for name in (*(one.__name__ for one in schemas.PARTS), "Problem")
                ]
            },
        },
    },
}
STREAMED = {
    200: {
        "description": "Server-sent events, each named after its part: words, then cards, perhaps a question, then "
        "understood, then done; or error with a problem, which ends it. With stream=false the whole as JSON.",
        "content": {MEDIA: {"itemSchema": EVENT}},
    }
}


@router.post("/chat", response_model=schemas.Reply, responses=answers(404) | STREAMED)
async def chat(user: UserPath, body: ChatIn, who: Who, do: Do, request: Request) -> Any:
    """Say something; the answer comes in parts as they are made. Also for somebody who is not known yet. What is
    learned of the message is written down before the first part; who leaves early frees the model, and the turn is kept
    as aborted."""
    who.need_person(user, "write")
    make = talking(do.desk, user, body.conversation or uuid.uuid4().hex, body.text, body.n)
    if not body.stream:
        return await do(lambda: shapes.reply(make()))
    stream = Stream(do.desk.pool, make)
    first = await stream.first(request)
    return Sending(stream, events(stream, first, id_of(request)))


def talking(desk: Desk, user: str, conversation: str, text: str, n: int) -> Callable[[], Generator[Part]]:
    """A reply that begins when it is called, and lasts until it is closed."""

    def parts() -> Generator[Part]:
        with desk.people.about(user):
            yield from desk.rapport.chat.reply(user, conversation, text, n=n)

    return parts


async def events(stream: Stream[Part], first: Part | None, request_id: str) -> AsyncIterator[bytes]:
    """The parts as they go over the wire; the last is done or error."""
    try:
        async for part in lively(stream, first):
            yield ALIVE if part is None else event(shapes.part(part))
    except Gone:
        # Nobody reads this.
        return
    except RapportError as error:
        yield event(of_raised(request_id, error).model_dump(), "error")
    except Exception as error:
        log.error("%s failed", request_id, exc_info=error)
        yield event(problem(request_id, 500, "unforeseen", MEANING[500]).model_dump(), "error")


def event(data: Json, name: str = "") -> bytes:
    return format_sse_event(event=name or data["part"], data_str=json.dumps(data, ensure_ascii=False))


@router.get("/wishes", response_model=schemas.Wishes, responses=answers(404))
async def wishes(user: UserPath, who: Who, do: Do) -> Json:
    """What this person wants at the moment, with the words that it rests on and when it ends."""
    who.need_person(user, "read")
    return await do(lambda: {"wishes": chips(do.desk.rapport.chat.wishes(user))}, user)


@router.post("/wishes/revoke", response_model=schemas.TakenBack, responses=answers(404))
async def revoke(user: UserPath, body: WishIn, who: Who, do: Do) -> Json:
    """Take one wish back, or all of them."""
    who.need_person(user, "write")
    return await do(lambda: {"wishes": chips(do.desk.rapport.chat.revoke(user, body.slot))}, user)


@router.post("/opinions", response_model=schemas.Noted, responses=answers(404))
async def opinion(user: UserPath, body: OpinionIn, who: Who, do: Do) -> Json:
    """What this person says of an item by a button; it counts at once."""
    who.need_person(user, "write")
    return await do(lambda: noted(do.desk.rapport, user, body), user)


@router.post("/conversations/undo", response_model=schemas.Undone, responses=answers(404))
async def undo(user: UserPath, body: ConversationIn, who: Who, do: Do) -> Json:
    """Take back what the last turn of a conversation that learned something wrote down; again for the one before."""
    who.need_person(user, "write")
    return await do(lambda: {"undone": do.desk.rapport.chat.undo(user, body.conversation)}, user)


@router.get("/conversations", response_model=schemas.Conversations, responses=answers(404))
async def conversations(user: UserPath, who: Who, do: Do) -> Json:
    """The conversations with this person, the newest first."""
    who.need_person(user, "read")

    def known() -> Json:
        found = do.desk.rapport.chat.conversations(user)
        return {"conversations": [{"id": id, "at": shapes.moment(at), "turns": turns} for id, at, turns in found]}

    return await do(known, user)


@router.get("/conversations/turns", response_model=schemas.Turns, responses=answers(404))
async def turns(user: UserPath, conversation: schemas.ConversationQuery, who: Who, do: Do) -> Json:
    """Everything that was said in one conversation."""
    who.need_person(user, "read")

    def said() -> Json:
        talk = do.desk.rapport.chat
        return {
            "conversation": conversation,
            "turns": [shapes.turn(one, talk.shown_again(one.body.cards)) for one in talk.history(user, conversation)],
        }

    return await do(said, user)


def noted(rapport: Rapport, user: str, body: OpinionIn) -> Json:
    event = rapport.chat.opinion(user, body.item, body.opinion, conversation=body.conversation)
    title = rapport.store.items([body.item])[body.item].title
    return {"event": event.id, "item": body.item, "title": title, "opinion": body.opinion}


def chips(found: Sequence[Chip]) -> list[Json]:
    return [shapes.chip(one) for one in found]
