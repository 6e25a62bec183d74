"""Blocking work of requests in a bounded number of threads: who waits too long, or is gone, stops waiting.

A thread cannot be stopped, so its place is only free again when it has ended; what keeps it longest, the model, is told
to stop. Knows nothing of what is computed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from agent.errors import Overloaded, TimedOut
from agent.llm.scheduler import Cancel
from agent.service.model import Patience, patience

Value = TypeVar("Value")
FOR_MODELS = 0.75
"""Share of a request's time in which models may be asked; the rest is for an answer without them."""


class Gone(Exception):
    """The caller has gone: there is nobody to answer."""


class Pool:
    """`threads` at work, `waiting` in line, `patience_s` for each from when it came. Used from one event loop."""

    def __init__(self, threads: int, waiting: int, patience_s: float) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="rapport")
        self._most = threads + waiting
        self._patience_s = patience_s
        self._cancels: set[Cancel] = set()
        self.busy = 0
        """Requests that are computed or wait for a thread."""

    async def run(self, work: Callable[[], Value], gone: asyncio.Event | None = None) -> Value:
        """What `work` returns or raises. Raises Overloaded, TimedOut, and Gone when `gone` is set first."""
        if self.busy >= self._most:
            raise Overloaded("too many requests are waiting: come back in a moment")
        terms = Patience(time.monotonic() + FOR_MODELS * self._patience_s)
        loop = asyncio.get_running_loop()

        def ended() -> None:
            self.busy -= 1
            self._cancels.discard(terms.cancel)

        def begin() -> Value:
            try:
                if terms.cancel.is_set:
                    raise Gone
                with patience(terms):
                    return work()
            finally:
                loop.call_soon_threadsafe(ended)

        self.busy += 1
        self._cancels.add(terms.cancel)
        task = loop.run_in_executor(self._threads, copy_context().run, begin)
        try:
            return await self._first(task, gone)
        except BaseException:
            terms.cancel.set()
            # Whatever it still raises has no reader.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise

    async def _first(self, task: asyncio.Future[Value], gone: asyncio.Event | None) -> Value:
        leaving = asyncio.ensure_future(gone.wait()) if gone else None
        try:
            await asyncio.wait(
                {task, leaving} if leaving else {task},
                timeout=self._patience_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            if leaving:
                leaving.cancel()
        if task.done():
            return task.result()
        if gone and gone.is_set():
            raise Gone
        raise TimedOut(f"this took longer than {self._patience_s:g} seconds")

    def stop(self) -> None:
        """Tell everything that is under way that nobody waits, and return when the threads have ended."""
        for cancel in list(self._cancels):
            cancel.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
