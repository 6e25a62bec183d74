"""Importer coverage: is every row of every data set that the product imports accepted, and the rest told of?

Each set is imported into a home of its own; what is expected was counted by other code (SCOREBOARD, section 2), with
the rows that are the same event twice in a file counted once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent import show
from agent.history.importing import import_path
from agent.settings import Settings
from agent.wiring import Rapport
from eval.board import Bar, Board, Case, Labels, Part, System
from eval.compare import Measure


@dataclass(frozen=True, slots=True)
class Rows:
    """What came of a set."""

    items: int
    events: int
    duplicates: int = 0
    refused: int = 0


EXPECTED = {
    "movielens-latest-small": Rows(9742, 100836),
    "lastfm-2k": Rows(17632, 92834),
    "amazon-reviews-2023-sample": Rows(2807, 2990),
    "amazon-giftcards-2018": Rows(1547, 2969, 3),
    "anime": Rows(7390, 520609),
}
"""Gift Cards: 2,972 reviews, 3 of which are another one's twin. Anime: the 419,943 ratings are of pairs that are among
the 520,609 watched ones."""
FILES = (
    *(f"movielens-latest-small/{one}.csv" for one in ("movies", "ratings", "tags", "links")),
    *(f"lastfm-2k/{one}.dat" for one in ("artists", "tags", "user_artists", "user_taggedartists")),
    "amazon-reviews-2023-sample/training.jsonl",
    *(f"amazon-giftcards-2018/{one}.json.gz" for one in ("Gift_Cards_5", "meta_Gift_Cards")),
    *(f"anime/anime_{one}.dat" for one in ("history", "info", "ratings")),
)


def imported(folders: Sequence[Path]) -> list[Rows]:
    with show.progress("importing") as progress:
        found = []
        for done, folder in enumerate(folders):
            progress(done, len(folders))
            found.append(import_one(folder))
        return found


def import_one(folder: Path) -> Rows:
    with tempfile.TemporaryDirectory(prefix="rapport-import-") as scratch:
        settings = Settings(home=Path(scratch), llm="none", embedder="hashing")
        with Rapport(settings) as rapport:
            report = import_path(rapport.store, folder)
            return Rows(rapport.store.count_items(), rapport.store.count_events(), report.duplicates, report.refused)


def load(data: Path) -> list[Part]:
    return [
        Part(
            "data sets",
            tuple(Case(name, data / name) for name in EXPECTED),
            Labels(EXPECTED),
            (System(IMPORTER, "rapport", imported),),
            (
                Measure("items as expected", lambda rows, due: (float(rows.items == due.items),)),
                Measure("events as expected", lambda rows, due: (float(rows.events == due.events),)),
                Measure("duplicates as expected", lambda rows, due: (float(rows.duplicates == due.duplicates),)),
                Measure("refused", lambda rows, due: (float(rows.refused),), higher_is_better=False),
            ),
            {"data sets": (len(EXPECTED), 5)},
            tuple(Bar(IMPORTER, f"{one} as expected", 1.0) for one in ("items", "events", "duplicates")),
        )
    ]


IMPORTER = "`rapport import`"
BOARD = Board(
    "importers",
    1,
    "Importers: every row accounted for",
    "each set imported into a home of its own, counts in the store against counts by other code",
    FILES,
    load,
)
