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
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=f"folder that holds {FOLDER}/")
    parser.add_argument("--people", type=int, default=100, help="evenly spread over all")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="rapport-bench-") as home:
        settings = Settings(home=Path(home), llm="none", embedder=load().embedder)
        with Rapport(settings) as rapport:
            import_path(rapport.store, options.data / FOLDER)
            rapport.build_index()
            rapport.train()
            users = rapport.store.users()
            users = users[:: max(1, len(users) // options.people)][: options.people]
            for user in users:
                rapport.profile(user)
            sys.stdout.write(f"{rapport.store.count_items()} items, {len(users)} people\n")
            # What is read once for everybody is not part of a recommendation.
            rapport.recommender(Query(users[0], 10))
            recommend, parts = measured(rapport.recommender)
            for name in ROUNDS:
                parts.clear()
                spent = [timed(recommend, user) for user in users]
                for what, numbers in zip(("wall", "processor"), np.array(spent).T, strict=True):
                    half, most = np.percentile(numbers, [50, 95])
                    sys.stdout.write(f"{name:6} {what:10} p50 {half:6.1f} ms   p95 {most:6.1f} ms\n")
                shares = ", ".join(f"{part} {1000 * spent / len(users):.1f}" for part, spent in parts.items())
                sys.stdout.write(f"{name:6} of the wall, mean ms: {shares}\n")


def measured(recommender: Recommender) -> tuple[Recommender, defaultdict[str, float]]:
    """The same, and seconds spent in its steps; the rest is reading the person, order, exploration and its log."""
    spent = defaultdict[str, float](float)

    def clocked(name: str, step: Callable[Asked, Found]) -> Callable[Asked, Found]:
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
        retrieve=clocked("retrieve", recommender.retrieve),
        vectors=clocked("vectors", recommender.vectors),
    )
    return steps, spent


def timed(recommend: Recommender, user: str) -> tuple[float, float]:
    """Milliseconds of one recommendation of ten: on the clock, and of all threads."""
    clock, processor = time.perf_counter(), time.process_time()
    recommend(Query(user, 10))
    return 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - processor)


if __name__ == "__main__":
    main()
