"""How fast histories are imported: invented MovieLens-like CSV files into a new SQLite store, end to end.

Prints one line of JSON. Run: python -m eval.bench_import --events 500000
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from agent.history.importing import import_path
from agent.history.store import Store


def write_folder(folder: Path, events: int, people: int, items: int, seed: int = 7) -> None:
    """A movies.csv and a ratings.csv, ordered by person and time as MovieLens files are; few items are much liked."""
    rng = random.Random(seed)
    with (folder / "movies.csv").open("w") as file:
        file.write("movieId,title,genres\n")
        file.writelines(f'{n},"Film {n}, The ({1950 + n % 70})",Drama|Comedy\n' for n in range(items))
    with (folder / "ratings.csv").open("w") as file:
        file.write("userId,movieId,rating,timestamp\n")
        for person in range(people):
            at = 900_000_000 + rng.randrange(500_000_000)
            for _ in range(events // people):
                at += rng.randrange(1, 1000)
                item = min(int(rng.paretovariate(0.6)), items - 1)
                file.write(f"{person},{item},{rng.randrange(1, 11) / 2},{at}\n")


def measure(events: int, people: int, items: int) -> dict[str, float]:
    """Imports once into an empty store; wall-clock and processor seconds."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), events, people, items)
        with Store.open(f"sqlite:///{folder}/store.db") as store:
            processor = time.process_time()
            report = import_path(store, Path(folder), format="movielens")
            processor = time.process_time() - processor
            return {
                "events": store.count_events(),
                "seconds": round(report.seconds, 2),
                "processor_seconds": round(processor, 2),
                "events_per_second": round(report.events.added / report.seconds),
                "store_mb": round(os.path.getsize(f"{folder}/store.db") / 1e6, 1),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=600)
    parser.add_argument("--items", type=int, default=9_000)
    arguments = parser.parse_args()
    sys.stdout.write(json.dumps(measure(arguments.events, arguments.people, arguments.items)) + "\n")


if __name__ == "__main__":
    main()
