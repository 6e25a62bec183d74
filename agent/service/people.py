"""Who is being worked on: any number of requests about a person at a time, but nothing beside their erasure.

Without it a request under way could write down again what was just erased.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent.errors import StoreBusy


class People:
    """`patience_s`: how long an erasure waits for requests under way, and they for it. Any thread may call."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._present: Counter[str] = Counter()
        self._erased: set[str] = set()

    @contextmanager
    def about(self, user: str) -> Iterator[None]:
        """While something about this person is read or written. Raises StoreBusy."""
        with self._changed:
            self._wait(lambda: user not in self._erased)
            self._present[user] += 1
        try:
            yield
        finally:
            with self._changed:
                self._present[user] -= 1
                if not self._present[user]:
                    del self._present[user]
                self._changed.notify_all()

    @contextmanager
    def erasing(self, user: str) -> Iterator[None]:
        """While this person is erased: nobody else is at work on them. Raises StoreBusy."""
        with self._changed:
            self._wait(lambda: user not in self._erased)
            # Those who come from here on wait, so that an erasure cannot be put off for ever.
            self._erased.add(user)
            try:
                self._wait(lambda: user not in self._present)
            except StoreBusy:
                self._leave(user)
                raise
        try:
            yield
        finally:
            with self._changed:
                self._leave(user)

    def _leave(self, user: str) -> None:
        self._erased.discard(user)
        self._changed.notify_all()

    def _wait(self, until: Callable[[], bool]) -> None:
        if not self._changed.wait_for(until, self._patience_s):
            raise StoreBusy("other requests about this person are under way; try again")
