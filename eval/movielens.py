"""MovieLens latest-small as board A cuts it: which films and people take part, in which order, and what is held out.

Reads the files of the data folder and nothing else; what is held out leaves this module only as `Labels`.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from agent.errors import SetupError
from agent.types import Item

FOLDER = "movielens-latest-small"
FEWEST = 5
"""Ratings that an item, and then a person, needs to stay; repeated until nothing changes."""


@dataclass(frozen=True, slots=True)
class Rating:
    user: str
    movie: str
    stars: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Labels:
    """What is held out of one cut: user -> the film rated next. Only scorers open it."""

    next: dict[str, Rating]


@dataclass(frozen=True, slots=True)
class Board:
    """The people's ratings without the last one each, oldest first."""

    movies: tuple[str, ...]
    """Ids of every film that takes part, numerically sorted."""
    histories: dict[str, tuple[Rating, ...]]


def read(folder: Path) -> list[Rating]:
    """The ratings that take part. `folder` holds ratings.csv and movies.csv. Raises SetupError."""
    known = {row["movieId"] for row in _rows(folder / "movies.csv")}
    rows = [
        Rating(row["userId"], row["movieId"], float(row["rating"]), datetime.fromtimestamp(int(row["timestamp"]), UTC))
        for row in _rows(folder / "ratings.csv")
        if row["movieId"] in known
    ]
    return core(rows)


def core(rows: list[Rating]) -> list[Rating]:
    """`rows` without rare films and people: films first, then people, until nothing changes."""
    while True:
        before = len(rows)
        films = Counter(one.movie for one in rows)
        rows = [one for one in rows if films[one.movie] >= FEWEST]
        people = Counter(one.user for one in rows)
        rows = [one for one in rows if people[one.user] >= FEWEST]
        if len(rows) == before:
            return rows


def board(rows: Iterable[Rating], ties: int | None = None) -> tuple[Board, Labels]:
    """Everybody's ratings in order, and apart from them the last one each.

    `ties`: seed of a random order of ratings with equal time; None = the protocol's, by film id. One board's
    histories are the next cut's input: `earlier` holds out the validation event from them.
    """
    rows = list(rows)
    shuffled = np.random.default_rng(ties).permutation(len(rows)) if ties is not None else np.zeros(len(rows))
    ranked = sorted(zip(rows, shuffled, strict=True), key=lambda pair: (pair[0].at, pair[1], int(pair[0].movie)))
    people: defaultdict[str, list[Rating]] = defaultdict(list)
    for one, _ in ranked:
        people[one.user].append(one)
    movies = tuple(sorted({one.movie for one in rows}, key=int))
    whole = {user: tuple(people[user]) for user in sorted(people, key=int)}
    return _without_last(Board(movies, whole))


def earlier(later: Board) -> tuple[Board, Labels]:
    """The validation cut: `later` without the last rating of each person, and those apart."""
    return _without_last(later)


def _without_last(whole: Board) -> tuple[Board, Labels]:
    histories = {user: rows[:-1] for user, rows in whole.histories.items()}
    return Board(whole.movies, histories), Labels({user: rows[-1] for user, rows in whole.histories.items()})


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise SetupError(f"{path} is not there: --data names the folder that holds {FOLDER}/")
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def films(folder: Path) -> dict[str, Item]:
    """The catalogue as the importer shows it: the year apart, an article in front."""
    found = {}
    for row in _rows(folder / "movies.csv"):
        written = _YEAR.match(row["title"].strip())
        name, year = (written[1], int(written[2])) if written else (row["title"].strip(), None)
        kinds = tuple(one for one in row["genres"].split("|") if not one.startswith("("))
        id = row["movieId"]
        found[id] = Item(
            id, _ARTICLE.sub(r"\2 \1\3", name), categories=kinds, attributes={"year": year} if year else {}
        )
    return found


_YEAR = re.compile(r"^(.*?)\s*\((\d{4})\)$")
_ARTICLE = re.compile(r"^(.*?), (The|A|An)\b(.*)$")
