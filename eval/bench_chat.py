"""How long the first words and the cards of a chat answer take, and what that time is made of.

    python -m eval.bench_chat [--home HOME] [--llm builtin] [--rounds 2]

Over a home (default: the bundled sample, made anew) behind the HTTP server's own stream, in this process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent import sample
from agent.chat.parts import Cards, Words
from agent.settings import load
from agent.wiring import Rapport, open_rapport

MESSAGES = (
    "hello",
    "I want something slow and quiet, set in space",
    "more like 1, but shorter and no horror",
    "why 2?",
    "I loved Heat and hated Hereditary",
    "ships and storms at night",
)


class Clock:
    """What the time of a reply goes into, by the part of the program that has it."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] += time.perf_counter() - started

    def around(self, owner: object, method: str, name: str) -> None:
        """Count the time of a method of one object."""
        inner = getattr(owner, method)

        def _timed(*given: object, **named: object) -> object:
            with self.counted(name):
                return inner(*given, **named)

        object.__setattr__(owner, method, _timed)


def prepared(home: Path | None, llm: str, folder: Path) -> Rapport:
    rapport = open_rapport(settings=load(home=home or folder, llm=llm))
    if home is None:
        rapport.store.add_items(sample.films())
        rapport.store.add_events(sample.events())
        rapport.store.set_meta("domain", "film")
        rapport.build_index()
    return rapport


def measured(rapport: Rapport, user: str, rounds: int) -> None:
    chat, clock = rapport.chat, Clock()
    clock.around(rapport.llm, "generate", "model: wording")
    clock.around(rapport.llm, "choose", "model: choosing")
    firsts, fulls = [], []
    say(f"{'message':48} {'first words':>12} {'all':>9}   made of")
    for round in range(rounds):
        for text in MESSAGES:
            clock.spent.clear()
            started, first, cards = time.perf_counter(), 0.0, 0
            for part in chat.reply(user, f"bench-{round}", text):
                if isinstance(part, Words) and not first:
                    first = time.perf_counter() - started
                cards += len(part.items) if isinstance(part, Cards) else 0
            whole = time.perf_counter() - started
            firsts.append(first)
            fulls.append(whole)
            parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in clock.spent.items() if seconds >= 0.005)
            rest = whole - sum(clock.spent.values())
            took = f"{first * 1000:9.0f} ms {whole:7.2f} s"
            say(f"{text[:48]:48} {took}   {parts or 'no model'}, rest {rest:.2f} s; {cards} cards")
    say(
        f"first words: median {statistics.median(firsts) * 1000:.0f} ms, worst {max(firsts) * 1000:.0f} ms; "
        f"whole: median {statistics.median(fulls):.2f} s, worst {max(fulls):.2f} s"
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="a home with items, events and an index")
    parser.add_argument("--llm", default="builtin")
    parser.add_argument("--user", default="mara")
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, prepared(chosen.home, chosen.llm, Path(folder)) as rapport:
        started = time.perf_counter()
        _ = rapport.llm.name, rapport.recommender, rapport.chat
        warm = time.perf_counter() - started
        load_now = os.getloadavg()[0]
        say(f"{rapport.llm.name} · {os.cpu_count()} cores · load {load_now:.1f} · opened in {warm:.1f} s")
        measured(rapport, chosen.user, chosen.rounds)


if __name__ == "__main__":
    main()
