"""The question in return: the one whose answer narrows the candidates most."""

from __future__ import annotations

import math

import pytest

from agent.chat.question import LEAST_GAIN, MOST_OPTIONS, asking, best
from agent.types import Item


def film(number: int, category: str, year: int = 2000, language: str = "en") -> Item:
    return Item(f"i{number}", f"Film {number}", categories=(category,), attributes={"year": year, "language": language})


def test_the_kind_that_splits_best_is_asked_for():
    items = [film(n, ("Drama", "Comedy", "War", "Crime")[n % 4], 2001) for n in range(40)]
    found = best(items)
    assert found
    assert (found.slot, found.gain) == ("category", pytest.approx(2.0))
    by_decade = [film(n, "Drama", 1900 + 10 * (n % 8)) for n in range(40)]
    assert best(by_decade).slot == "decade"


def test_gain_is_what_an_answer_is_worth_on_average():
    items = [film(n, "Drama" if n < 30 else "War") for n in range(40)]
    found = asking("category", items)
    assert found
    assert found.gain == pytest.approx(0.75 * math.log2(40 / 30) + 0.25 * math.log2(4))
    assert [(one.text, one.share) for one in found.options] == [("Drama", 0.75), ("War", 0.25)]


def test_what_is_known_is_not_asked_again():
    items = [film(n, "Drama" if n % 2 else "War", 1950 + 10 * (n % 5)) for n in range(40)]
    assert best(items).slot == "decade"
    assert best(items, {"decade"}).slot == "category"
    assert best(items, {"decade", "category"}) is None


@pytest.mark.parametrize("items", [[], [film(1, "Drama")], [film(n, "Drama") for n in range(9)]])
def test_a_question_with_one_answer_is_none(items):
    assert best(items) is None


def test_hardly_worth_it_is_not_asked():
    items = [film(n, "War" if n < 2 else "Drama") for n in range(100)]
    assert asking("category", items).gain < LEAST_GAIN
    assert best(items) is None


def test_options_are_few_and_in_the_person_s_language():
    found = asking(
        "language",
        [film(n, "Drama", language=("en", "fr", "ja", "ko", "de", "it", "es", "zh")[n % 8]) for n in range(16)],
        "zh",
    )
    assert len(found.options) == MOST_OPTIONS
    assert found.options[0].text == "英语作品"
