from __future__ import annotations

import pytest

from agent import sample
from agent.errors import BadFilter, UsageError
from agent.searching import search
from agent.types import Item


@pytest.fixture
def rapport(shop):
    return shop(sample.films(), sample.events())


def ids(found) -> list[str]:
    return [one.id for one in found.items]


def test_titles_first_then_what_is_close(rapport):
    found = search(rapport, "seven samurai", n=5)
    assert ids(found)[0] == "seven-samurai-1954"
    assert len(set(ids(found))) == 5
    assert not found.degraded


def test_filters_hold_for_both(rapport):
    found = search(rapport, "a", where=["year<1950", "categories:Comedy"], n=20)
    assert found.items
    assert all(one.attributes["year"] < 1950 and "Comedy" in one.categories for one in found.items)


def test_without_words_everything_by_id_page_by_page(rapport):
    seen: list[str] = []
    while page := ids(search(rapport, n=100, after=seen[-1] if seen else "")):
        seen += page
    assert seen == sorted(one.id for one in sample.films())


def test_without_an_index_titles_are_still_found(shop):
    rapport = shop(sample.films(), index=False)
    found = search(rapport, "rififi")
    assert ids(found) == ["rififi-1955"]
    assert "rapport index" in found.degraded


@pytest.mark.parametrize("words", ["%", "_", "100%", "\\", "'", '"; DROP TABLE items; --'])
def test_words_are_data(shop, words):
    rapport = shop([Item("a", "Plain"), Item("b", f"It is {words} here")], index=False)
    assert ids(search(rapport, words)) == ["b"]


def test_what_cannot_be_answered(rapport):
    with pytest.raises(UsageError):
        search(rapport, n=0)
    with pytest.raises(BadFilter):
        search(rapport, where=["colour=red"])
