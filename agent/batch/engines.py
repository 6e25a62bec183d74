"""The ways in which a batch can be worked off, by name; the only place that lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.batch.budget import Budget, Limits, price_of
from agent.batch.cluster import tag_on_ray
from agent.batch.report import Report
from agent.batch.rounds import Tell, tag_by_batches, tag_by_files
from agent.batch.runner import Order, tag
from agent.errors import UsageError
from agent.wiring import Rapport

Run = Callable[[Rapport, Order, Tell], Report]
"""Tell hears one line for each step that takes long."""
WORKERS = 16
"""People worked on at a time, unless somebody says otherwise: enough to keep a local model's batch full."""


@dataclass(frozen=True, slots=True)
class Engine:
    about: str
    run: Run
    hosted: bool | None = False
    """It asks a model behind an OpenAI-compatible API, which may cost money; None: either will do."""


def usual(spec: str) -> str:
    """The engine for the model that `spec` (as in Settings.llm) names, when none is asked for."""
    return "openai" if spec.startswith("openai:") else "local"


def engine_of(name: str, spec: str, write: Path | None = None, collect: Sequence[Path] = ()) -> Run:
    """How to work a batch off. `write`, `collect`: files of requests and answers, in place of a provider.

    Raises UsageError where the engine cannot work with the model, or not with files.
    """
    found = ENGINES[name]
    if found.hosted is not None and found.hosted != (usual(spec) == "openai"):
        other = (
            "a model behind an API: --llm openai:MODEL or openai:URL#MODEL"
            if found.hosted
            else "a model that runs here"
        )
        raise UsageError(f"--engine {name} works with {other}, not with {spec!r}")
    if not write and not collect:
        return found.run
    if name != "openai-batch":
        raise UsageError("--write and --collect are for --engine openai-batch")
    return lambda rapport, order, tell: tag_by_files(rapport, order, write=write, collect=collect, tell=tell)


def budget_of(rapport: Rapport, name: str, max_cost: float | None, max_tokens: int | None) -> Budget | None:
    """The account of a run; None where nothing is limited and nothing is to be paid. Raises SetupError."""
    if not ENGINES[name].hosted and max_cost is None and max_tokens is None:
        return None
    chosen = rapport.settings
    price = price_of(chosen.llm, price_in=chosen.price_in, price_out=chosen.price_out, batch=name == "openai-batch")
    return Budget(price, Limits(max_cost, max_tokens))


def _local(rapport: Rapport, order: Order, tell: Tell) -> Report:
    return tag(rapport, order, engine="local")


def _openai(rapport: Rapport, order: Order, tell: Tell) -> Report:
    return tag(rapport, order, engine="openai")


def _openai_batch(rapport: Rapport, order: Order, tell: Tell) -> Report:
    return tag_by_batches(rapport, order, tell=tell)


def _ray(rapport: Rapport, order: Order, tell: Tell) -> Report:
    return tag_on_ray(rapport, order)


ENGINES: dict[str, Engine] = {
    "local": Engine("a model that runs here; people are computed together", _local),
    "openai": Engine("a model behind an OpenAI-compatible API, several requests at a time", _openai, hosted=True),
    "openai-batch": Engine("batch files at the provider: cheaper, and hours later", _openai_batch, hosted=True),
    "ray": Engine("Ray Data: one actor on every machine of a cluster, or all in one here", _ray, hosted=None),
}
