from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.features import Population, features, kind_of, quantiles, singular, survey, value_of, words
from agent.types import Item

HEAT = Item("1", "Heat", "A thief plans robberies; the thief's rival, Neil, plans too.", ("Crime", "Drama"),
            {"year": 1995, "creator": ("Michael Mann",), "language": "en"})  # fmt: skip


def test_an_items_features_in_a_fixed_order():
    found = features(HEAT, Population(languages=("en",)))
    assert found[:4] == ("category:Crime", "category:Drama", "creator:Michael Mann", "decade:1990s")
    assert "language:en" not in found
    assert "language:en" in features(HEAT, Population())
    assert "word:thief" in found
    assert "word:robbery" in found
    assert not any("neil" in one for one in found)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("plural", "one"),
    [("robots", "robot"), ("cities", "city"), ("series", "series"), ("zombies", "zombie"), ("movies", "movie"),
     ("boxes", "box"), ("witches", "witch"), ("dresses", "dress"), ("houses", "house"), ("glass", "glass"),
     ("virus", "virus"),
     ("gas", "gas"), ("crisis", "crisis"), ("thief's", "thief"), ("christmas", "christmas"),
     ("headaches", "headache"),
     ("shoes", "shoe")],
)  # fmt: skip
def test_plurals_count_with_their_singular(plural, one):
    assert singular(plural) == one


def test_a_words_other_places_are_not_counted_twice():
    item = Item("1", "Heat", "A crime drama of a heist and the people in it.", ("Crime",))
    assert "crime" not in words(item)
    assert "heist" in words(item)
    assert "film" not in words(Item("1", "x", "this film is about a film"))


def test_a_long_title_describes_and_a_short_one_names():
    lamp = "Bamboo desk lamp with dimmer and charging port"
    assert "bamboo" in words(Item("1", lamp))
    assert words(Item("1", "Bamboo")) == ()


@pytest.mark.parametrize("made", ["Michael Mann", ("Michael Mann",)])
def test_a_creator_may_be_one_or_many(made):
    assert "creator:Michael Mann" in features(Item("1", "x", attributes={"creator": made}), Population())


@pytest.mark.parametrize(
    "attributes",
    [{"creator": 7}, {"creator": ""}, {"creator": ()}, {"year": float("nan")}, {"year": float("inf")}, {"year": "1995"},
     {"price": float("nan")}, {"language": ""}, {"language": 3}, {"year": 10**12}],
)  # fmt: skip
def test_odd_attributes_are_no_obstacle(attributes):
    found = features(
        Item("1", "x", categories=("",), attributes=attributes), Population(extremes={"price": (1.0, 2.0)})
    )
    assert all(kind_of(one) in ("creator", "language") and value_of(one) for one in found)


def test_only_the_extremes_of_a_scale_are_features():
    population = Population(extremes={"price": (10.0, 50.0)})

    def at(price):
        return features(Item("1", "x", attributes={"price": price}), population)

    assert (at(5), at(10), at(20), at(50), at(99)) == (
        ("price:low",),
        ("price:low",),
        (),
        ("price:high",),
        ("price:high",),
    )
    assert features(Item("1", "x", attributes={"price": 5}), Population(extremes={"price": (5.0, 5.0)})) == ()


def test_quantiles_need_enough_items_and_ignore_what_is_no_number():
    few = [Item(str(n), "x", attributes={"price": n}) for n in range(19)]
    assert quantiles(few, "price", (0.25, 0.75)) is None
    many = [Item(str(n), "x", attributes={"price": float(n)}) for n in range(100)]
    many += [Item("a", "x", attributes={"price": float("nan")}), Item("b", "x", attributes={"price": "cheap"})]
    assert quantiles(many, "price", (0.25, 0.75)) == (25.0, 75.0)


def test_a_survey_counts_events_and_keeps_what_is_shared():
    items = [HEAT, Item("2", "Ronin", "A thief again, alone.", ("Crime",)), Item("3", "", "no title", ("Ghost",))]
    found = survey(items, {"1": 6})
    assert found.events == pytest.approx(6.1)
    assert found.features["category:Crime"] == pytest.approx(6.1)
    assert found.features["category:Drama"] == 6
    assert "category:Ghost" not in found.features
    assert "word:thief" in found.features
    assert "word:alone" not in found.features
    assert found.share("category:Crime") > found.share("category:Drama") > found.share("category:Unheard") > 0
    assert found.share("category:Crime") < 1


def test_the_main_language_says_nothing():
    films = [Item(str(n), "x", attributes={"language": "en" if n < 8 else "ja"}) for n in range(10)]
    found = survey(films, {})
    assert found.languages == ("en",)
    assert "language:en" not in found.features
    assert "language:ja" in found.features


@given(st.text(max_size=200), st.text(max_size=80), st.lists(st.text(max_size=20), max_size=4))
def test_every_item_has_features(text, title, categories):
    found = features(Item("1", title, text, tuple(categories)), Population())
    assert len(set(found)) == len(found)
    assert all(value_of(one) for one in found)
