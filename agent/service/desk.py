"""What a service does for a request: blocking work on one home, by any number of threads, bounded and counted.

Every way in (HTTP, MCP, pages) stands on it. It alone says what may happen at the same time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from agent.errors import RapportError, SetupError, StoreError
from agent.history.keys import Keys
from agent.history.replies import Replies
from agent.history.store import Counts
from agent.privacy.erasure import Proof
from agent.recommend.catalogue import document
from agent.recommend.retrieve import index_errors
from agent.service.config import Config
from agent.service.later import Later
from agent.service.people import People
from agent.service.pool import Pool
from agent.types import Item
from agent.wiring import Rapport

log = logging.getLogger("rapport.service")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a part answers; `wrong` is "" when it does."""

    name: str
    wrong: str = ""


class Desk:
    """One home, opened for many. Made after `rapport`, and stopped before it is closed."""

    def __init__(self, rapport: Rapport, config: Config) -> None:
        self.rapport = rapport
        self.config = config
        self.pool = Pool(config.threads, config.waiting, config.patience_s)
        self.people = People(config.patience_s / 2)
        self.keys = Keys(rapport.store)
        self.later = Later(self._again)
        rapport.on_late = self.later.ask
        self.replies = Replies(rapport.store)
        self._refreshing = threading.Lock()  # guards the two below
        self._outdated = False
        self._counted = time.monotonic()

    def warm(self) -> None:
        """Make what every request needs, so that none waits for it. Raises StoreError, SetupError, LLMError."""
        _ = self.rapport.llm.name
        _ = self.rapport.recommender
        _ = self.rapport.fields
        _ = self.rapport.chat

    def about(self, user: str, work: Callable[[], Value]) -> Callable[[], Value]:
        """`work`, which reads or writes what is known of this person."""

        def held() -> Value:
            with self.people.about(user):
                return work()

        return held

    def forget(self, user: str) -> Proof:
        """Erase a person while nothing else about them is under way. Raises UnknownUser, StoreError, StoreBusy."""
        self.later.drop(user)
        with self.people.erasing(user):
            # Who came between the two may have put them in line again.
            self.later.drop(user)
            return self.rapport.forget(user)

    def stop(self) -> None:
        """Give up everything that is under way; the threads have ended when this returns."""
        self.later.stop()
        self.pool.stop()

    def _again(self, user: str) -> None:
        with self.people.about(user):
            self.rapport.profiler.again(user)

    def put_item(self, item: Item) -> tuple[Counts, str]:
        """Keep an item and index it; says what became of it, and why it is not in the index ("" when it is)."""
        counts = self.rapport.store.add_items([item])
        self.outdate()
        try:
            return counts, self._index(item)
        except (StoreError, SetupError) as error:
            return counts, str(error)

    def _index(self, item: Item) -> str:
        if wrong := self.rapport.without_index:
            return wrong
        entry = document(item)
        with index_errors():
            self.rapport.index.upsert([entry], self.rapport.embedder.embed([entry.text]))
        return ""

    def outdate(self) -> None:
        """The catalogue has changed: what was counted over all of it is counted anew, though not for every change."""
        self._outdated = True
        self.renew()

    def renew(self) -> None:
        """Count anew if something changed, and the last time is long enough ago."""
        with self._refreshing:
            due = self._outdated and time.monotonic() - self._counted >= self.config.look_s
            if due:
                self._outdated, self._counted = False, time.monotonic()
        if due:
            self.rapport.refresh()

    def look_after(self) -> None:
        """To be called now and then: is the index sound, and what was counted still true?"""
        self.renew()
        if self.rapport.without_index:
            # Somebody may have built it, or closed it, meanwhile.
            self.rapport.refresh()
            if not self.rapport.without_index:
                log.info("the index answers again")
        elif wrong := self.rapport.check_index():
            log.error("%s", wrong)

    def health(self) -> list[Health]:
        """Of the store, the index and the model."""
        return [
            Health("store", self._store()),
            Health("index", self.rapport.without_index),
            Health("model", self._model()),
        ]

    def _store(self) -> str:
        try:
            self.rapport.store.meta("domain")
        except StoreError as error:
            return str(error)
        return ""

    def _model(self) -> str:
        try:
            _ = self.rapport.llm
        except RapportError as error:
            return str(error)
        return ""
