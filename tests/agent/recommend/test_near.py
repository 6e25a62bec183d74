from __future__ import annotations

import numpy as np
import pytest

from agent.errors import StoreError
from agent.recommend import near
from agent.recommend.near import EACH, SPARE, Near
from agent.types import Item
from vectorstore.base import Document, VectorStoreError
from vectorstore.exact import ExactStore

SIZE = 200
IDS = [f"i{number}" for number in range(SIZE)]


class Counting(ExactStore):
    """Remembers how many vectors were searched for."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self.searched = 0

    def search(self, vectors, k, *, where=(), exclude=()):
        self.searched += len(vectors)
        return super().search(vectors, k, where=where, exclude=exclude)


@pytest.fixture
def index():
    store = Counting(8)
    store.upsert(
        [Document(id, id, {}) for id in IDS], np.random.default_rng(3).normal(size=(SIZE, 8)).astype(np.float32)
    )
    return store


def catalogue(wanted) -> dict[str, Item]:
    return {id: Item(id, f"Title {id}", "A text.", ("Drama",)) for id in wanted}


def ids(items) -> set[str]:
    found = [item.id for item in items]
    assert len(set(found)) == len(found)
    return set(found)


def straight(index: ExactStore, items, leave_out) -> set[str]:
    """What the index says when it is asked anew."""
    vectors = np.stack(list(index.vectors(items).values()))
    return {hit.id for hits in index.search(vectors, EACH, exclude=leave_out) for hit in hits}


@pytest.mark.parametrize("left_out", [0, 5, SPARE, 120, SIZE - 3])
def test_what_is_remembered_is_what_the_index_says(index, left_out):
    remembered = Near(index, catalogue)
    for items in (IDS[:5], IDS[3:9], IDS[:9]):
        for _ in range(2):
            assert ids(remembered(items, IDS[:left_out])) == straight(index, items, IDS[:left_out])


def test_an_item_is_searched_for_once(index):
    remembered = Near(index, catalogue)
    remembered(IDS[:4], IDS[:4])
    assert index.searched == 4
    remembered(IDS[:6], IDS[:8])
    assert index.searched == 6


def test_only_who_has_had_nearly_all_there_makes_the_index_look_further(index):
    remembered = Near(index, catalogue)
    (hits,) = index.search(index.vectors(["i0"])["i0"][None], EACH + SPARE)
    around = [hit.id for hit in hits]
    remembered(["i0"], [])
    before = index.searched
    remembered(["i0"], around[:SPARE])
    assert index.searched == before
    remembered(["i0"], around[: SPARE + 1])
    assert index.searched == before + 1


def test_an_item_without_a_vector_has_no_neighbours(index):
    remembered = Near(index, catalogue)
    assert remembered(["nowhere"], []) == []
    assert ids(remembered(["nowhere", "i1"], [])) == straight(index, ["i1"], [])
    assert remembered([], []) == []


def test_the_least_recently_used_is_given_up(index, monkeypatch):
    monkeypatch.setattr(near, "MOST", 2)
    remembered = Near(index, catalogue)
    remembered(["i1", "i2"], [])
    remembered(["i1"], [])
    remembered(["i3"], [])
    assert index.searched == 3
    remembered(["i1", "i3"], [])
    assert index.searched == 3
    remembered(["i2"], [])
    assert index.searched == 4


def test_an_index_that_fails_is_a_store_error_and_nothing_is_remembered(index, monkeypatch):
    remembered = Near(index, catalogue)

    def broken(*_, **__):
        raise VectorStoreError("gone")

    monkeypatch.setattr(index, "search", broken)
    with pytest.raises(StoreError, match="gone"):
        remembered(["i1"], [])
    monkeypatch.undo()
    assert ids(remembered(["i1"], [])) == straight(index, ["i1"], [])


def test_the_catalogue_is_asked_once_for_a_neighbour_and_its_text_is_not_kept(index):
    asked = []

    def asking(wanted):
        asked.extend(wanted)
        return catalogue(wanted)

    remembered = Near(index, asking)
    first, again = remembered(IDS[:5], []), remembered(IDS[:5], [])
    assert first == again
    assert len(asked) == len(set(asked)) == len(first)
    assert {(item.text, item.categories) for item in first} == {("", ("Drama",))}
