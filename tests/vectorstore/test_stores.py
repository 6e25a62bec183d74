"""What every store must do, the exact one and Chroma alike, and that Chroma agrees with the exact one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vectorstore import chroma_generation
from vectorstore.base import Document, Filter, VectorStore, VectorStoreError
from vectorstore.chroma import ChromaStore
from vectorstore.exact import ExactStore

DIMENSION = 8


def unit(*rows: tuple[float, ...]) -> np.ndarray:
    vectors = np.zeros((len(rows), DIMENSION), np.float32)
    for at, row in enumerate(rows):
        vectors[at, : len(row)] = row
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_vectors(n: int, dimension: int = DIMENSION, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def found(store: VectorStore, *where: Filter) -> set[str]:
    [hits] = store.search(unit((1, 1, 1, 1)), 100, where=where)
    return {hit.id for hit in hits}


FILMS = [
    Document("alien", "Alien", {"year": 1979, "genres": ("Horror", "Sci-Fi"), "language": "en", "price": 9.5}),
    Document("amelie", "Amélie", {"year": 2001, "genres": ("Comedy", "Romance"), "language": "fr"}),
    Document("brazil", "Brazil", {"year": 1985, "genres": ("Comedy", "Sci-Fi"), "language": "en", "price": 4}),
    Document("short", "A short", {"genres": (), "language": ""}),
    Document("bare", "Nothing known"),
    Document("odd", "Odd", {"year": "1985", "genres": "Sci-Fi", "language": ("en", "de")}),
]
FILM_VECTORS = unit((1, 0), (0, 1), (1, 1), (1, 2), (2, 1), (1, 3))

FILTERED = [
    (Filter("year", "=", 1985), {"brazil"}),
    (Filter("year", "=", 1985.0), {"brazil"}),
    (Filter("year", "=", "1985"), {"odd"}),
    (Filter("year", "!=", 1985), {"alien", "amelie", "odd"}),
    (Filter("year", ">", 1985), {"amelie"}),
    (Filter("year", ">=", 1985), {"amelie", "brazil"}),
    (Filter("year", "<", 1985), {"alien"}),
    (Filter("year", "<=", 1985.5), {"alien", "brazil"}),
    (Filter("price", ">=", -1e300), {"alien", "brazil"}),
    (Filter("genres", "has", "Sci-Fi"), {"alien", "brazil"}),
    (Filter("genres", "has", "sci"), set()),
    (Filter("genres", "has", ""), set()),
    (Filter("genres", "has", 1985), set()),
    (Filter("genres", "=", "Sci-Fi"), {"alien", "brazil", "odd"}),
    (Filter("genres", "!=", "Sci-Fi"), {"amelie"}),
    (Filter("genres", ">", 0), set()),
    (Filter("language", "=", "en"), {"alien", "brazil", "odd"}),
    (Filter("language", "!=", "en"), {"amelie", "short"}),
    (Filter("language", "=", ""), {"short"}),
    (Filter("language", "has", "de"), {"odd"}),
    (Filter("colour", "!=", "red"), set()),
    (Filter("colour", "=", ""), set()),
]

REFUSED_FILTERS = [
    Filter("price", "=", 10**400),
    Filter("price", "<", float("nan")),
    Filter("price", "<", "9"),
    Filter("year", "$ne", 1),  # type: ignore[arg-type]
    Filter("year", "=", {"$ne": ""}),  # type: ignore[arg-type]
    Filter("year", "=", None),  # type: ignore[arg-type]
    Filter({"$or": []}, "=", 1),  # type: ignore[arg-type]
    Filter("\ud800", "=", 1),
    Filter("year", "=", "\ud800"),
]

REFUSED_DOCUMENTS = [
    Document("", ""),
    Document("\ud800", ""),
    Document("a", "\ud800"),
    Document("a", "", {"x": "\ud800"}),
    Document("a", "", {"x": ("\ud800",)}),
    Document("a", "", {"x": float("nan")}),
    Document("a", "", {"x": float("inf")}),
    Document("a", "", {"x": 10**400}),
    Document("a", "", {"x": {"$ne": 1}}),  # type: ignore[dict-item]
    Document("a", "", {"x": (1,)}),  # type: ignore[dict-item]
    Document("a", "", {1: 1}),  # type: ignore[dict-item]
]

HOSTILE = [
    "' OR 1=1 --",
    '{"$ne": ""}',
    "$ne",
    "%",
    "_",
    "*",
    "\0",
    "{{7*7}}",
    "x" * 100_000,
    "\u202e\u200d",
    "null",
]


class VectorStoreContract:
    @pytest.fixture
    def store(self) -> Iterator[VectorStore] | VectorStore:
        raise NotImplementedError

    @pytest.fixture
    def films(self, store: VectorStore) -> VectorStore:
        store.upsert(FILMS, FILM_VECTORS)
        return store

    def test_an_empty_store_finds_nothing(self, store: VectorStore) -> None:
        assert store.search(unit((1,), (0, 1)), 5) == [[], []]
        assert (store.count(), store.hashes(), store.vectors(["a"])) == (0, {}, {})
        store.delete([])
        store.delete(["never there"])

    def test_nearest_first_with_cosine_scores(self, films: VectorStore) -> None:
        [hits] = films.search(unit((1, 0)), 3)
        assert [hit.id for hit in hits] == ["alien", "bare", "brazil"]
        assert [hit.score for hit in hits] == pytest.approx([1, 2 / 5**0.5, 1 / 2**0.5], abs=1e-5)

    def test_each_query_has_its_own_answer(self, films: VectorStore) -> None:
        answers = films.search(unit((1, 0), (0, 1)), 1)
        assert [[hit.id for hit in hits] for hits in answers] == [["alien"], ["amelie"]]
        assert films.search(np.zeros((0, DIMENSION), np.float32), 1) == []

    @pytest.mark.parametrize("k", [0, -1])
    def test_no_room_gives_no_hits(self, films: VectorStore, k: int) -> None:
        assert films.search(unit((1,)), k) == [[]]

    def test_more_than_there_is(self, films: VectorStore) -> None:
        assert len(films.search(unit((1,)), 1000)[0]) == len(FILMS)

    def test_upsert_replaces_the_whole_document(self, films: VectorStore) -> None:
        before = films.hashes()
        films.upsert([Document("alien", "Alien", {"genres": ("Drama",)})], unit((0, 0, 1)))
        assert films.count() == len(FILMS)
        assert found(films, Filter("year", ">", 0)) == {"amelie", "brazil"}
        assert "alien" not in found(films, Filter("year", "!=", 5))
        assert found(films, Filter("genres", "has", "Horror")) == set()
        assert found(films, Filter("genres", "has", "Drama")) == {"alien"}
        assert films.search(unit((0, 0, 1)), 1)[0][0].id == "alien"
        assert {id for id, hash in films.hashes().items() if before[id] != hash} == {"alien"}

    def test_the_last_of_equal_ids_in_one_call_wins(self, store: VectorStore) -> None:
        store.upsert([Document("a", "one", {"n": 1}), Document("a", "two", {"n": 2})], unit((1,), (0, 1)))
        assert store.count() == 1
        assert found(store, Filter("n", "=", 2)) == {"a"}
        assert store.vectors(["a"])["a"] == pytest.approx(unit((0, 1))[0])

    def test_delete(self, films: VectorStore) -> None:
        films.delete({"alien", "brazil", "nobody"})
        assert films.count() == len(FILMS) - 2
        assert found(films) == {"amelie", "short", "bare", "odd"}
        assert films.vectors(["alien"]) == {}

    def test_vectors_come_back_as_given(self, films: VectorStore) -> None:
        vectors = films.vectors(["brazil", "nobody", "alien"])
        assert set(vectors) == {"brazil", "alien"}
        assert vectors["brazil"] == pytest.approx(FILM_VECTORS[2], abs=1e-6)
        assert vectors["brazil"].dtype == np.float32

    def test_filters(self, films: VectorStore) -> None:
        answers = [(condition, found(films, condition)) for condition, _ in FILTERED]
        assert answers == FILTERED

    def test_filters_that_make_no_sense_or_are_structures_are_refused(self, films: VectorStore) -> None:
        for condition in REFUSED_FILTERS:
            with pytest.raises(VectorStoreError, match=r"filter|operator"):
                found(films, condition)

    def test_filters_are_joined_by_and(self, films: VectorStore) -> None:
        assert found(films, Filter("year", ">", 1980), Filter("genres", "has", "Comedy")) == {"amelie", "brazil"}
        assert found(films, Filter("year", ">", 1980), Filter("year", "<", 1990), Filter("language", "!=", "fr")) == {
            "brazil"
        }

    @pytest.mark.parametrize("field", ["language", "genres", "$or", "#document", "hash", "chroma:document", "", "a\0"])
    def test_hostile_values_match_nothing_but_themselves(self, films: VectorStore, field: str) -> None:
        for value in HOSTILE:
            for op in ("=", "has"):
                assert found(films, Filter(field, op, value)) == set()
            films.upsert([Document("trap", "t", {field: value, "list": (value,)})], unit((1,)))
            assert found(films, Filter(field, "=", value)) == {"trap"}
            assert found(films, Filter("list", "has", value)) == {"trap"}

    def test_excluded_documents_never_come_and_the_list_is_full(self, store: VectorStore) -> None:
        vectors = random_vectors(400)
        store.upsert([Document(f"d{n}", "", {"n": n}) for n in range(400)], vectors)
        nearest = np.argsort(-(vectors @ vectors[7]))
        seen = {f"d{n}" for n in nearest[:250]} | {"unknown"}
        [hits] = store.search(vectors[7:8], 20, exclude=seen)
        assert {hit.id for hit in hits} == {f"d{n}" for n in nearest[250:270]}
        [few] = store.search(vectors[7:8], 20, exclude=seen, where=[Filter("n", "<", 200)])
        assert {hit.id for hit in few} == {f"d{n}" for n in [n for n in nearest[250:] if n < 200][:20]}
        assert store.search(vectors[7:8], 20, exclude=[f"d{n}" for n in range(400)]) == [[]]

    def test_ids_are_equal_when_their_characters_are(self, store: VectorStore) -> None:
        composed, decomposed = "Amélie", unicodedata.normalize("NFD", "Amélie")
        assert composed != decomposed
        store.upsert([Document(decomposed, "")], unit((1,)))
        store.upsert([Document(composed, "")], unit((0, 1)))
        assert list(store.hashes()) == [composed]
        assert set(store.vectors([decomposed])) == {composed}
        assert store.search(unit((1,)), 1, exclude=[decomposed]) == [[]]
        store.delete([decomposed])
        assert store.count() == 0

    def test_any_text_is_an_id(self, store: VectorStore) -> None:
        ids = ["霸王别姬", "🎬👩‍👩‍👧", "\u202eabc", "a\0b", " ", "x" * 10_000, "{'$ne':1}", "../../etc"]
        for id in ids:
            store.upsert([Document(id, "")], unit((1,)))
        assert {hit.id for hit in store.search(unit((1,)), 100)[0]} == set(ids)
        for id in ids:
            store.delete([id])
        assert store.count() == 0

    def test_documents_that_cannot_be_kept_are_refused(self, store: VectorStore) -> None:
        for document in REFUSED_DOCUMENTS:
            with pytest.raises(VectorStoreError):
                store.upsert([Document("good", ""), document], unit((1,), (1,)))
        assert store.count() == 0

    @pytest.mark.parametrize(
        "vectors",
        [np.zeros((1, DIMENSION)), np.full((1, DIMENSION), np.nan), unit((1,))[:, :4], unit((1,), (1,)), unit((1,))[0]],
        ids=["zero", "nan", "narrow", "two", "flat"],
    )
    def test_vectors_that_are_no_directions_are_refused(self, store: VectorStore, vectors: np.ndarray) -> None:
        with pytest.raises(VectorStoreError):
            store.upsert([Document("a", "")], vectors)
        if vectors.shape != (2, DIMENSION):
            with pytest.raises(VectorStoreError):
                store.search(vectors, 1)

    def test_threads_may_search_while_one_writes(self, films: VectorStore) -> None:
        def search(_: int) -> list[str]:
            return [hit.id for hit in films.search(unit((1, 0)), 2)[0]]

        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(search, range(40))
            for at in range(20):
                films.upsert([Document(f"far{at}", "")], unit((-1, -1)))
            assert list(answers) == [["alien", "bare"]] * 40
        assert films.count() == len(FILMS) + 20

    def test_hashes_see_text_and_metadata_but_not_order(self, store: VectorStore) -> None:
        def hash_of(document: Document) -> str:
            store.upsert([document], unit((1,)))
            return store.hashes()["a"]

        first = hash_of(Document("a", "t", {"x": 1, "y": ("p", "q")}))
        assert hash_of(Document("a", "t", {"y": ("p", "q"), "x": 1.0})) == first
        others = [Document("a", "u", {"x": 1, "y": ("p", "q")}), Document("a", "t", {"x": 1}), Document("a", "t")]
        others += [Document("a", "t", {"x": "1", "y": ("p", "q")}), Document("a", "t", {"x": 1, "y": ("q", "p")})]
        assert len({first, *map(hash_of, others)}) == 6


class TestExactStore(VectorStoreContract):
    @pytest.fixture
    def store(self) -> VectorStore:
        return ExactStore(DIMENSION)


class TestChromaStore(VectorStoreContract):
    @pytest.fixture(params=[chroma_generation.IN_MEMORY, 0], ids=["in memory", "approximate"])
    def store(
        self, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[VectorStore]:
        monkeypatch.setattr(chroma_generation, "IN_MEMORY", request.param)
        store = ChromaStore.open(tmp_path / "index", "invented", DIMENSION)
        yield store
        assert store.healthy()
        store.close()


def _recall(store: VectorStore, oracle: VectorStore, queries: np.ndarray, *where: Filter) -> float:
    shares = []
    for ours, exact in zip(
        store.search(queries, 50, where=where), oracle.search(queries, 50, where=where), strict=True
    ):
        assert len(ours) == len(exact)
        shares.append(len({hit.id for hit in ours} & {hit.id for hit in exact}) / len(exact))
    return float(np.mean(shares))


def test_recall_against_the_twin_also_after_churn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma_generation, "IN_MEMORY", 0)
    n, dimension = 1200, 32
    documents = [Document(f"d{at}", "", {"half": at % 2, "rare": at % 100}) for at in range(n)]
    queries = random_vectors(25, dimension, seed=1)
    twin = ExactStore(dimension)
    store = ChromaStore.open(tmp_path / "index", "invented", dimension)
    try:
        for round in range(3):
            vectors = random_vectors(n, dimension, seed=10 + round)
            twin.upsert(documents, vectors)
            store.upsert(documents, vectors)
        gone = [f"d{at}" for at in range(n) if at % 4 < 2]
        twin.delete(gone)
        store.delete(gone)
        assert _recall(store, twin, queries) >= 0.95
        assert _recall(store, twin, queries, Filter("half", "=", 1)) >= 0.95
        assert _recall(store, twin, queries, Filter("rare", "=", 3)) == 1
        assert store.healthy()
    finally:
        store.close()


@pytest.mark.parametrize("in_memory", [0, 10_000])
def test_a_history_of_thousands_can_be_excluded(
    tmp_path: Path, in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chroma_generation, "IN_MEMORY", in_memory)
    n = 3500
    vectors = random_vectors(n)
    documents = [Document(f"d{at}", "", {"even": at % 2}) for at in range(n)]
    twin = ExactStore(DIMENSION)
    twin.upsert(documents, vectors)
    order = np.argsort(-(vectors @ vectors[0]))
    history = [f"d{at}" for at in order[:2700]]
    store = ChromaStore.open(tmp_path / "index", "invented", DIMENSION)
    try:
        store.upsert(documents, vectors)
        for where in ([], [Filter("even", "=", 1)]):
            [ours] = store.search(vectors[:1], 50, where=where, exclude=history)
            [exact] = twin.search(vectors[:1], 50, where=where, exclude=history)
            assert len(ours) == 50
            assert len({hit.id for hit in ours} & {hit.id for hit in exact}) >= 48
    finally:
        store.close()
