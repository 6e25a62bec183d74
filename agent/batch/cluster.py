"""The engine `ray`: Ray Data hands people to actors, and each actor tags them as any process of its own would.

The table of jobs stays the truth: Ray only decides where the work is done, so an actor or a driver that dies loses
nothing. Knows no model and no prompt.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from agent.batch.jobs import presence, reclaim
from agent.batch.report import Progress, Report
from agent.batch.runner import Order, choose, tag, work_of
from agent.errors import RapportError, SetupError, UsageError
from agent.history.jobs import Jobs
from agent.settings import Settings
from agent.wiring import Rapport, open_rapport

SHARE = 64
"""People that an actor is given at a time: enough to keep its model's batch full, few enough to even out the actors."""
LOOK_S = 1.0
"""How often the table of jobs is looked at for progress."""
QUIET = {
    # Unless told not to, Ray reports usage to its makers, and copies the project to the workers under `uv run`.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class Tagger:
    """One actor: the same store opened on its machine, and a model of its own."""

    def __init__(self, settings: Mapping[str, Any], workers: int, retry_failed: bool) -> None:
        self._settings = settings
        self._order = Order(workers=workers, retry_failed=retry_failed)
        self._rapport: Rapport | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """One row: what became of the people in the column `user`, or the problem for which nothing could be done."""
        try:
            if self._rapport is None:
                self._rapport = open_rapport(settings=Settings(**self._settings))
            report = tag(self._rapport, replace(self._order, users=[str(user) for user in batch["user"]]), engine="ray")
        except RapportError as error:
            # Ray would try an actor that raises again and again, and wrap the words in a page of its own.
            return _row(0, 0, 0, 0.0, str(error) or type(error).__name__, "")
        return _row(
            report.tagged,
            report.prompt_tokens,
            report.completion_tokens,
            report.seconds,
            report.stopped,
            "; ".join(report.notes),
        )


def tag_on_ray(rapport: Rapport, order: Order) -> Report:
    """Build or refresh the profiles that an order asks for, by one actor on every machine of the Ray cluster.

    The cluster is the one that RAY_ADDRESS names, else one that is started here and ends with the run. `order.workers`
    counts the people that one actor works on at a time, because one local model uses all cores of its machine.
    Raises SetupError (Ray is missing, or machines share no store), UsageError, StoreError.
    """
    if order.budget:
        raise UsageError("--max-cost and --max-tokens are not shared between machines: use --engine openai")
    chosen, unknown = choose(rapport.store, order.users, order.limit)
    folder = rapport.settings.home / "workers"
    with presence(folder) as owner:
        jobs = Jobs(rapport.store, work_of(rapport), owner)
        reclaim(jobs, folder)
        planned = jobs.plan(chosen, retry_failed=order.retry_failed)
        rows: list[dict[str, Any]] = []
        seconds = 0.0
        if planned.open:
            order.before(planned.open)
            with cluster(rapport.settings) as machines:
                rows, seconds = _spread(rapport, jobs, planned.open, order, machines)
        ended = jobs.ended(planned.open)
    failures = [failure for failure in ended.values() if failure]
    tagged = sum(row["tagged"] for row in rows)
    left = len(planned.open) - len(ended)
    problem = next((row["problem"] for row in rows if row["problem"]), "")
    if problem and not tagged:
        raise SetupError(problem)
    return Report(
        model=rapport.llm.name,
        engine="ray",
        people=len(chosen),
        tagged=tagged,
        unchanged=len(chosen) - len(planned.failed) - tagged - len(failures) - left,
        failures=(*planned.failed, *failures),
        remaining=left,
        unknown=unknown,
        prompt_tokens=sum(row["prompt_tokens"] for row in rows),
        completion_tokens=sum(row["completion_tokens"] for row in rows),
        seconds=seconds,
        stopped=problem,
        notes=tuple(dict.fromkeys(row["notes"] for row in rows if row["notes"])),
    )


@contextmanager
def cluster(settings: Settings) -> Iterator[int]:
    """A connection to Ray, for as long as the block runs; how many machines there are. Raises SetupError."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # pyright: ignore[reportMissingImports]  an extra
    except ImportError as error:
        raise SetupError("--engine ray needs Ray: pip install '.[ray]'") from error
    ours = not ray.is_initialized()
    try:
        if ours and os.environ.get("RAY_ADDRESS"):
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        elif ours:
            # One slot for the actor, one for Ray Data's own reading: with fewer it waits for itself.
            ray.init(include_dashboard=False, num_cpus=2, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, OSError) as error:
        raise SetupError(f"Ray does not start or cannot be reached: {error}") from error
    try:
        machines = sum(bool(node["Alive"]) for node in ray.nodes())
        if machines > 1 and settings.database_url.startswith("sqlite"):
            raise SetupError(
                f"{machines} machines cannot share an SQLite file: set database to a postgresql:// URL that all reach"
            )
        yield machines
    finally:
        if ours:
            ray.shutdown()


def _spread(
    rapport: Rapport, jobs: Jobs, people: Sequence[str], order: Order, machines: int
) -> tuple[list[dict[str, Any]], float]:
    """Every row that the actors gave back, and how long it took."""
    import time

    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    problem: list[BaseException] = []

    def consume() -> None:
        try:
            rows.extend(_rows(rapport.settings, people, order, machines))
        except BaseException as error:  # noqa: BLE001  it is raised again where the caller waits
            problem.append(error)

    # In a thread of its own, because Ray blocks until a whole share is done and people want to see more.
    thread = threading.Thread(target=consume, name="ray-data", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(LOOK_S)
        ended = jobs.ended(people)
        failed = sum(failure is not None for failure in ended.values())
        tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
        order.progress(
            Progress(len(people), len(ended), len(ended) - failed, failed, tokens, time.monotonic() - started)
        )
    if problem:
        raise problem[0]
    return rows, time.monotonic() - started


def _rows(settings: Settings, people: Sequence[str], order: Order, machines: int) -> Iterator[dict[str, Any]]:
    import ray.data  # pyright: ignore[reportMissingImports]

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Absolute, because an actor has another working folder; every field, so that its environment decides nothing.
    given = settings.model_dump() | {"home": settings.home.resolve(), "cache": settings.cache.resolve()}
    shares = ray.data.from_items([{"user": user} for user in people], override_num_blocks=-(-len(people) // SHARE))
    done = shares.map_batches(
        Tagger,
        fn_constructor_args=(given, order.workers, order.retry_failed),
        compute=ray.data.ActorPoolStrategy(size=machines),
        batch_size=None,
        num_cpus=1,
    )
    yield from done.iter_rows()


def _row(
    tagged: int, prompt_tokens: int, completion_tokens: int, seconds: float, problem: str, notes: str
) -> dict[str, list[Any]]:
    return {
        "tagged": [tagged],
        "prompt_tokens": [prompt_tokens],
        "completion_tokens": [completion_tokens],
        "seconds": [seconds],
        "problem": [problem],
        "notes": [notes],
    }
