"""Guesses are made from the first half of a history alone, and held against the second."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.errors import SetupError
from agent.settings import Settings
from agent.types import Event, Item
from agent.wiring import Rapport
from eval import guesses

START = datetime(2024, 1, 1, tzinfo=UTC)
PLAIN = [Item(f"d{n}", f"Plain Story {n}", categories=("Drama",)) for n in range(40)]
ODD = [Item(f"w{n}", f"Tall Tale {n}", categories=("Western", "Drama")) for n in range(8)]
ELSEWHERE = [Item(f"c{n}", f"Some Laughs {n}", categories=("Comedy",)) for n in range(60)]


def events(user: str, items: list[Item], stars: float = 5.0) -> list[Event]:
    return [
        Event(1000 * ord(user[0]) + number, user, item.id, "rating", stars, at=START + timedelta(days=number))
        for number, item in enumerate(items, 1)
    ]


@pytest.fixture
def rapport(tmp_path):
    with Rapport(Settings(home=tmp_path, llm="none", embedder="hashing")) as opened:
        opened.store.add_items([*PLAIN, *ODD, *ELSEWHERE])
        yield opened


def near_the_odd(rapport: Rapport) -> None:
    """What lies near to anything that is liked is Westerns."""
    rapport.__dict__["profiler"] = replace(rapport.profiler, near=lambda liked, had: ODD)


def test_a_guess_that_came_true_and_one_that_did_not(rapport):
    rapport.store.add_events([*events("ann", [*PLAIN[:6], *ODD[:3], *PLAIN[6:9]]), *events("bob", PLAIN[:12])])
    near_the_odd(rapport)
    rows = {user: guesses.of_person(rapport, user) for user in ("ann", "bob")}
    (ann,), (bob,) = rows["ann"], rows["bob"]
    assert ann["guess"][:2] == (True, 0.5)
    assert bob["guess"][:2] == (False, 0.0)
    assert ann["chance"][0] in (True, False)


def test_what_comes_later_changes_no_guess(rapport, monkeypatch):
    first = [*PLAIN[:6]]
    rapport.store.add_events([*events("ann", [*first, *ODD[:6]]), *events("bob", [*first, *ELSEWHERE[:6]])])
    near_the_odd(rapport)
    asked = []
    real = guesses.known

    def spied(rapport, before, items):
        asked.append([event.item for event in before])
        return real(rapport, before, items)

    monkeypatch.setattr(guesses, "known", spied)
    for user in ("ann", "bob"):
        guesses.of_person(rapport, user)
    assert asked == [[item.id for item in first]] * 2


def test_somebody_of_whom_hardly_anything_is_known_is_left_out(rapport):
    rapport.store.add_events(events("ann", PLAIN[:5]))
    near_the_odd(rapport)
    assert guesses.of_person(rapport, "ann") == []


def test_nobody_to_guess_about_is_said(tmp_path):
    with pytest.raises(SetupError, match="no guess was made"):
        guesses.run(tmp_path / "empty", 10)


def test_the_table_has_both_rows_and_the_difference():
    rows = [(True, 0.2, 0.1), (False, 0.0, 0.1)]
    found = guesses.figures(rows)
    assert found["liked_later"]["mean"] == 0.5
    assert found["times_everybody"] == 1.0
    table = guesses.markdown(
        {"people": 2, "guesses": 2, "guess": found, "chance": found, "difference": found["liked_later"]}
    )
    assert "| guessed | 0.500 [" in table
    assert table.endswith("]")
