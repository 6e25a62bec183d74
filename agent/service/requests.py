"""What a route needs of its request: who asks, and a way to have blocking work done for as long as they wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from agent.service.access import Doorman, Principal
from agent.service.desk import Desk

Value = TypeVar("Value")
BEARER = HTTPBearer(auto_error=False, description="An API key: `rapport keys add` makes one.")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the application is made of, as its routes see it."""

    desk: Desk
    doorman: Doorman


def parts_of(request: Request) -> Parts:
    return request.app.state.parts


def principal(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)] = None) -> Principal:
    """Who asks. Raises NoKey, NotAllowed, Overloaded."""
    address = request.client.host if request.client else ""
    return parts_of(request).doorman.admit(request.headers, address)


@dataclass(frozen=True, slots=True)
class Work:
    """Blocking work on behalf of one request."""

    request: Request
    desk: Desk

    async def __call__(self, work: Callable[[], Value], user: str = "") -> Value:
        """What `work` returns, computed in a thread; `user`: about whom it is. It is told to stop when the caller has
        gone. Raises Overloaded, TimedOut, Gone."""
        gone = asyncio.Event()
        watching = asyncio.create_task(self._watch(gone))
        try:
            return await self.desk.pool.run(self.desk.about(user, work) if user else work, gone)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch(self, gone: asyncio.Event) -> None:
        # The body was read before: what comes now is that the caller has gone.
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        gone.set()


def work_of(request: Request) -> Work:
    return Work(request, parts_of(request).desk)


Who = Annotated[Principal, Depends(principal)]
Do = Annotated[Work, Depends(work_of)]
