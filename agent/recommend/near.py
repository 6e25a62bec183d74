"""What lies around items in the index, remembered: people like the same items, and a catalogue changes rarely.

Knows the index and the catalogue; knows no person and no model.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from agent.recommend.retrieve import index_errors
from agent.types import Item
from vectorstore.base import VectorStore

EACH = 10
"""Neighbours of one item."""
SPARE = 50
"""Remembered beyond those for each item, because some of them are left out."""
MOST = 20_000
"""Items whose neighbours are remembered, and neighbours that are: the last used ones, some 10 MB of each."""

X = TypeVar("X")


class Near:
    """The neighbours of items in `index`, for as long as nothing is written to it. `items` finds catalogue entries."""

    def __init__(self, index: VectorStore, items: Callable[[Sequence[str]], Mapping[str, Item]]) -> None:
        self._index = index
        self._items = items
        self._around = Remembered(lambda ids: self._search(ids, EACH + SPARE))
        # Texts are long, and nobody reads them here.
        self._entries = Remembered(lambda ids: {id: replace(one, text="") for id, one in self._items(ids).items()})

    def __call__(self, items: Sequence[str], leave_out: Collection[str]) -> list[Item]:
        """The EACH nearest of each of `items` that are not to be left out, once each and without their texts; an item
        without a vector has none. Raises StoreError."""
        return list(self._entries(sorted(self._nearest(items, leave_out))).values())

    def _nearest(self, items: Sequence[str], leave_out: Collection[str]) -> set[str]:
        left_out = set(leave_out)
        found: set[str] = set()
        short: list[str] = []
        for item, around in self._around(list(dict.fromkeys(items))).items():
            allowed = [one for one in around if one not in left_out][:EACH]
            if len(allowed) == EACH:
                found.update(allowed)
            elif around:
                short.append(item)
        # Who has had most of what lies there must look further.
        return found.union(*self._search(short, EACH, leave_out).values())

    def _search(self, items: Sequence[str], n: int, leave_out: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
        """The `n` nearest of each of `items`; () for one that has no vector."""
        if not items:
            return {}
        with index_errors():
            vectors = self._index.vectors(items)
            found = self._index.search(np.stack(list(vectors.values())), n, exclude=leave_out) if vectors else []
        hits = zip(vectors, found, strict=True)
        # The same ids come back for item after item: one string of each is kept.
        return dict.fromkeys(items, ()) | {item: tuple(sys.intern(hit.id) for hit in near) for item, near in hits}


class Remembered(Generic[X]):
    """Values by id, the MOST last used ones; `find` looks up those that are not known, and may leave some out."""

    def __init__(self, find: Callable[[Sequence[str]], Mapping[str, X]]) -> None:
        self._find = find
        self._kept: OrderedDict[str, X] = OrderedDict()
        # Guards what is kept; finding goes on without it.
        self._lock = threading.Lock()

    def __call__(self, ids: Sequence[str]) -> dict[str, X]:
        with self._lock:
            known = {id: self._kept[id] for id in ids if id in self._kept}
            for id in known:
                self._kept.move_to_end(id)
        unknown = [id for id in ids if id not in known]
        fresh = self._find(unknown) if unknown else {}
        with self._lock:
            self._kept.update(fresh)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return known | dict(fresh)
