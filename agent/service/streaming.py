"""Parts of an answer that are sent as they are made: a blocking iterator in a thread, a reader on the event loop.

Whoever has gone closes the iterator and frees the model; the thread that runs it also ends it. Knows no route.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import closing, suppress
from typing import Generic, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from agent.service.model import still_wanted
from agent.service.pool import Pool

Value = TypeVar("Value")
MEDIA = "text/event-stream"
ALIVE_S = 15.0
"""Seconds of silence after which a comment is sent, so that nobody in between takes the connection for dead."""
ALIVE = b": alive\n\n"


class Stream(Generic[Value]):
    """What `make` yields, made in a thread of `pool` and read once, on the event loop on which this is made.

    It is made at its own pace, whatever the reader's: parts that are not read yet are held, so a reader who is slow
    keeps no thread. Closing it is told to a model at once; the iterator ends at its next part.
    """

    def __init__(self, pool: Pool, make: Callable[[], Generator[Value]]) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        self._made: asyncio.Queue[Value] = asyncio.Queue()
        self._work = asyncio.ensure_future(pool.run(self._run, self._gone))

    async def next(self, wait_s: float | None = None) -> Value | None:
        """The next part; None behind the last. Raises what the iterator or the pool raises, behind the parts that came
        before it, and TimeoutError when there is none within `wait_s`."""
        if self._made.empty() and not self._work.done():
            coming = asyncio.ensure_future(self._made.get())
            try:
                await asyncio.wait({coming, self._work}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    return coming.result()
            finally:
                coming.cancel()
        if not self._made.empty():
            return self._made.get_nowait()
        if not self._work.done():
            raise TimeoutError
        self._work.result()
        return None

    async def first(self, request: Request) -> Value | None:
        """As `next`, while the caller is watched: raises Gone when they leave before there is an answer."""
        watching = asyncio.create_task(self._watch(request))
        try:
            return await self.next()
        except BaseException:
            self.close()
            raise
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    def close(self) -> None:
        """Nobody reads on. The model is told at once; the thread ends by itself."""
        self._gone.set()
        # How it ends has no reader.
        self._work.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _watch(self, request: Request) -> None:
        # The body was read before: what comes now is that the caller has gone.
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    def _run(self) -> None:
        """In the thread."""
        with closing(self._make()) as parts:
            for one in parts:
                self._loop.call_soon_threadsafe(self._made.put_nowait, one)
                still_wanted()


class Sending(StreamingResponse):
    """An answer of server-sent events that owns its stream: however it ends, the stream is closed."""

    media_type = MEDIA

    def __init__(self, stream: Stream[Value], events: AsyncIterator[bytes]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.close()


async def lively(stream: Stream[Value], first: Value | None) -> AsyncIterator[Value | None]:
    """`first` and what follows it; None now and then in a silence. Raises what the stream raises."""
    part = first
    while part is not None:
        yield part
        while True:
            try:
                part = await stream.next(ALIVE_S)
                break
            except TimeoutError:
                yield None
