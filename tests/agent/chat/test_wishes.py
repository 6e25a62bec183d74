"""Wishes: filters that fit the catalogue, words, and nothing that the message wrote itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import sample
from agent.chat.titles import Titles
from agent.chat.wishes import Catalogue, Wish, hear, shown
from agent.recommend.catalogue import checked
from agent.types import Item

FILMS = sample.films()
CATALOGUE, TITLES = Catalogue.of(FILMS), Titles(FILMS)


def heard(text: str, *reference: Item) -> list[str]:
    return [shown(one) for one in hear(text, TITLES.find(text), CATALOGUE, reference).wishes]


@pytest.mark.parametrize(
    ("text", "wishes"),
    [
        ("something slow and quiet, set in space", ["“slow quiet, space”"]),
        (
            "a funny French film from the 60s under 100 minutes",
            ["since 1960", "up to 1969", "at most 100 minutes", "in French", "Comedy"],
        ),
        ("no war, no dusty westerns", ["no War", "no Western"]),
        ("not too scary", ["no Horror"]),
        ("anything but horror", ["no Horror"]),
        ("I am tired of musicals and war films", ["no Musical", "no War"]),
        ("comedy or thriller", ["“comedy thriller”"]),
        ("films by Kurosawa", ["by Akira Kurosawa"]),
        ("something by Hayao Miyazaki please", ["by Hayao Miyazaki"]),
        ("nothing by Clint Eastwood", ["not by Clint Eastwood"]),
        ("between 1950 and 1960", ["since 1950", "up to 1960"]),
        ("before 1960", ["before 1960"]),
        ("since 2010", ["since 2010"]),
        ("from 1994", ["from 1994"]),
        ("less than two hours", ["at most 120 minutes"]),
        ("over 2 hours", ["at least 120 minutes"]),
        ("surprise me", ["surprising"]),
        ("I want something familiar", ["familiar"]),
        ("in Korean", ["in Korean"]),
        ("not in English", ["not in English"]),
        ("a movie about a lonely robot", ["“lonely robot”"]),
        ("我想看科幻片", ["Science Fiction"]),
        ("不要恐怖片", ["no Horror"]),
        ("80年代的日本电影", ["since 1980", "up to 1989", "in Japanese"]),
        ("推荐一部关于孤独机器人的", ["“关于孤独机器人”"]),
        ("some recent dramas", ["Drama", "since 2015"]),
        ("something newer, do you know any newer films?", ["since 2015"]),
        ("not the new one", []),
        ("Past or present, it doesn't matter", ["“Past present”"]),
        ("hi, could you provide a few terrible suggestions?", []),
        ("hi", []),
        ("thanks a lot!", []),
        ("what should I watch tonight?", []),
        ("", []),
    ],
)
def test_what_is_wished_for(text, wishes):
    assert heard(text) == wishes


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("shorter", "under 117 minutes"),
        ("something newer", "after 1979"),
        ("not so old", "after 1979"),
        ("nothing too old please", "after 1979"),
        ("older ones", "before 1979"),
        ("短一点", "under 117 minutes"),
    ],
)
def test_shorter_and_newer_are_held_against_what_was_shown(text, wish):
    known = Item("x", "X", attributes={"year": 1979, "minutes": 117})
    assert heard(text, known) == [wish]


@pytest.mark.parametrize(
    ("text", "wishes", "notes"),
    [
        ("comedies but not grossout comedies", ["Comedy"], ["the catalogue cannot tell “grossout comedies” apart"]),
        ("a comedy, but no romantic comedies", ["Comedy", "no Romance"], []),
        ("horror, but not horror about clowns", ["Horror"], ["the catalogue cannot tell “horror about clowns” apart"]),
        ("comedies, not comedies about war", ["Comedy", "no War"], []),
        ("comedies but no horror", ["Comedy", "no Horror"], []),
        ("no silly comedies", ["no Comedy"], []),
        ("no comedies tonight", ["no Comedy"], []),
    ],
)
def test_leaving_out_some_of_a_kind_that_is_wanted_leaves_the_kind(text, wishes, notes):
    found = hear(text, TITLES.find(text), CATALOGUE)
    assert ([shown(one) for one in found.wishes], list(found.notes)) == (wishes, notes)


@pytest.mark.parametrize(("text", "wishes"), [("no silly comedies", []), ("no comedies", ["no Comedy"])])
def test_what_was_asked_for_before_counts_as_wanted(text, wishes):
    assert [shown(one) for one in hear(text, (), CATALOGUE, wanted=["Comedy"]).wishes] == wishes


@pytest.mark.parametrize(
    ("text", "wishes", "without"),
    [
        ("a thriller without zombies or clowns", ["Thriller"], "zombies or clowns"),
        ("something about dogs, nothing with zombies", ["“dogs”"], "zombies"),
        ("no clowns please", [], "clowns"),
        ("way too much violence", [], "violence"),
        ("nothing with zombies and no horror", ["no Horror"], "zombies"),
        ("没有僵尸的电影", [], "僵尸"),
    ],
)
def test_words_for_what_is_not_wanted_are_not_searched_with(text, wishes, without):
    found = hear(text, (), CATALOGUE)
    assert [shown(one) for one in found.wishes] == wishes
    assert list(found.notes) == [f"the catalogue does not say what is without “{without}”"]


@pytest.mark.parametrize("text", ["no idea, something good", "not too long ago", "有没有好看的"])
def test_figures_of_speech_leave_nothing_out(text):
    assert hear(text, (), CATALOGUE).notes == ()
    assert hear(text, (), CATALOGUE).wishes == ()


@pytest.mark.parametrize("text", ["Alright.", "goodnight!", "Meh", "换一批", "pretty much all of it"])
def test_chatter_is_not_searched_with(text):
    assert heard(text) == []


@pytest.mark.parametrize(("text", "newer"), [("have you seen the new Alien?", False), ("something new", True)])
def test_new_before_a_title_names_it(text, newer):
    assert bool([one for one in heard(text) if one.startswith("since")]) is newer


def test_a_title_by_its_marks_that_is_not_there_is_said_and_not_searched_with():
    found = hear("我喜欢《不存在的片子》", (), CATALOGUE)
    assert found.wishes == ()
    assert found.notes == ("the catalogue has nothing called “不存在的片子”",)


def test_too_much_of_a_kind_is_not_wanted():
    assert heard("way to much romance in it") == ["no Romance"]


def test_a_kind_that_is_said_twice_is_one_wish():
    assert heard("good action movies, anything packed with action") == ["Action"]


def test_short_without_anything_to_compare_is_held_against_the_catalogue():
    assert heard("something short") == [f"at most {CATALOGUE.quantile('minutes', 0.25):g} minutes"]


def test_what_the_catalogue_does_not_know_is_said():
    bare = Catalogue.of([Item("a", "A", categories=("Drama",)), Item("b", "B", categories=("War",))])
    found = hear("a drama under 90 minutes, from the 60s, cheaper", [], bare)
    assert [shown(one) for one in found.wishes] == ["Drama"]
    assert found.notes == (
        "the catalogue does not say how long an item takes",
        "the catalogue does not say what an item costs",
    )


def test_prices():
    shop = Catalogue.of(
        [Item(f"i{n}", f"Thing {n}", categories=("Tea",), attributes={"price": 5.0 * n}) for n in range(1, 21)]
    )
    assert [shown(one) for one in hear("tea under $20", [], shop).wishes] == ["at most 20", "Tea"]
    assert [one.slot for one in hear("something cheap", [], shop).wishes] == ["price<"]


@pytest.mark.parametrize(
    ("wish", "chinese"),
    [
        (hear("no horror", [], CATALOGUE).wishes[0], "不要恐怖"),
        (hear("before 1960", [], CATALOGUE).wishes[0], "1960年以前"),
        (hear("under 90 minutes", [], CATALOGUE).wishes[0], "不超过90分钟"),
        (Wish("like", like=("a",)), "类似《A》"),
        (Wish("surprise", surprise=0.9), "换换口味"),
    ],
)
def test_a_chip_in_chinese(wish, chinese):
    assert shown(wish, "zh", {"a": "A"}) == chinese


@given(st.text(max_size=200))
def test_every_filter_is_one_that_the_catalogue_has(text):
    for one in hear(text, TITLES.find(text), CATALOGUE, FILMS[:3]).wishes:
        if one.condition:
            assert checked(one.condition, CATALOGUE.fields).field == one.condition.field
        assert len(one.words) <= 200


@pytest.mark.parametrize(
    "text", ['{"$ne": ""}', "categories:Drama; DROP TABLE items", "where year>=1 or 1=1", "{{7*7}}"]
)
def test_what_looks_like_a_query_is_only_words(text):
    assert all(
        one.condition is None or one.condition.field in CATALOGUE.fields for one in hear(text, [], CATALOGUE).wishes
    )
