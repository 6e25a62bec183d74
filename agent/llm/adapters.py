"""Low-rank adapters in llama.cpp's format: what one says of itself, and merging it into the weights it was trained for.

Merged once and kept in the cache, an adapter costs nothing while the model answers; beside the weights it would cost
more than a third of the speed. Knows files and numbers; knows no prompt and trains nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import SetupError
from agent.llm.files import sha256, whole

if TYPE_CHECKING:
    import numpy as np

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_ABOUT = "rapport.adapter"
_F16, _Q8_0 = 1, 7  # llama_ftype: LLAMA_FTYPE_MOSTLY_F16, LLAMA_FTYPE_MOSTLY_Q8_0


@dataclass(frozen=True, slots=True)
class About:
    """What an adapter says of itself."""

    skill: str
    """wording, reading or judging."""
    base: str
    """What the weights that it was trained for are known by: see Base.identity."""
    prompts: tuple[str, ...]
    """Ids of the prompts that it was trained with, version and hash included."""
    alpha: float
    rank: int
    histories: bool = False
    """Whether people's histories went into it."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """How it was made: numbers of examples and steps, seed, losses."""


def path_of(folder: Path, name: str) -> Path:
    """The file of the adapter `name`; SetupError when the name is none or nothing is there."""
    if not NAME.fullmatch(name):
        raise SetupError(f"{name!r} names no adapter: small letters, digits and hyphens")
    path = folder / f"{name}.gguf"
    if not path.is_file():
        raise SetupError(
            f"there is no adapter {name!r} in {folder}; there {said(every(folder))}; `rapport train` makes one"
        )
    return path


def every(folder: Path) -> dict[str, Path]:
    """The adapters in a folder, by name."""
    return {path.stem: path for path in sorted(folder.glob("*.gguf")) if NAME.fullmatch(path.stem)}


def said(names: Mapping[str, Path]) -> str:
    return f"are {', '.join(names)}" if names else "are none"


def about(path: Path) -> About:
    """What the adapter in `path` says of itself. Raises SetupError for another kind of file."""
    reader = _reader(path)
    found = reader.fields.get(_ABOUT)
    if found is None:
        raise SetupError(f"{str(path)!r} is no adapter that `rapport train` made")
    body = json.loads(found.contents())
    return About(**{**body, "prompts": tuple(body["prompts"])})


def drop_learned(folder: Path, cache: Path) -> list[str]:
    """Remove every adapter that people's histories went into, what was merged with it, and the runs that made it."""
    gone = [name for name, path in every(folder).items() if about(path).histories]
    for name in gone:
        for path in (folder / f"{name}.gguf", *cache.glob(f"*+{name}.*.gguf")):
            path.unlink(missing_ok=True)
        shutil.rmtree(run_folder(folder, name), ignore_errors=True)
    return gone


def run_folder(folder: Path, name: str) -> Path:
    """Where the run that makes an adapter keeps its checkpoint and its curve."""
    return folder / f"{name}.run"


def write(path: Path, tensors: Mapping[str, np.ndarray], about: About) -> None:
    """`tensors` ("blk.0.attn_q.weight.lora_a" …) as an adapter that llama.cpp reads. Whole or not at all."""
    import numpy as np
    from gguf import GGUFWriter

    with whole(path) as made:
        writer = GGUFWriter(made, "llama")
        writer.add_string("general.type", "adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", about.alpha)
        body = {name: getattr(about, name) for name in About.__dataclass_fields__}
        writer.add_string(_ABOUT, json.dumps(body, sort_keys=True))
        for name, values in sorted(tensors.items()):
            writer.add_tensor(name, values.astype(np.float16))
        _finish(writer)


@dataclass(frozen=True, slots=True)
class Base:
    """Weights that adapters can be added to, and those that are part of them already."""

    path: Path
    adapters: tuple[Path, ...] = ()
    sha256: str = ""
    """Of `path`, where it is known."""

    @property
    def identity(self) -> str:
        """What an adapter knows these weights by."""
        return _identity(self.sha256 or sha256(self.path), self.adapters)


