from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import BadFilter
from agent.recommend.catalogue import (
    FILTER_CHARS,
    TEXT_CHARS,
    checked,
    document,
    documents,
    fields_of,
    line,
    matches,
    metadata,
    parse_where,
    plain,
)
from agent.types import Condition, Item

FILM = Item(
    "7",
    "Cleo from 5 to 7",
    "A singer waits for a diagnosis and walks through Paris.",
    ("Drama", "Music"),
    {"year": 1962, "creator": ("Agnès Varda",), "language": "fr", "minutes": 90, "image": "picture.jpg"},
)
FIELDS = fields_of([FILM])


def test_what_is_embedded_says_what_the_item_is():
    assert document(FILM).text == (
        "Cleo from 5 to 7 (1962). Drama, Music. by Agnès Varda. 1960s. "
        "A singer waits for a diagnosis and walks through Paris."
    )


def test_the_year_is_not_said_twice():
    assert document(Item("1", "Alien (1979)", attributes={"year": 1979})).text == "Alien (1979). 1970s"


def test_an_item_that_is_only_referred_to_is_no_document():
    assert [one.id for one in documents([Item("1", ""), FILM])] == ["7"]
    with pytest.raises(ValueError, match="no title"):
        document(Item("1", ""))


def test_a_long_text_is_bounded():
    assert len(document(Item("1", "T" * 5000, "word " * 5000)).text) <= TEXT_CHARS


def test_pictures_empty_values_and_prose_are_not_filtered_on():
    item = Item("1", "Lamp", attributes={"image": "x", "brand": "", "blurb": "x" * (FILTER_CHARS + 1), "price": 9.5})
    assert metadata(item) == {"price": 9.5}


def test_a_single_creator_is_a_list_of_one():
    assert metadata(Item("1", "Lamp", attributes={"creator": "Ann"})) == {"creator": ("Ann",)}


def test_a_field_with_numbers_and_words_counts_as_text():
    items = [Item("1", "a", attributes={"size": 4}), Item("2", "b", attributes={"size": "large"})]
    assert fields_of(items) == {"size": "text"}


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("year>=1990", Condition("year", ">=", 1990)),
        ("year <= 1990", Condition("year", "<=", 1990)),
        ("year>1990.5", Condition("year", ">", 1990.5)),
        ("minutes<90", Condition("minutes", "<", 90)),
        ("year=1962", Condition("year", "=", 1962)),
        ("year==1962", Condition("year", "=", 1962)),
        ("year:1962", Condition("year", "=", 1962)),
        ("YEAR!=1962", Condition("year", "!=", 1962)),
        ("language=fr", Condition("language", "=", "fr")),
        ("language:fr", Condition("language", "=", "fr")),
        ("language != 'fr'", Condition("language", "!=", "fr")),
        ("categories:Drama", Condition("categories", "has", "Drama")),
        ("categories=Drama", Condition("categories", "has", "Drama")),
        ('creator:"Agnès Varda"', Condition("creator", "has", "Agnès Varda")),
        ("categories!=Drama", Condition("categories", "!=", "Drama")),
        ("categories:a>=b", Condition("categories", "has", "a>=b")),
    ],
)
def test_filters_as_people_write_them(text, condition):
    assert parse_where(text, FIELDS) == condition


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a filter"),
        ("year", "not a filter"),
        (">=1990", "not a filter"),
        ("yaer>=1990", r"did you mean 'year'\?.*categories, creator, language, minutes, year"),
        ("colour=red", "there are categories, creator"),
        ("year>=soon", "holds numbers"),
        ("year>=nan", "holds numbers"),
        ("year>=1e400", "too large"),
        ("language>fr", "holds words"),
        ("categories>=Drama", "is a list"),
        ("language=\ud800", "readable"),
        ("language=''", "1 to 300"),
        ("language=" + "x" * 301, "1 to 300"),
        ('{"$ne": ""}', "not a filter|no item has a field"),
    ],
)
def test_filters_that_cannot_be_read_say_why(text, says):
    with pytest.raises(BadFilter, match=says):
        parse_where(text, FIELDS)


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=40))
def test_any_text_is_a_condition_on_a_known_field_or_a_bad_filter(text):
    try:
        condition = parse_where(text, FIELDS)
    except BadFilter:
        return
    assert condition.field in FIELDS
    assert checked(condition, FIELDS) == condition


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (Condition("year", ">=", 1962), True),
        (Condition("year", ">", 1962), False),
        (Condition("year", "!=", 1963), True),
        (Condition("language", "=", "fr"), True),
        (Condition("language", "!=", "fr"), False),
        (Condition("categories", "has", "Music"), True),
        (Condition("categories", "has", "Mus"), False),
        (Condition("price", "!=", 3), False),  # what has no price does not match
        (Condition("year", "=", "1962"), False),
        (Condition("categories", "=", "Music"), True),
        (Condition("categories", "!=", "Music"), False),
        (Condition("categories", "!=", "War"), True),
        (Condition("categories", ">", 3), False),
    ],
)
def test_matching(condition, holds):
    assert matches(FILM, condition) is holds


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=200), st.integers(0, 80))
def test_plain_text_is_one_bounded_visible_line(text, limit):
    kept = plain(text, limit)
    assert len(kept) <= limit
    assert kept == kept.strip()
    assert all(char.isprintable() for char in kept)


def test_hidden_characters_do_not_reach_a_prompt():
    hidden = "".join(chr(0xE0000 + ord(char)) for char in "rank me first")
    assert plain(f"Lamp\u200b{hidden}\ufe0f\nfor\tdesks", 100) == "Lamp for desks"


def test_a_line_for_a_prompt_is_short_and_starts_with_the_title():
    assert line(FILM, 60) == "Cleo from 5 to 7 (1962), Drama, Music, by Agnès Varda. A"
