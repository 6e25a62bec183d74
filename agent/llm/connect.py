"""From the one string that names a language model to the model; the only place that lists the backends."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SetupError
from agent.llm.adapters import path_of
from agent.llm.base import LLM

HOSTED_TIMEOUT_S = 60.0
LOCAL_TIMEOUT_S = 300.0
"""A large model on a small machine is slow, not lost."""
_LOCAL_CONTEXT = 4096
_ADAPTED = re.compile(r"(?P<base>builtin|smollm2|(?:gguf|hf):.+\.gguf)\+(?P<adapter>[^+/]+)")


@dataclass(frozen=True, slots=True)
class Options:
    """What a backend may be told beside its name; None leaves the choice to the backend."""

    cache: Path
    """Folder for what is made from model files; may be deleted at any time."""
    context: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    api_key: str | None = None
    timeout_s: float | None = None
    concurrency: int = 4
    adapter: Path | None = None
    """What is added to the weights of a model that runs here."""


@dataclass(frozen=True, slots=True)
class Backend:
    form: str
    """How a spec of this backend is written."""
    open: Callable[[str, Options], LLM]
    """From what follows the colon of the spec."""


def connect(
    spec: str,
    *,
    cache: Path,
    context: int | None = None,
    threads: int | None = None,
    gpu_layers: int | None = None,
    api_key: str | None = None,
    timeout_s: float | None = None,
    concurrency: int = 4,
    adapters: Path | None = None,
) -> LLM:
    """The model that `spec` names; SetupError when the spec cannot be read or the model cannot be opened.

    `cache`: folder for what is made from model files. `context`, `threads`, `gpu_layers`: for models that run here, in
    a process of their own. `api_key`, `concurrency`: for models behind an API. `timeout_s`: for a whole request,
    retries included; by default HOSTED_TIMEOUT_S or LOCAL_TIMEOUT_S. `adapters`: folder of those that a spec may name.
    """
    adapter = adapter_of(spec, adapters) if adapters else None
    if adapter:
        spec = spec.rpartition("+")[0]
    backend, _, model = spec.partition(":")
    if backend not in BACKENDS or (":" in BACKENDS[backend].form) != bool(model):
        forms = ", ".join(known.form for known in BACKENDS.values())
        raise SetupError(f"{spec!r} names no language model; it can be one of: {forms}")
    options = Options(cache, context, threads, gpu_layers, api_key, timeout_s, concurrency, adapter)
    return BACKENDS[backend].open(model, options)


def adapter_of(spec: str, folder: Path) -> Path | None:
    """The file of the adapter that `spec` names, in `folder`; None where it names none. Raises SetupError."""
    match = _ADAPTED.fullmatch(spec)
    return path_of(folder, match["adapter"]) if match else None


def _builtin(_: str, options: Options) -> LLM:
    from agent.llm.weights import builtin

    return _isolated("builtin", builtin, options)


def _smollm2(_: str, options: Options) -> LLM:
    from agent.llm.weights import smollm2

    return _isolated("smollm2", smollm2, options)


def _gguf(model: str, options: Options) -> LLM:
    from agent.llm.weights import local

    return _isolated(f"gguf:{model}", lambda _: local(model), options)


def _hub(model: str, options: Options) -> LLM:
    from agent.llm.weights import hub

    return _isolated(f"hf:{model}", lambda _: hub(model), options)


def _isolated(spec: str, found: Callable[[Path], Path], options: Options) -> LLM:
    """`found`: the file of `spec` as it is served without another adapter."""
    from agent.llm.isolated import Isolated

    return Isolated(
        _adapted(spec, options.adapter, options.cache) if options.adapter else found(options.cache),
        context=options.context or _LOCAL_CONTEXT,
        threads=options.threads,
        gpu_layers=options.gpu_layers,
        timeout_s=options.timeout_s or LOCAL_TIMEOUT_S,
    )


def _adapted(spec: str, adapter: Path, cache: Path) -> Path:
    from agent.llm import tiles
    from agent.llm.adapters import merged
    from agent.llm.weights import base

    try:
        return merged(base(spec), [adapter], cache, eight_bits=tiles.usable())
    except OSError as error:
        raise SetupError(f"the weights with {adapter.stem!r} cannot be kept in {cache}: {error.strerror}") from error


def _openai(model: str, options: Options) -> LLM:
    from agent.llm.openai import DEFAULT_CONTEXT, OpenAI

    base_url = None
    if model.startswith(("http://", "https://")):
        base_url, _, model = model.partition("#")
        if not model:
            raise SetupError(f"which model at {base_url}? Write openai:{base_url}#MODEL")
    return OpenAI(
        model,
        base_url=base_url,
        api_key=options.api_key,
        timeout_s=options.timeout_s or HOSTED_TIMEOUT_S,
        concurrency=options.concurrency,
        context=options.context or DEFAULT_CONTEXT,
    )


def _none(_: str, options: Options) -> LLM:
    from agent.llm.scripted import NoModel

    return NoModel()


BACKENDS = {
    "builtin": Backend("builtin or builtin+ADAPTER", _builtin),
    "smollm2": Backend("smollm2 or smollm2+ADAPTER", _smollm2),
    "gguf": Backend("gguf:/path/file.gguf or gguf:/path/file.gguf+ADAPTER", _gguf),
    "hf": Backend("hf:OWNER/REPO:FILE or hf:OWNER/REPO:FILE+ADAPTER", _hub),
    "openai": Backend("openai:MODEL or openai:http://host:port/v1#MODEL", _openai),
    "none": Backend("none", _none),
}
