from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.recommend.diversify import DiversifyConfig, diversify, series
from agent.types import Candidate, Item


def candidate(id: str, title: str = "", creator: str = "") -> Candidate:
    return Candidate(
        Item(id, title or f"Title {id} of many", attributes={"creator": (creator,)} if creator else {}), 1.0
    )


def unit(*values: float) -> np.ndarray:
    vector = np.asarray(values, dtype=np.float32)
    return vector / np.linalg.norm(vector)


VECTORS = st.lists(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: sum(map(abs, v)) > 0.1), max_size=12)


@settings(deadline=None, derandomize=True)
@given(VECTORS, st.integers(0, 15), st.floats(0, 1), st.integers(1, 3))
def test_it_is_always_a_permutation_and_always_the_same_one(rows, n, relevance, per_group):
    items = [candidate(str(at), creator=f"maker {at % 2}") for at in range(len(rows))]
    vectors = {str(at): unit(*row) for at, row in enumerate(rows) if at % 3}
    config = DiversifyConfig(relevance=relevance, per_group=per_group)
    result = diversify(items, vectors, n, config)
    assert sorted(one.item.id for one in result) == sorted(one.item.id for one in items)
    assert result == diversify(items, vectors, n, config)


def test_with_relevance_alone_the_order_stays():
    items = [candidate(str(at)) for at in range(8)]
    vectors = {str(at): unit(1, 0) for at in range(8)}
    assert diversify(items, vectors, 5, DiversifyConfig(relevance=1)) == items


def test_a_copy_of_what_is_chosen_waits():
    items = [candidate("a"), candidate("copy"), candidate("other")]
    vectors = {"a": unit(1, 0), "copy": unit(1, 0.01), "other": unit(0, 1)}
    result = diversify(items, vectors, 2, DiversifyConfig(relevance=0.5))
    assert [one.item.id for one in result] == ["a", "other", "copy"]


def test_the_first_candidate_stays_first():
    items = [candidate(str(at)) for at in range(5)]
    vectors = {str(at): unit(1, at) for at in range(5)}
    assert diversify(items, vectors, 3)[0] == items[0]


def test_no_creator_takes_more_than_their_share_while_there_are_others():
    items = [candidate(str(at), creator="Ann") for at in range(8)] + [candidate("x"), candidate("y")]
    result = diversify(items, {}, 4, DiversifyConfig(relevance=1, per_group=2))
    assert [one.item.id for one in result[:4]] == ["0", "1", "x", "y"]


def test_without_others_the_list_is_full_all_the_same():
    items = [candidate(str(at), creator="Ann") for at in range(8)]
    result = diversify(items, {}, 4, DiversifyConfig(per_group=1))
    assert [one.item.id for one in result[:4]] == ["0", "1", "2", "3"]


def test_the_tail_keeps_its_order():
    items = [candidate(str(at)) for at in range(30)]
    vectors = {str(at): unit(1, at % 3) for at in range(30)}
    result = diversify(items, vectors, 2, DiversifyConfig(relevance=0, pool=3))
    assert [one.item.id for one in result[2:]] == [str(at) for at in range(30) if items[at] not in result[:2]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alien (1979)", "Alien 3 (1992)"),
        ("Rocky", "Rocky IV"),
        ("Lord of the Rings: The Two Towers, The (2002)", "Lord of the Rings: The Return of the King, The (2003)"),
        ("Friday the 13th Part 3: 3D (1982)", "Friday the 13th Part VI: Jason Lives (1986)"),
    ],
)
def test_parts_of_a_series_belong_together(one, other):
    assert series(Item("1", one)) == series(Item("2", other)) != ""


@pytest.mark.parametrize("title", ["It (1990)", "1984", "300"])
def test_a_short_rest_of_a_title_is_no_series(title):
    assert series(Item("1", title)) == ""


def test_the_catalogue_knows_its_series_best():
    assert series(Item("1", "Casino Royale", attributes={"series": "James Bond"})) == "james bond"
