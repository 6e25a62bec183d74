"""Random sequences of writes and searches: every store agrees with a dictionary after each of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vectorstore import chroma_generation
from vectorstore.base import Document, Filter, VectorStore
from vectorstore.chroma import ChromaStore
from vectorstore.exact import ExactStore

DIMENSION = 4
IDS = st.sampled_from(["a", "b", "c", "é", "e\u0301", "日本", "z" * 300])
SAME = {"e\u0301": "é"}
NAMES = st.sampled_from(["year", "words", "$x"])
VALUES = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0.5, -2.0, 2**60]),
    st.sampled_from(["", "x", "1"]),
    st.lists(st.sampled_from(["", "x", "1"]), max_size=3).map(tuple),
)
DOCUMENTS = st.builds(Document, IDS, st.sampled_from(["", "text"]), st.dictionaries(NAMES, VALUES))
FILTERS = st.one_of(
    st.builds(Filter, NAMES, st.sampled_from(["=", "!=", "has"]), st.sampled_from(["", "x", "1", 1, 0.5])),
    st.builds(Filter, NAMES, st.sampled_from([">", ">=", "<", "<="]), st.sampled_from([0, 0.5, 1, -2])),
)
VECTORS = (
    st.lists(st.integers(-4, 4), min_size=DIMENSION, max_size=DIMENSION)
    .filter(any)
    .map(lambda row: np.array([row], np.float32) / np.linalg.norm(row))
)


def holds(metadata: dict, condition: Filter) -> bool:
    """The meaning of a filter, said a second time and differently from the code under test."""
    if condition.field not in metadata or metadata[condition.field] == ():
        return False
    value, wanted = metadata[condition.field], condition.value
    members = list(value) if isinstance(value, tuple) else [value]
    equal = any(isinstance(member, str) == isinstance(wanted, str) and member == wanted for member in members)
    if condition.op in ("=", "!="):
        return equal == (condition.op == "=")
    if condition.op == "has":
        return equal and isinstance(value, tuple)
    if isinstance(value, str | tuple):
        return False
    return {">": value > wanted, ">=": value >= wanted, "<": value < wanted, "<=": value <= wanted}[condition.op]


class StoreMachine(RuleBasedStateMachine):
    store: VectorStore

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[str, tuple[dict, np.ndarray]] = {}

    @rule(document=DOCUMENTS, vector=VECTORS)
    def upsert(self, document: Document, vector: np.ndarray) -> None:
        self.store.upsert([document], vector)
        self.expected[SAME.get(document.id, document.id)] = (dict(document.metadata), vector[0])

    @rule(ids=st.lists(IDS, max_size=3))
    def delete(self, ids: list[str]) -> None:
        self.store.delete(ids)
        for id in ids:
            self.expected.pop(SAME.get(id, id), None)

    @rule(query=VECTORS, k=st.integers(0, 8), where=st.lists(FILTERS, max_size=2), exclude=st.sets(IDS, max_size=2))
    def search(self, query: np.ndarray, k: int, where: list[Filter], exclude: set[str]) -> None:
        [hits] = self.store.search(query, k, where=where, exclude=exclude)
        excluded = {SAME.get(id, id) for id in exclude}
        scores = {
            id: float(vector @ query[0])
            for id, (metadata, vector) in self.expected.items()
            if id not in excluded and all(holds(metadata, condition) for condition in where)
        }
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert len({hit.id for hit in hits}) == len(hits) == min(max(k, 0), len(scores))
        assert all(abs(hit.score - scores[hit.id]) < 1e-5 for hit in hits)
        left_out = [score for id, score in scores.items() if id not in {hit.id for hit in hits}]
        assert not hits or not left_out or hits[-1].score >= max(left_out) - 1e-5

    @invariant()
    def same_documents(self) -> None:
        assert self.store.count() == len(self.expected)
        assert set(self.store.hashes()) == set(self.expected)


class ExactMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = ExactStore(DIMENSION)


class ChromaMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.open()

    def open(self) -> None:
        self.store = ChromaStore.open(Path(self.home.name), "invented", DIMENSION)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    @invariant()
    def sound(self) -> None:
        assert isinstance(self.store, ChromaStore)
        assert self.store.healthy()

    def teardown(self) -> None:
        self.store.close()
        self.home.cleanup()


class ApproximateMachine(ChromaMachine):
    """Every search asks Chroma."""

    def open(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(chroma_generation, "IN_MEMORY", 0)
        super().open()

    def teardown(self) -> None:
        self.patch.undo()
        super().teardown()


TestExactModel = ExactMachine.TestCase
TestExactModel.settings = settings(max_examples=40, stateful_step_count=20, deadline=None, derandomize=True)
TestChromaModel = ChromaMachine.TestCase
TestChromaModel.settings = settings(max_examples=5, stateful_step_count=25, deadline=None, derandomize=True)
TestApproximateModel = ApproximateMachine.TestCase
TestApproximateModel.settings = TestChromaModel.settings


@pytest.mark.long
class TestChromaModelForLong(ChromaMachine.TestCase):
    settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
