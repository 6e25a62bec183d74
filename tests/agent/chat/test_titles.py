"""Mentions: found where they are, also misspelt or partial, and nowhere else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.chat.titles import MOST_MEANT, Titles, fold
from agent.types import Item

FILMS = [
    ("t2", "Terminator 2: Judgment Day (1991)"),
    ("t1", "Terminator, The (1984)"),
    ("lotr1", "Lord of the Rings: The Fellowship of the Ring, The (2001)"),
    ("lotr2", "Lord of the Rings: The Two Towers, The (2002)"),
    ("lotr3", "Lord of the Rings: The Return of the King, The (2003)"),
    ("sw4", "Star Wars: Episode IV - A New Hope (1977)"),
    ("sw5", "Star Wars: Episode V - The Empire Strikes Back (1980)"),
    ("it17", "It (2017)"),
    ("it90", "It (1990)"),
    ("up", "Up (2009)"),
    ("her", "Her (2013)"),
    ("us", "Us (2019)"),
    ("heat", "Heat (1995)"),
    ("frozen", "Frozen (2013)"),
    ("moana", "Moana (2016)"),
    ("alien", "Alien (1979)"),
    ("aliens", "Aliens (1986)"),
    ("shawshank", "Shawshank Redemption, The (1994)"),
    ("sharknado", "Sharknado (2013)"),
    ("amelie", "Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)"),
    ("seven", "Seven (a.k.a. Se7en) (1995)"),
    ("spider2", "Spider-Man 2 (2004)"),
    ("god2", "Godfather: Part II, The (1974)"),
    ("ryan", "Saving Private Ryan (1998)"),
    ("others", "Others, The (2001)"),
    ("taxi", "Taxi Driver (1976)"),
    ("bruce", "Bruce (1996)"),
    ("toy1", "Toy Story (1995)"),
    ("toy2", "Toy Story 2 (1999)"),
    ("concubine", "霸王别姬 (1993)"),
    ("hero", "英雄 (2002)"),
]
TITLES = Titles([Item(id, title) for id, title in FILMS], [id for id, _ in FILMS])


def found(text: str) -> list[str]:
    return [one.item for one in TITLES.find(text)]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("that sharknado movie", ["sharknado"]),
        ("Terminater 2 (1991)", ["t2"]),
        ("I saw Terminator (1984)", ["t1"]),
        ("I loved lotr two towers", ["lotr2"]),
        ("the two towers", ["lotr2"]),
        ("the shawshank redemtion is my favourite", ["shawshank"]),
        ("shaw shank redemption", ["shawshank"]),
        ("spiderman 2 was good", ["spider2"]),
        ("the godfather part 2", ["god2"]),
        ("private ryan", ["ryan"]),
        ("Amélie", ["amelie"]),
        ("se7en", ["seven"]),
        ("It (2017)", ["it17"]),
        ("It (1990)", ["it90"]),
        ("I saw Her last night", ["her"]),
        ("I loved Up", ["up"]),
        ("Heat", ["heat"]),
        ("I like frozen, moana and heat", ["frozen", "moana", "heat"]),
        ("i liked alien and aliens", ["alien", "aliens"]),
        ("toy story 1 and toy story 2", ["toy1", "toy2"]),
        ("“her” and 'us'", ["her", "us"]),
        ("我喜欢霸王别姬", ["concubine"]),
        ("我喜欢《英雄》", ["hero"]),
    ],
)
def test_a_title_is_found_however_it_is_written(text, items):
    assert found(text) == items


@pytest.mark.parametrize(
    "text",
    [
        "have you seen it? tell us more about her, up to you",
        "I like alien movies and taxi rides",
        "I want a comedy or a thriller",
        "how about a movie with Bruce Willis",
        "he is a taxi driver",
        "what about the others?",
        "It was great. UP NEXT!",
        "I was frozen to death",
        "it (2005)",
        "Terminator 2 (1950)",
        "I like movies Up!",
        "这是我的英雄",
        "",
        "!!!",
    ],
)
def test_everyday_words_are_no_titles(text):
    assert found(text) == []


def test_british_and_american_spellings_are_one():
    both = Titles([Item("totoro", "My Neighbor Totoro (1988)"), Item("colour", "The Colour of Money")])
    assert [one.item for one in both.find("I loved my neighbour totoro")] == ["totoro"]
    assert [one.item for one in both.find("the color of money was great")] == ["colour"]


def test_a_series_is_one_mention_that_is_not_sure():
    (one,) = TITLES.find("lotr")
    assert one.items == ("lotr1", "lotr2", "lotr3")
    assert not one.sure
    assert one.how == "part"
    (wars,) = TITLES.find("I love star wars")
    assert wars.items == ("sw4", "sw5")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("i think i want a star wars movie but i dont know which one", 3),
        ("any star wars films?", 3),
        ("the star wars of my youth", 0),
        ("a road trip movie", 0),
    ],
)
def test_a_movie_of_a_series_is_asked_for_in_small_letters(text, found):
    names = ("Star Wars", "Star Wars: Phantom", "Star Wars: Clones", "Road Trip", "Road Trip: Beer Pong")
    mentions = Titles([Item(f"{n}", name) for n, name in enumerate(names)]).find(text)
    assert [len(one.items) for one in mentions] == [found] * bool(found)
    assert all(text[one.start : one.end] == "star wars" for one in mentions)


def test_a_mention_says_where_it_stands_and_how_it_was_found():
    text = "I saw the Terminater 2 (1991) twice"
    (one,) = TITLES.find(text)
    assert text[one.start : one.end].strip() in ("the Terminater 2 (1991)", "Terminater 2 (1991)")
    assert one.how == "spelling"
    assert one.sure


def test_of_one_name_the_popular_one_is_meant_and_without_an_order_the_newest():
    films = [Item("old", "Dune (1984)"), Item("new", "Dune (2021)")]
    assert [one.item for one in Titles(films, ["old", "new"]).find("I saw Dune")] == ["old"]
    assert [one.item for one in Titles(films).find("I saw Dune")] == ["new"]


def test_the_year_may_stand_in_an_attribute():
    titles = Titles([Item("a", "Dune", attributes={"year": 1984}), Item("b", "Dune", attributes={"year": 2021})])
    assert [one.item for one in titles.find("Dune (1984)")] == ["a"]


def test_words_of_the_catalogue_s_own_descriptions_are_ordinary():
    told = [Item(f"x{n}", f"Film number {n}x", text="a brick in the wall and a brick in the road") for n in range(3)]
    titles = Titles([*told, Item("brick", "Brick (2005)")])
    assert not titles.find("he threw a brick")
    assert [one.item for one in titles.find("I watched Brick")] == ["brick"]


def test_cost_does_not_grow_with_the_catalogue():
    """Ten times the titles: looking up stays within a few times, because only unknown words are compared with all."""

    def catalogue(size: int) -> Titles:
        return Titles([Item(f"i{n}", f"Story {n:x} of the {n * 7919:x} Lantern{n % 97}") for n in range(size)])

    small, large = catalogue(500), catalogue(5_000)
    text = "I loved the storry of lantern33 and something like it, but shorter, please, my freind " * 4

    def cost(titles: Titles) -> float:
        started = time.process_time()
        for _ in range(5):
            titles.find(text)
        return time.process_time() - started

    cost(small)
    assert cost(large) < 30 * cost(small) + 0.5


@given(st.text(max_size=300))
def test_any_text_gives_mentions_that_lie_in_it_and_do_not_overlap(text):
    end = 0
    for one in TITLES.find(text):
        assert end <= one.start < one.end <= len(text)
        assert 1 <= len(one.items) <= MOST_MEANT
        end = one.end


@pytest.mark.parametrize(
    ("word", "folded"), [("Amélie", "amelie"), ("&", "and"), ("L.A", "la"), ("Schindler’s", "schindlers")]
)
def test_one_spelling(word, folded):
    assert fold(word) == folded


def test_a_title_without_letters_is_in_the_way_of_nothing():
    titles = Titles(
        [Item("x", "!!!"), Item("y", "—"), Item("heat", "Heat", attributes={"year": 1995})], ["x", "y", "heat"]
    )
    assert [one.item for one in titles.find("!!! I loved Heat — !!!")] == ["heat"]
