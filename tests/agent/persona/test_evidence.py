"""What stands out: what was put in, and not what everybody has."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from agent import sample
from agent.features import Population, survey
from agent.persona.evidence import Evidence, apart, evidence
from agent.persona.tally import Mark, Tally, add
from agent.types import Event, Item

START = datetime(2024, 1, 1, tzinfo=UTC)
CATEGORIES = ("Drama", "Comedy", "Action", "Thriller")


def catalogue() -> list[Item]:
    """300 items: everybody has Drama, few have Western, Noir or Robert."""
    dice = random.Random(4)
    items = []
    for n in range(300):
        own = {dice.choice(CATEGORIES[1:]), *(["Drama"] if n % 5 < 3 else [])}
        own |= {"Western"} if n % 12 == 0 else set()
        own |= {"Noir"} if n % 15 == 1 else set()
        items.append(
            Item(str(n), f"T {n}", categories=tuple(sorted(own)), attributes={"creator": (f"Maker {n % 40}",)})
        )
    return items


ITEMS = {item.id: item for item in catalogue()}
POPULATION = survey(ITEMS.values(), dict.fromkeys(ITEMS, 20))


def rated(item: str, value: float, n: int) -> Event:
    return Event(n, "ann", item, "rating", value, at=START + timedelta(days=n))


def tallied(events) -> Tally:
    return add(Tally(), events, ITEMS, POPULATION, {}, {}, len(events))


def person(seed: int = 1, western: float = 5.0, noir: float = 1.0) -> Tally:
    dice = random.Random(seed)
    chosen = dice.sample(sorted(ITEMS), 40) + [str(n) for n in range(0, 120, 12)] + [str(n) for n in range(1, 91, 15)]
    events = []
    for n, id in enumerate(dict.fromkeys(chosen)):
        has = ITEMS[id].categories
        value = western if "Western" in has else noir if "Noir" in has else dice.choice([2.0, 3.0, 4.0])
        events.append(rated(id, value, n))
    return tallied(events)


@pytest.mark.parametrize("seed", range(6))
def test_what_was_planted_is_found_and_what_everybody_has_is_not(seed):
    found = evidence(person(seed), POPULATION)
    likes = [one.feature for one in found if one.polarity > 0]
    dislikes = [one.feature for one in found if one.polarity < 0]
    assert likes[0] == "category:Western"
    assert "category:Drama" not in likes
    assert "category:Noir" in dislikes
    assert "category:Western" not in dislikes


def test_turned_around_it_is_found_turned_around():
    found = {one.feature: one.polarity for one in evidence(person(western=1.0, noir=5.0), POPULATION)}
    assert found["category:Noir"] == 1
    assert found["category:Western"] == -1


def test_every_piece_of_evidence_has_marks_of_its_own_side():
    tally = person()
    for one in evidence(tally, POPULATION):
        assert one.marks
        assert all(mark.preference * one.polarity > 0 for mark in one.marks)
        assert all(tally.marks[mark.item] == mark for mark in one.marks)
        assert 0 < one.weight <= 1
        assert one.support <= one.of
    assert len([one for one in evidence(tally, POPULATION, 3) if one.polarity > 0]) <= 3


def test_a_history_like_everybodys_has_little_to_show():
    dice = random.Random(9)
    drawn = tallied([rated(id, 4.0, n) for n, id in enumerate(dice.sample(sorted(ITEMS), 150))])
    assert all(one.weight < 0.75 for one in evidence(drawn, POPULATION))


def test_few_events_may_rest_on_one_item():
    found = evidence(tallied([rated("0", 5.0, 1)]), POPULATION)
    assert "category:Western" in [one.feature for one in found]
    assert not any(one.feature.startswith("creator:") for one in found)


def test_without_events_or_likes_nothing_stands_out():
    assert evidence(Tally(), POPULATION) == []
    assert evidence(Tally(), Population()) == []
    only = evidence(tallied([rated(str(n), 3.5, n) for n in range(3)]), POPULATION)
    assert all(one.polarity for one in only)


def test_undated_and_implicit_histories_have_evidence():
    events = [Event(n, "ann", str(n * 12), "play", float(n + 1)) for n in range(8)]
    events += [Event(90 + n, "ann", str(n * 15 + 1), "skip") for n in range(6)]
    found = {one.feature: one.polarity for one in evidence(tallied(events), POPULATION)}
    assert found["category:Western"] == 1
    assert found["category:Noir"] == -1


def piece(feature: str, items: str, weight: float, support: int | None = None) -> Evidence:
    marks = tuple(Mark(event=n, item=id, preference=1.0) for n, id in enumerate(items))
    return Evidence(feature, 1, support or len(items), 20, 2.0, weight, marks)


def test_one_of_two_that_rest_on_the_same_items_is_enough():
    director, genre, other = (
        piece("creator:A", "abcd", 0.9),
        piece("category:B", "abcd", 0.8),
        piece("word:c", "xyz", 0.5),
    )
    kept = apart([director, genre, other])
    assert [one.feature for one in kept] == ["category:B", "word:c"]
    assert [one.weight for one in kept] == sorted((one.weight for one in kept), reverse=True)


def test_what_rests_on_many_more_items_is_something_else():
    kept = apart([piece("category:B", "abcd", 0.9, support=30), piece("creator:A", "abcd", 0.8)])
    assert len(kept) == 2


FILMS = {item.id: item for item in sample.films()}
EVENTS = sample.events()


@pytest.fixture(scope="module")
def people():
    counts: dict[str, int] = {}
    for one in EVENTS:
        counts[one.item] = counts.get(one.item, 0) + 1
    population = survey(FILMS.values(), counts)
    found = {}
    for name in sample.PEOPLE:
        own = [one for one in EVENTS if one.user == name]
        tally = add(Tally(), own, FILMS, population, {}, {}, len(own))
        found[name] = {1: set[str](), -1: set[str]()}
        for one in evidence(tally, population):
            found[name][one.polarity].add(one.feature)
    return found


@pytest.mark.parametrize(
    ("name", "likes"),
    [("mara", {"category:Film Noir", "category:Family"}), ("piet", {"creator:Akira Kurosawa"}),
     ("jules", {"category:Horror"}),
     ("lin", {"creator:Edward Yang"}), ("ines", {"category:Musical"}), ("bram", {"category:Documentary"}),
     ("kavi", {"language:hi"}),
     ("yuna", {"language:ko"}), ("theo", {"category:Science Fiction"}), ("greta", {"category:Comedy"})],
)  # fmt: skip
def test_the_bundled_people_are_who_they_are_said_to_be(people, name, likes):
    assert likes <= people[name][1], people[name]


@pytest.mark.parametrize(
    ("name", "dislike"),
    [("greta", "category:Horror"), ("nadia", "category:War"), ("otis", "category:Horror"), ("ines", "category:War")],
)
def test_the_bundled_people_do_not_like_what_they_do_not_like(people, name, dislike):
    assert dislike in people[name][-1], people[name]
    assert dislike not in people[name][1]
