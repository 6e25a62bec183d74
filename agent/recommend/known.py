"""What is known of the people who were asked for last, remembered until any of it changes.

Knows the store and the profiler; a look at the store's stamp tells whether what is remembered still holds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from agent.history.store import Store
from agent.persona.tally import Tally
from agent.types import Event, Profile

MOST = 100
"""People remembered, the last ones."""


@dataclass(frozen=True, slots=True)
class Known:
    """One person. None of it is changed by whoever reads it."""

    profile: Profile
    events: tuple[Event, ...]
    """Oldest first."""
    tally: Tally


class Acquaintances:
    """user -> what is known of them. `profiler` makes or finds the profile; what it raises is raised."""

    def __init__(self, store: Store, profiler: Callable[[str], Profile]) -> None:
        self._store = store
        self._profiler = profiler
        self._kept: OrderedDict[str, tuple[tuple[int | None, ...], Known]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, user: str) -> Known:
        before = self._store.stamp(user)
        with self._lock:
            stamp, known = self._kept.pop(user, (None, None))
            if known is not None and stamp == before:
                self._kept[user] = before, known
                return known
        profile = self._profiler(user)
        stamp = self._store.stamp(user)
        known = self.unremembered(profile)
        # What came in while this was read may be in it or not: such a mixture is used once.
        if self._store.stamp(user) == stamp:
            with self._lock:
                self._kept[user] = stamp, known
                while len(self._kept) > MOST:
                    self._kept.popitem(last=False)
        return known

    def unremembered(self, profile: Profile) -> Known:
        """Events and counts of the person of `profile`, as they are now."""
        body = self._store.tally(profile.user)
        tally = Tally.model_validate_json(body) if body else Tally()
        return Known(profile, tuple(self._store.events(profile.user)), tally)
