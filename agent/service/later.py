"""Profiles that a model was too late for are written again when nobody waits: in one thread, one person at a time.

Knows when; what is written, and whether it may be kept, is the profiler's. Any thread may call.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from agent.errors import RapportError
from agent.llm.scheduler import Cancel
from agent.service.model import Patience, patience

log = logging.getLogger("rapport.service")
MOST = 200
"""People in line; who comes then is asked for again by their next request."""
PATIENCE_S = 600.0
"""How long a model may take for one of them."""
AGAIN_S = 3600.0
"""Seconds before somebody is tried again for whom the model was too late here, too."""


class Later:
    """`work`: writes one person's profile. The thread lives only while there is somebody in line."""

    def __init__(self, work: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._work = work
        self._now = now
        self._changed = threading.Condition()  # guards all that follows
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._tried: OrderedDict[str, float] = OrderedDict()
        self._current = ""
        self._cancel = Cancel()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def ask(self, user: str) -> None:
        """Get this person in line, unless the line is full or they had their turn lately."""
        with self._changed:
            tried = self._tried.get(user)
            if self._stopped or len(self._waiting) >= MOST or user == self._current:
                return
            if tried is not None and self._now() - tried < AGAIN_S:
                return
            self._waiting[user] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rapport-later", daemon=True)
                self._thread.start()

    def drop(self, user: str) -> None:
        """Out of the line; what is under way for this person is given up, and has ended when this returns."""
        with self._changed:
            self._waiting.pop(user, None)
            self._tried.pop(user, None)
            if user == self._current:
                self._cancel.set()
                self._changed.wait_for(lambda: user != self._current)

    def stop(self) -> None:
        """Nobody is taken any more; what is under way is given up, and the thread has ended when this returns."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._cancel.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while self._next():
            try:
                with patience(Patience(time.monotonic() + PATIENCE_S, self._cancel, background=True)):
                    self._work(self._current)
            except RapportError as error:
                log.info("a profile was not written again: %s", type(error).__name__)
            except Exception:
                # A defect of ours; the others in line are not to wait for ever because of it.
                log.exception("a profile was not written again")
            finally:
                with self._changed:
                    self._current = ""
                    self._changed.notify_all()

    def _next(self) -> bool:
        with self._changed:
            if not self._waiting:
                self._thread = None
                return False
            self._current, _ = self._waiting.popitem(last=False)
            self._cancel = Cancel()
            self._tried[self._current] = self._now()
            while len(self._tried) > MOST:
                self._tried.popitem(last=False)
            return True
