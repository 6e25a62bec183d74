"""What people did: one event, or a stream of them. It counts at once, and twice the same is once."""

from __future__ import annotations

import asyncio
import json
from hashlib import blake2b
from typing import Annotated
from weakref import WeakValueDictionary

from fastapi import APIRouter, Header, Request
from starlette.requests import ClientDisconnect

from agent.errors import OtherRequest
from agent.service import schemas
from agent.service.access import Principal
from agent.service.events import Bulk, kept, lines_of
from agent.service.pool import Gone
from agent.service.problem import answers
from agent.service.requests import Do, Who, Work
from agent.service.schemas import EventIn, Json

BULK = {"application/x-ndjson": {"schema": {"type": "string", "description": "One event, as for /api/events, a line."}}}
Again = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="The same request with the same key is done once, and answered the same for a day.",
    ),
]


def routes(bulk_size: int) -> APIRouter:
    """`bulk_size`: bytes of a request with many events at most."""
    router = APIRouter(prefix="/api/events", tags=["events"])
    under_way: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @router.post("", response_model=schemas.EventKept, responses=answers(409))
    async def keep(body: EventIn, who: Who, do: Do, again: Again = None) -> Json:
        """One thing that somebody did with an item. An item that is not known yet is kept without a title."""
        who.need_person(body.user, "write")
        store = do.desk.rapport.store
        if again is None:
            return await do(lambda: kept(store, body), body.user)
        digest = blake2b(body.model_dump_json().encode(), digest_size=16).hexdigest()
        reply = await do(
            lambda: do.desk.replies.once(
                who.caller, again, f"event {digest}", body.user, lambda: json.dumps(kept(store, body))
            ),
            body.user,
        )
        return json.loads(reply)

    @router.post(
        "/bulk",
        response_model=schemas.BulkReport,
        responses=answers(409),
        openapi_extra={"requestBody": {"required": True, "content": BULK}},
        max_body_size=bulk_size,
    )
    async def bulk(request: Request, who: Who, do: Do, again: Again = None) -> Json:
        """Any number of events, one JSON object a line, stored as they come. A line that cannot be used is refused and
        named, the others are kept. What was stored stays when the connection breaks; send it all again."""
        if not who.user:
            who.need("write")
        if again is None:
            return (await taken_in(request, who, do))[0]
        known = (who.caller, again)
        lock = under_way.setdefault(known, asyncio.Lock())
        async with lock:
            return await once(request, who, do, again)

    return router


async def once(request: Request, who: Principal, do: Work, again: str) -> Json:
    """As `taken_in`, unless this caller had it done under this key before."""
    replies = do.desk.replies
    before = await do.desk.pool.run(lambda: replies.find(who.caller, again))
    if before is None:
        report, digest = await taken_in(request, who, do)
        reply = await do.desk.pool.run(
            lambda: replies.once(who.caller, again, digest, who.user, lambda: json.dumps(report))
        )
        return json.loads(reply)
    if before.request != await digest_of(request):
        raise OtherRequest("this idempotency key was used for another request before: take a new one")
    return json.loads(before.body)


async def taken_in(request: Request, who: Principal, do: Work) -> tuple[Json, str]:
    """The report, and a digest of what came."""
    report = Bulk(do.desk.rapport.store, do.desk.people, who.user)
    digest = blake2b(digest_size=16)
    try:
        async for batch in lines_of(request.stream(), digest.update):
            await do.desk.pool.run(lambda batch=batch: report.take(batch))
    except ClientDisconnect as error:
        raise Gone from error
    return report.report(), f"bulk {digest.hexdigest()}"


async def digest_of(request: Request) -> str:
    digest = blake2b(digest_size=16)
    try:
        async for chunk in request.stream():
            digest.update(chunk)
    except ClientDisconnect as error:
        raise Gone from error
    return f"bulk {digest.hexdigest()}"
