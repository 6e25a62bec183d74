from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.labels import called, calls, experienced, label, listing, miswritten, noun, plural, shown, spoken, title


@pytest.mark.parametrize(
    ("feature", "english", "spoken_english", "chinese"),
    [
        ("category:Drama", "Drama", "drama", "剧情"),
        ("category:Sci-Fi", "Sci-Fi", "sci-fi", "科幻"),
        ("category:IMAX", "IMAX", "IMAX", "IMAX"),
        ("category:Toys & Games", "Toys & Games", "toys & games", "Toys & Games"),
        ("creator:Akira Kurosawa", "Akira Kurosawa", "Akira Kurosawa", "Akira Kurosawa"),
        ("word:robot", "robot", "robot", "robot"),
        ("decade:1990s", "1990s", "the 1990s", "1990年代"),
        ("language:ja", "Japanese-language", "Japanese-language", "日语作品"),
        ("language:xx", "xx-language", "xx-language", "xx作品"),
        ("price:low", "low prices", "low prices", "低价"),
        ("minutes:high", "long running times", "long running times", "长片"),
        ("creator:A: B", "A: B", "A: B", "A: B"),
        ("", "", "", ""),
    ],
)
def test_features_have_names(feature, english, spoken_english, chinese):
    assert (label(feature), spoken(feature)) == (english, spoken_english)
    assert (label(feature, "zh"), spoken(feature, "zh")) == (chinese, chinese)


@pytest.mark.parametrize(
    ("one", "many"),
    [("film", "films"), ("story", "stories"), ("essay", "essays"), ("anime", "anime"), ("series", "series"),
     ("box", "boxes"),
     ("dish", "dishes"), ("class", "classes"), ("y", "ys"), ("", "s")],
)  # fmt: skip
def test_plurals(one, many):
    assert plural(one) == many


@pytest.mark.parametrize(
    ("names", "english", "chinese"),
    [([], "", ""), (["a"], "a", "a"), (["a", "b"], "a and b", "a和b"), (["a", "b", "c"], "a, b and c", "a、b和c")],
)
def test_listings(names, english, chinese):
    assert listing(names) == english
    assert listing(names, "zh") == chinese


def test_nouns_titles_and_verbs():
    assert noun("film") == "film"
    assert noun("film", "zh") == "电影"
    assert noun("recipe", "zh") == "内容"
    assert title("Heat") == "Heat"
    assert title("Heat", "zh") == "《Heat》"
    assert experienced("book") == "read"
    assert experienced("recipe") == "chose"


@given(st.text())
def test_showing_changes_at_most_the_first_letter(text):
    assert shown(text)[1:] == text[1:]
    assert len(shown(text)) == len(text)


def test_a_letter_without_a_capital_stays():
    assert shown("ßeta") == "ßeta"
    assert shown("drama") == "Drama"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Breathless (À bout de souffle)", "Breathless"),
        ("Porco Rosso (Crimson Pig) (Kurenai no buta)", "Porco Rosso"),
        ("(500) Days of Summer", "(500) Days of Summer"),
        ("(untitled)", "(untitled)"),
        ("Birdman (or) Ignorance", "Birdman (or) Ignorance"),
        ("Heat", "Heat"),
        ("", ""),
        ("Three Billboards Outside Ebbing, Missouri", "Three Billboards Outside Ebbing, Missouri"),
        ("Tuner for Strings , Black", "Tuner for Strings, Black"),
        ("10,000 Days", "10,000 Days"),
        ("Songs from the North –", "Songs from the North"),
        ("Urnor Nail Care Drying Drops, 0.4 oz (12 g), for Hands and Feet, Clear", "Urnor Nail Care Drying Drops"),
        ("Bexo Guitar Pedal Supply - 12 V, eight outputs, made of steel", "Bexo Guitar Pedal Supply"),
        (
            "Red, blue and green storage bags for a very large kitchen",
            "Red, blue and green storage bags for a very large kitchen",
        ),
        ("---", "---"),
        ("Bexo Basics Charger 12W (5V, 2.4 A) for Tablets and Phones, White", "Bexo Basics Charger 12W"),
    ],
)
def test_titles_as_people_say_them(name, short):
    assert called(name) == short


def test_a_title_may_be_told_without_the_full_stop_that_ends_it():
    assert calls("Nothing Is Known.") == ("Nothing Is Known.", "Nothing Is Known")
    assert calls("Monsters, Inc.") == ("Monsters, Inc.", "Monsters, Inc")
    assert calls("Heat") == ("Heat",)
    assert calls(".") == (".",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A man escaped, and this is a war film, too.", ["A Man Escaped"]),
        ("You liked A Man Escaped, and a man escaped here, too.", []),
        ("Nobody is told of.", []),
    ],
)
def test_a_title_told_in_other_letters_is_found(text, found):
    assert miswritten(text, ["A Man Escaped", "Up"]) == found