def _identity(known: str, adapters: Sequence[Path]) -> str:
    for one in adapters:
        known = hashlib.sha256(f"{known}+{sha256(one)}".encode()).hexdigest()
    return known


def merged(base: Base, adapters: Sequence[Path], cache: Path, *, eight_bits: bool = False) -> Path:
    """`base` with its own adapters and then `adapters` added to its weights, made in `cache` once.

    `eight_bits`: weights in blocks of eight bits, which a processor's matrix unit reads, rather than half floats.
    Raises SetupError when an adapter does not fit, OSError when `cache` cannot be written.
    """
    every = (*base.adapters, *adapters)
    kind = "Q8_0" if eight_bits else "F16"
    mark = _identity(base.sha256 or _stamp(base.path), every)[:12]
    names = "+".join([base.path.stem.split(".")[0], *(one.stem for one in every)])
    made = cache / f"{names}.{kind}-{mark}.gguf"
    if not made.exists():
        known = base.sha256 or sha256(base.path)
        for one in every:
            if about(one).base != known:
                raise SetupError(f"the adapter {str(one)!r} was trained for another model than {names!r}")
            known = _identity(known, [one])
        with whole(made) as path:
            _merge(base.path, every, path, eight_bits=eight_bits)
    return made


def _stamp(path: Path) -> str:
    """Changes when a file does; hashing gigabytes at every start would take longer than loading them."""
    found = path.stat()
    return hashlib.sha256(f"{path} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()


def _merge(base: Path, adapters: Sequence[Path], into: Path, *, eight_bits: bool) -> None:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import dequantize, quantize

    source = _reader(base)
    shapes = {one.name: tuple(int(n) for n in reversed(one.shape)) for one in source.tensors}
    changes = [_changes(one, shapes) for one in adapters]
    writer = GGUFWriter(into, "llama")
    _copy_fields(source, writer, _Q8_0 if eight_bits else _F16)
    for one in source.tensors:
        values = np.array(dequantize(one.data, one.tensor_type), np.float32)
        if len(one.shape) < 2:
            writer.add_tensor(one.name, values)
            continue
        for change in changes:
            if one.name in change:
                down, up = change[one.name]
                values += up @ down
        if eight_bits:
            blocks = quantize(values, GGMLQuantizationType.Q8_0)
            writer.add_tensor(one.name, blocks, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(one.name, values.astype(np.float16))
    _finish(writer)


def _changes(adapter: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """matrix -> the two factors of what is added to it. Raises SetupError when they do not fit the shapes."""
    import numpy as np
    from gguf.quants import dequantize

    found = {one.name: np.array(dequantize(one.data, one.tensor_type), np.float32) for one in _reader(adapter).tensors}
    scale = about(adapter).alpha / max(1, about(adapter).rank)
    changes = {}
    for name in {one.rpartition(".lora_")[0] for one in found}:
        down, up = found[f"{name}.lora_a"], scale * found[f"{name}.lora_b"]
        if (up.shape[0], down.shape[1]) != shapes.get(name):
            raise SetupError(f"the adapter {str(adapter)!r} was trained for a model of another shape")
        changes[name] = (down, up)
    return changes


def _copy_fields(source: Any, writer: Any, file_type: int) -> None:
    """Everything that a model file says beside its weights: shape, vocabulary, template."""
    from gguf import GGUFValueType

    for name, one in source.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = one.types[0]
        inner = one.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(name, one.contents(), kind, sub_type=inner)
    writer.add_file_type(file_type)


def _finish(writer: Any) -> None:
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _reader(path: Path) -> Any:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise SetupError("adapters need gguf: pip install '.[local]'") from error
    try:
        return GGUFReader(path)
    except (ValueError, OSError) as error:
        raise SetupError(f"{str(path)!r} cannot be read as GGUF: {error}") from error
