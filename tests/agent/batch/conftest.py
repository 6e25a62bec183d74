from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.history.store import Store, event_id
from agent.llm.base import LLM
from agent.settings import Settings
from agent.types import Event, Item
from agent.wiring import Rapport

START = datetime(2024, 1, 1, tzinfo=UTC)
FILMS = [
    Item(
        f"f{n}",
        f"Title {n}",
        categories=(("Crime", "Western", "Comedy", "Drama")[n % 4],),
        attributes={"year": 1950 + n},
    )
    for n in range(40)
]
PERSONA = "A fan of crime films."
"""True of everybody here, so that one call makes a persona."""

Town = Callable[..., Rapport]


def rated(user: str, item: str, stars: float, day: int) -> Event:
    at = START + timedelta(days=day)
    return Event(event_id(user, item, "rating", at), user, item, "rating", stars, "", at)


def crime_fan(user: str) -> list[Event]:
    likes = [rated(user, f"f{4 * n}", 5.0, n) for n in range(5)]
    return likes + [rated(user, f"f{4 * n + 1}", 1.0, n) for n in range(2)]


def names(count: int) -> list[str]:
    return [f"u{number:04}" for number in range(count)]


def populate(store: Store, users: Iterable[str]) -> None:
    store.add_items(FILMS)
    store.add_events(event for user in users for event in crime_fan(user))


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Opens a home where `people` like crime films; opening it again with another model finds the same people."""
    with ExitStack() as stack:

        def open_town(people: int, llm: LLM | None = None, **settings) -> Rapport:
            chosen = Settings(**{"home": tmp_path / "home", "llm": "none", "domain": "film"} | settings)
            rapport = stack.enter_context(Rapport(chosen, llm))
            if not rapport.store.count_items():
                populate(rapport.store, names(people))
            return rapport

        yield open_town
