"""Measures what a recommendation costs without a model's vote: MovieLens latest-small, its whole catalogue.

Observes only. `first`: nothing is remembered of the person's interests and persona text; `again`: as in a service that
has answered them before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from agent.errors import SetupError
from agent.history.importing import import_path
from agent.recommend.recommender import Recommender
from agent.settings import Settings, load
from agent.types import Query
from agent.wiring import Rapport
from eval.movielens import FOLDER

Asked = ParamSpec("Asked")
Found = TypeVar("Found")
ROUNDS = ("first", "again")
BAR_MS = 30.0
"""At most this at the 95th percentile of the clock."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=f"folder that holds {FOLDER}/")
    parser.add_argument("--people", type=int, default=100, help="evenly spread over all")
    options = parser.parse_args(arguments)
    sys.stdout.write(markdown(measure(options.data, options.people)) + "\n")


def measure(data: Path, people: int) -> dict[str, Any]:
    """Milliseconds on the clock and of the processor, and where the mean of the first goes."""
    with tempfile.TemporaryDirectory(prefix="rapport-bench-") as home:
        settings = Settings(home=Path(home), llm="none", embedder=load().embedder)
        with Rapport(settings) as rapport:
            import_path(rapport.store, data / FOLDER)
            rapport.build_index()
            rapport.train()
            users = rapport.store.users()
            users = users[:: max(1, len(users) // people)][:people]
            for user in users:
                rapport.profile(user)
            # What is read once for everybody is not part of a recommendation.
            rapport.recommender(Query(users[0], 10))
            recommend, parts = clocked(rapport.recommender)
            rounds = dict[str, Any]()
            for name in ROUNDS:
                parts.clear()
                spent = np.array([timed(recommend, user) for user in users])
                rounds[name] = {
                    **{what: percentiles(one) for what, one in zip(("wall", "processor"), spent.T, strict=True)},
                    "parts": {part: round(1000 * seconds / len(users), 1) for part, seconds in parts.items()},
                }
            return {"items": rapport.store.count_items(), "people": len(users), "rounds": rounds}


def percentiles(ms: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{at}": round(float(np.percentile(ms, at)), 1) for at in (50, 95)}


def markdown(result: Mapping[str, Any]) -> str:
    """The table for people to read."""
    head = f"| {result['items']} items, {result['people']} people | | p50 ms | p95 ms |"
    rows = [
        f"| {name} | {what} | {one[what]['p50']} | {one[what]['p95']} |"
        for name, one in result["rounds"].items()
        for what in ("wall", "processor")
    ]
    parts = [
        f"- {name}, of the wall, mean ms: " + ", ".join(f"{part} {ms}" for part, ms in one["parts"].items())
        for name, one in result["rounds"].items()
    ]
    bars = [
        f"- bar of {BAR_MS:g} ms, {name}, p95 of the wall: {verdict(one)}" for name, one in result["rounds"].items()
    ]
    return "\n".join([head, "|---" * 4 + "|", *rows, "", *bars, *parts])


def verdict(one: Mapping[str, Any]) -> str:
    over = one["wall"]["p95"] - BAR_MS
    return "met" if over <= 0 else f"missed by {over:.1f}"


def clocked(recommender: Recommender) -> tuple[Recommender, defaultdict[str, float]]:
    """The same, and seconds spent in its steps; the rest is reading the person, order, exploration and its log."""
    spent = defaultdict[str, float](float)

    def timed_too(name: str, step: Callable[Asked, Found]) -> Callable[Asked, Found]:
        def call(*args: Asked.args, **named: Asked.kwargs) -> Found:
            started = time.perf_counter()
            try:
                return step(*args, **named)
            finally:
                spent[name] += time.perf_counter() - started

        return call

    if recommender.retrieve is None:
        raise SetupError(f"nothing to measure: {recommender.without}")
    steps = replace(
        recommender,
        retrieve=timed_too("retrieve", recommender.retrieve),
        vectors=timed_too("vectors", recommender.vectors),
    )
    return steps, spent


def timed(recommend: Recommender, user: str) -> tuple[float, float]:
    """Milliseconds of one recommendation of ten: on the clock, and of all threads."""
    clock, processor = time.perf_counter(), time.process_time()
    recommend(Query(user, 10))
    return 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - processor)


if __name__ == "__main__":
    main()
