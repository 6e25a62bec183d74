"""The bundled sample keeps what its documentation says, without any model."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime
from importlib.resources import files
from typing import get_args

import pytest

from agent import sample
from agent.types import Event, EventKind, Item

GENRES = {
    "Action", "Adventure", "Animation", "Biography", "Comedy", "Crime", "Documentary", "Drama", "Family", "Fantasy",
    "Film Noir", "History", "Horror", "Music", "Musical", "Mystery", "Romance", "Science Fiction", "Sport", "Thriller",
    "War", "Western",
}  # fmt: skip
IMPLICIT = {"view", "click", "play", "skip"}
FAMILY = {"Animation", "Family"}
NOIR = {"Film Noir", "Crime"}


@pytest.fixture(scope="module")
def films() -> list[Item]:
    return sample.films()


@pytest.fixture(scope="module")
def by_id(films: list[Item]) -> dict[str, Item]:
    return {film.id: film for film in films}


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return sample.events()


@pytest.fixture(scope="module")
def history(events: list[Event]) -> dict[str, list[Event]]:
    histories: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        histories[event.user].append(event)
    return histories


def liked(history: list[Event]) -> list[Event]:
    return [event for event in history if event.kind in {"rating", "review"} and (event.value or 0) >= 4]


def disliked(history: list[Event]) -> list[Event]:
    low = [event for event in history if event.kind in {"rating", "review"} and (event.value or 5) <= 2.5]
    return low + [event for event in history if event.kind in {"dislike", "skip"}]


def test_films_are_distinct(films):
    assert len({film.id for film in films}) == len(films) >= 300
    assert len({(film.title, film.attributes["year"]) for film in films}) == len(films)
    assert len({film.text for film in films}) == len(films)


def test_the_raw_rows_are_complete():
    text = files("agent.sample").joinpath("films.csv").read_text(encoding="utf-8")
    header, *lines = csv.reader(text.splitlines())
    assert header == ["id", "title", "year", "director", "genres", "language", "minutes", "description"]
    assert len(lines) == len(text.splitlines()) - 1
    for line in lines:
        row = dict(zip(header, line, strict=True))
        assert all(row[name] == row[name].strip() != "" for name in row if name != "minutes"), row["id"]


def test_film_facts_are_well_formed(films):
    for film in films:
        year, creators = film.attributes["year"], film.attributes["creator"]
        assert isinstance(year, int), film.id
        assert isinstance(creators, tuple), film.id
        assert 1920 <= year <= 2026, film.id
        assert re.fullmatch(rf"[a-z0-9]+(-[a-z0-9]+)*-{year}", film.id), film.id
        assert creators, film.id
        assert all(name == name.strip() != "" for name in creators), film.id
        assert re.fullmatch("[a-z]{2}", str(film.attributes["language"])), film.id
        assert 40 <= film.attributes.get("minutes", 100) <= 300, film.id  # type: ignore[operator]
        assert film.categories, film.id
        assert len(set(film.categories)) == len(film.categories), film.id
        assert set(film.categories) <= GENRES, film.id


def test_descriptions_are_one_sentence_lines(films):
    for film in films:
        assert 8 <= len(film.text.split()) <= 30, film.id
        assert "\n" not in film.text, film.id
        assert film.text.endswith("."), film.id
        assert not re.search(r"masterpiece|classic|acclaimed|award", film.text, re.IGNORECASE), film.id


def test_the_catalogue_is_broad(films):
    languages = Counter(film.attributes["language"] for film in films)
    assert all(languages[code] >= 5 for code in ("en", "zh", "ja", "ko", "fr", "hi", "it", "es", "fa")), languages
    genres = Counter(genre for film in films for genre in film.categories)
    assert set(genres) == GENRES
    assert min(genres.values()) >= 5, genres
    decades = Counter(int(film.attributes["year"]) // 10 for film in films)  # type: ignore[arg-type]
    assert set(decades) == set(range(192, 203))


def test_every_event_is_legal(events, by_id):
    assert len({event.id for event in events}) == len(events)
    for event in events:
        assert event.item in by_id, event
        assert event.kind in get_args(EventKind), event
        assert event.source == "sample"
        if event.kind in {"rating", "review"}:
            assert event.value in {half / 2 for half in range(1, 11)}, event
        elif event.kind == "play":
            assert event.value is not None, event
            assert event.value >= 1, event
        else:
            assert event.value is None, event
        assert bool(event.text) == (event.kind == "review"), event
        assert event.text == event.text.strip(), event


def test_times_rise_within_a_person_and_no_film_is_seen_before_it_exists(history, by_id):
    for person in history.values():
        times = [event.at for event in person]
        assert times == sorted(set(times))
        for event in person:
            assert event.at is not None
            assert datetime(2023, 1, 1, tzinfo=UTC) <= event.at < datetime(2026, 11, 1, tzinfo=UTC)
            assert event.at.year >= int(by_id[event.item].attributes["year"]), event  # type: ignore[arg-type]


def test_everyone_is_described_and_present(history):
    assert set(history) == set(sample.PEOPLE)
    assert len(history) == 12
    assert all(15 <= len(events) <= 45 for user, events in history.items() if user != "otis")


def test_the_notes_are_not_in_the_data():
    raw = files("agent.sample").joinpath("events.jsonl").read_text(encoding="utf-8")
    assert {key for line in raw.splitlines() for key in json.loads(line)} == {
        "user", "item", "kind", "value", "text", "at"
    }  # fmt: skip


def test_reviews_are_nobody_elses(events):
    texts = [event.text for event in events if event.text]
    assert len(texts) == len(set(texts))


def test_aversions_can_be_learned(history):
    for user in sample.PEOPLE.keys() - {"otis"}:
        assert len(disliked(history[user])) >= 4, user
        assert len(liked(history[user])) >= 10 or user == "nadia", user


def test_there_is_something_left_to_recommend(history, films, by_id):
    for user, events in history.items():
        loved = Counter(genre for event in liked(events) for genre in by_id[event.item].categories)
        unseen = [film for film in films if film.id not in {event.item for event in events}]
        for genre, _ in loved.most_common(2):
            assert sum(genre in film.categories for film in unseen) >= 8, (user, genre)


def test_otis_has_exactly_three_events(history):
    assert len(history["otis"]) == 3


def test_lin_writes_chinese_about_mainly_chinese_films(history, by_id):
    reviews = [event for event in history["lin"] if event.text]
    assert len(reviews) >= 15
    assert all(len(re.findall(r"[\u4e00-\u9fff]", event.text)) >= 8 for event in reviews)
    languages = Counter(by_id[event.item].attributes["language"] for event in history["lin"])
    assert languages["zh"] > len(history["lin"]) / 2
    assert len(languages) >= 3


def test_nadia_never_says_anything(history):
    kinds = {event.kind for event in history["nadia"]}
    assert kinds <= IMPLICIT
    assert {"view", "skip"} <= kinds


def test_mara_has_two_tastes_at_two_times_of_day(history, by_id):
    late = [e for e in liked(history["mara"]) if e.at and e.at.hour >= 20]
    early = [e for e in liked(history["mara"]) if e.at and e.at.hour < 12]
    assert len(late) >= 10
    assert len(early) >= 10
    assert sum(bool(NOIR & set(by_id[e.item].categories)) for e in late) >= 0.8 * len(late)
    assert sum(bool(FAMILY & set(by_id[e.item].categories)) for e in early) >= 0.9 * len(early)


def test_greta_dislikes_gore_and_length(history, by_id):
    low = [by_id[event.item] for event in disliked(history["greta"])]
    assert sum("Horror" in film.categories for film in low) >= 3
    assert sum(int(film.attributes.get("minutes", 0)) > 150 for film in low) >= 5  # type: ignore[arg-type]
    assert all(int(by_id[e.item].attributes.get("minutes", 0)) <= 140 for e in liked(history["greta"]))  # type: ignore[arg-type]


def test_theo_moved_from_old_comedies_to_slow_science_fiction(history, by_id):
    turn = datetime(2024, 9, 1, tzinfo=UTC)
    before = [by_id[e.item] for e in liked(history["theo"]) if e.at and e.at < turn]
    after = [by_id[e.item] for e in liked(history["theo"]) if e.at and e.at >= turn]
    assert all("Comedy" in film.categories for film in before)
    assert len(before) >= 8
    assert sum("Science Fiction" in film.categories for film in after) >= 0.9 * len(after)
    assert len(after) >= 8
    again = {e.value for e in history["theo"] if e.item == "2001-a-space-odyssey-1968"}
    assert again == {2, 5}


def test_piet_loves_one_director_and_has_not_seen_everything(history, films, by_id):
    his = {film.id for film in films if "Akira Kurosawa" in film.attributes["creator"]}  # type: ignore[operator]
    seen = {event.item for event in history["piet"]}
    top = [event.item for event in liked(history["piet"]) if event.value == 5]
    assert len(his & set(top)) >= 5
    assert his - seen
    assert Counter(name for item in top for name in by_id[item].attributes["creator"]).most_common(1)[0][0] == (  # type: ignore[union-attr]
        "Akira Kurosawa"
    )
