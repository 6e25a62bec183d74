"""Board B: will this person like this film? TALLRec's rows of MovieLens, from the likes and dislikes in the row alone.

A row is answered by itself: the rows are overlapping windows, and a neighbour holds the answer. What everybody else
thinks of a film is fitted on valid.json and on MovieLens latest-small, whose people are others; nothing is fitted on
the rows that are measured.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from agent.ask import Ask
from agent.recommend.rerank import Each, Opinion, RerankConfig, Share
from agent.types import Candidate, Item, Profile, Query
from eval.board import Answered, Bar, Board, Case, Labels, Part, Published, System
from eval.compare import Measure, area
from eval.metrics import Floats

FOLDER, FILMS = "tallrec-movie", "movielens-latest-small"
TITLE = re.compile(r'"(.*?)"(?:, |$)')
YEAR = re.compile(r"^(.*) \((\d{4})\)\s*$")
SIMILAR = 88.0
"""How alike two titles must be, of 100, to be the same film; years at most one apart."""
LIKED = 4.0
"""Stars from which on another person liked a film."""
FEW_STARS = 5.0
"""Ratings that a film's or a person's mean is drawn towards everybody's by."""
FACTORS, FACTOR_RIDGE, OWN_RIDGE, ROUNDS = 32, 10.0, 3.0, 8
"""Of the factor model; OWN_RIDGE for a person of ten films."""
SIMILARITY_DAMPING = 20.0
PENALTY = 0.1
"""Of the logistic regression (scikit-learn's C)."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a system sees of a case."""

    liked: tuple[str, ...]
    disliked: tuple[str, ...]
    film: str

    @property
    def share(self) -> float:
        return len(self.liked) / max(1, len(self.liked) + len(self.disliked))


def read(path: Path) -> tuple[list[Row], list[bool]]:
    """The rows, and apart from them the answers."""
    rows, answers = [], []
    for one in json.loads(path.read_text(encoding="utf-8")):
        rows.append(parsed(one["input"]))
        answers.append(one["output"].startswith("Yes"))
    return rows, answers


def parsed(text: str) -> Row:
    likes, _, rest = text.partition("\nUser Unpreference: ")
    dislikes, _, asked = rest.partition("\nWhether the user will like the target movie ")
    liked, disliked = (tuple(TITLE.findall(one)) for one in (likes.partition(": ")[2], dislikes))
    return Row(liked, disliked, asked.strip().removesuffix("?").strip('"'))


def shares(rows: Sequence[Row]) -> Floats:
    """How much of what the row tells was liked: the whole baseline."""
    return np.array([row.share for row in rows])


class Rates:
    """How often a film was liked in valid.json, one row of everybody's opinion added."""

    def __init__(self, rows: Sequence[Row], answers: Sequence[bool]) -> None:
        self._of: Counter[str] = Counter(row.film for row in rows)
        self._yes: Counter[str] = Counter(row.film for row, yes in zip(rows, answers, strict=True) if yes)
        self._mean = float(np.mean(answers))

    def __call__(self, rows: Sequence[Row]) -> Floats:
        return np.array([(self._yes[row.film] + self._mean) / (self._of[row.film] + 1) for row in rows])


# what other people think


class Others:
    """MovieLens latest-small: ratings of other people, and which of its films a title means."""

    def __init__(self, folder: Path) -> None:
        with (folder / "ratings.csv").open(encoding="utf-8", newline="") as file:
            rated = [(row["userId"], row["movieId"], float(row["rating"])) for row in csv.DictReader(file)]
        with (folder / "movies.csv").open(encoding="utf-8", newline="") as file:
            self._titles = {row["title"]: row["movieId"] for row in csv.DictReader(file)}
        people = {user: at for at, user in enumerate(dict.fromkeys(user for user, _, _ in rated))}
        self.films = {film: at for at, film in enumerate(dict.fromkeys(film for _, film, _ in rated))}
        self.stars = np.zeros((len(people), len(self.films)))
        for user, film, stars in rated:
            self.stars[people[user], self.films[film]] = stars
        self.known = self.stars > 0
        self._exact = {plain(title): film for title, film in self._titles.items()}
        self._found: dict[str, int | None] = {}

    def place(self, title: str) -> int | None:
        """The column of the film with that title; None where nobody here rated it."""
        if title not in self._found:
            film = self._exact.get(plain(title)) or self._nearest(title)
            self._found[title] = self.films.get(film or "")
        return self._found[title]

    def _nearest(self, title: str) -> str | None:
        from rapidfuzz import fuzz

        written = YEAR.match(title)
        if not written:
            return None
        mine = names_of(written[1])

        def alike(other: str) -> float:
            return max(max(fuzz.ratio(one, other), fuzz.token_set_ratio(one, other) - 8) for one in mine)

        near = [(film, alike(name)) for name, year, film in self._named if abs(year - int(written[2])) <= 1]
        film, likeness = max(near, key=lambda pair: pair[1], default=(None, 0.0))
        return film if likeness >= SIMILAR else None

    @cached_property
    def _named(self) -> list[tuple[str, int, str]]:
        """(name, year, film), every name that a title holds."""
        written = [(YEAR.match(title), film) for title, film in self._titles.items()]
        return [(name, int(found[2]), film) for found, film in written if found for name in names_of(found[1])]

    @cached_property
    def liked_share(self) -> Floats:
        """film -> share of its ratings that are likes, drawn towards a half."""
        likes = (self.stars >= LIKED).sum(0)
        return (likes + 0.5 * FEW_STARS) / (self.known.sum(0) + FEW_STARS)

    def share(self, film: int) -> Share:
        """What people here thought of a film."""
        stars = self.stars[:, film]
        return Share(int((stars >= LIKED).sum()), int((stars > 0).sum()))

    @cached_property
    def centred(self) -> Floats:
        """Stars without what the person and the film give on average; 0 where there are none."""
        mean = self.stars.sum() / self.known.sum()
        own = (self.stars.sum(1) + mean * FEW_STARS) / (self.known.sum(1) + FEW_STARS)
        rest = (self.stars - own[:, None]) * self.known
        return (rest - rest.sum(0) / (self.known.sum(0) + FEW_STARS)) * self.known

    def alike(self, columns: Sequence[int]) -> Floats:
        """[columns, columns]: correlation of the films' ratings, drawn towards 0 where few people had both."""
        rest, known = self.centred[:, columns], self.known[:, columns].astype(np.float64)
        spread = (rest**2).T @ known
        both = known.T @ known
        return rest.T @ rest / np.sqrt(np.maximum(spread * spread.T, 1e-9)) * both / (both + SIMILARITY_DAMPING)

    @cached_property
    def factors(self) -> Floats:
        """[films, FACTORS] of the ratings, by alternating least squares from a fixed start. Koren et al. 2009."""
        films = np.random.default_rng(0).normal(0, 0.1, (len(self.films), FACTORS))
        for _ in range(ROUNDS):
            people = solved(films, self.centred, self.known)
            films = solved(people, self.centred.T, self.known.T)
        return films


def solved(basis: Floats, values: Floats, known: Any) -> Floats:
    """Each row of `values` as weights of `basis`, ridge regression over what is known of it."""
    eye = FACTOR_RIDGE * np.eye(basis.shape[1])
    return np.stack(
        [
            np.linalg.solve(basis[have].T @ basis[have] + eye, basis[have].T @ row[have])
            for row, have in zip(values, known, strict=True)
        ]
    )


def plain(title: str) -> str:
    return re.sub(r"[^a-z0-9()]+", " ", title.casefold()).strip()


def names_of(title: str) -> tuple[str, ...]:
    """The title without brackets, and each name in brackets: "Seven (a.k.a. Se7en)" has two."""
    inside = [one.replace("a.k.a.", "") for one in re.findall(r"\((.*?)\)", title)]
    return tuple(filter(None, map(plain, (re.sub(r"\(.*?\)", "", title), *inside))))


SIGNALS = (
    "likes in the row",
    "likes against what the films get",
    "others' likes of the film",
    "factors",
    "similar films",
)


class Signals:
    """The row in numbers, with what others think of its films; knows no label."""

    def __init__(self, others: Others, rows: Sequence[Row]) -> None:
        self._others = others
        titles = {title for row in rows for title in (*row.liked, *row.disliked, row.film)}
        columns = sorted({at for title in titles if (at := others.place(title)) is not None})
        self._at = {column: at for at, column in enumerate(columns)}
        self._alike = others.alike(columns)

    def __call__(self, row: Row) -> list[float]:
        """One number for each of SIGNALS; 0 where the film or the whole history is not known to others."""
        others = self._others
        odds = math.log((len(row.liked) + 1) / (len(row.disliked) + 1))
        film = others.place(row.film)
        film_share = 0.5 if film is None else float(others.liked_share[film])
        said = [
            (others.place(title), sign) for titles, sign in ((row.liked, 1.0), (row.disliked, -1.0)) for title in titles
        ]
        had = np.array([at for at, _ in said if at is not None], np.intp)
        if not len(had):
            return [odds, 0.0, film_share, 0.0, 0.0]
        opinion = np.array([sign for at, sign in said if at is not None]) - (2 * others.liked_share[had] - 1)
        leaning = float(opinion.sum() / (len(had) + 2))
        if film is None:
            return [odds, leaning, film_share, 0.0, 0.0]
        rest, basis = opinion - leaning, others.factors[had]
        own = np.linalg.solve(basis.T @ basis + OWN_RIDGE * np.eye(FACTORS), basis.T @ rest)
        near = self._alike[self._at[film], [self._at[at] for at in had]]
        close = float(near @ rest / (np.abs(near).sum() + 0.3))
        return [odds, leaning, film_share, float(others.factors[film] @ own), close]


class Regression:
    """Logistic regression of the first `signals`, fitted on valid.json."""

    def __init__(self, signals: Signals, rows: Sequence[Row], answers: Sequence[bool], used: Sequence[int]) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self._signals, self._used = signals, list(used)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY))
        self._model = model.fit(self._of(rows), list(answers))

    def __call__(self, rows: Sequence[Row]) -> Floats:
        return self._model.predict_proba(self._of(rows))[:, 1]

    def _of(self, rows: Sequence[Row]) -> Floats:
        return np.array([self._signals(row) for row in rows])[:, self._used]


class Model:
    """The product's question whether somebody will like one item, put to a model: log-odds of yes."""

    def __init__(self, others: Others, *, told: bool, pool: Regression | None = None) -> None:
        """`told`: what others think is part of the question. `pool`: its log-odds are averaged with the model's."""
        self._others, self._told, self._pool = others, told, pool

    def __call__(self, row: Row, ask: Ask) -> Answered:
        said = [Opinion(title, True) for title in row.liked] + [Opinion(title, False) for title in row.disliked]
        film = self._others.place(row.film)
        share = self._others.share(film) if self._told and film is not None else None
        reranker = Each(ask, config=RerankConfig(lately=len(said) or 1), others=lambda item: share)
        vote = reranker.vote(Query("u"), Profile("u"), [Candidate(Item("film", row.film), 0.0)], said)
        (score,) = vote.scores
        if self._pool:
            (likely,) = self._pool([row])
            score = (score + math.log(likely / (1 - likely))) / 2
        spent = vote.provenance
        wrong = ("unreadable",) if vote.repairs else ()
        return Answered(score, spent.prompts, prompt_tokens=spent.prompt_tokens, invalid=wrong)


# the board


def load(data: Path) -> list[Part]:
    valid, valid_answers = read(data / FOLDER / "valid.json")
    rows, answers = read(data / FOLDER / "test.json")
    cases = tuple(Case(f"{at}", row, slices=slices(row)) for at, row in enumerate(rows))
    labels = Labels(
        {f"{at}": (yes, round(row.share, 6)) for at, (row, yes) in enumerate(zip(rows, answers, strict=True))}
    )
    return [
        Part(
            "test",
            cases,
            labels,
            systems(Others(data / FILMS), valid, valid_answers, rows),
            MEASURES,
            {
                "valid.json rows": (len(valid), 1000),
                "of them yes": (sum(valid_answers), 658),
                "test.json rows": (len(rows), 1000),
                "of them, yes": (sum(answers), 528),
            },
            BARS,
            PUBLISHED,
            tolerance=0.3,
        )
    ]


def slices(row: Row) -> tuple[tuple[str, str], ...]:
    length = len(row.liked) + len(row.disliked)
    return (("films in the row", "up to 5" if length <= 5 else "6 to 9" if length < 10 else "10 and more"),)


def systems(others: Others, valid: Sequence[Row], answers: Sequence[bool], rows: Sequence[Row]) -> tuple[System, ...]:
    rates = Rates(valid, answers)
    signals = Signals(others, [*valid, *rows])

    def fitted(*used: int) -> Regression:
        return Regression(signals, valid, answers, used)

    everything = fitted(0, 1, 2, 3, 4)

    def half(some: Sequence[Row]) -> Floats:
        return shares(some) + 0.5 * rates(some)

    return (
        System(SHARE, "baseline", shares, expected={"AUC x100": 72.6}),
        System("how often valid.json likes the film", "baseline", rates, expected={"AUC x100": 58.3}),
        System("both, the second with half weight", "baseline", half, expected={"AUC x100": 73.7}),
        System("how often others like the film", "rapport", lambda some: np.array([signals(row)[2] for row in some])),
        System("likes in the row + others' likes of the film", "rapport", fitted(0, 2)),
        System("+ likes against what those films get", "rapport", fitted(0, 1, 2)),
        System(ALL, "rapport", everything, about=", ".join(SIGNALS)),
        System("a model asked yes or no", "rapport", one=Model(others, told=False)),
        System(ASKED, "rapport", one=Model(others, told=True)),
        System(POOLED, "rapport", one=Model(others, told=True, pool=everything), about="mean of the two log-odds"),
    )


def inside_equal_shares(rows: Floats) -> float:
    """AUC x100 over the pairs of rows with the same share of likes: what is known of the film. Columns score, label,
    share."""
    order = np.lexsort((rows[:, 0], rows[:, 2]))
    scores, yes, shares_ = rows[order, 0], rows[order, 1] > 0, rows[order, 2]
    new_share = np.r_[True, shares_[1:] != shares_[:-1]]
    new_value = new_share | np.r_[True, scores[1:] != scores[:-1]]
    value, group = np.cumsum(new_value) - 1, np.cumsum(new_share) - 1
    sizes = np.bincount(value)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[value] - np.flatnonzero(new_share)[group]
    ups, all_ = np.bincount(group[yes], minlength=group[-1] + 1), np.bincount(group)
    above = np.bincount(group[yes], ranks[yes], group[-1] + 1) - ups * (ups + 1) / 2
    pairs = float((ups * (all_ - ups)).sum())
    return 100 * float(above.sum()) / pairs if pairs else 50.0


POOLED = "that and all signals"
ASKED = "the same, told how many others like the film"
SHARE = "likes / (likes + dislikes) in the row"
ALL = "+ factors and similar films of other people"
MEASURES = (
    Measure("AUC x100", lambda answer, label: (answer, label[0]), lambda rows: 100 * area(rows)),
    Measure("AUC x100 in equal shares", lambda answer, label: (answer, *label), inside_equal_shares),
)
BARS = (Bar(ALL, "AUC x100", 77.0, SHARE), Bar(ASKED, "AUC x100", 75.0), Bar(POOLED, "AUC x100", 78.0))
PUBLISHED = (
    Published("TALLRec, 7B model, 16 shots", {"AUC x100": 67.24}),
    Published("TALLRec, 7B model, 64 shots", {"AUC x100": 67.48}),
    Published("TALLRec, 7B model, 256 shots", {"AUC x100": 71.98}),
    Published("DROS-BERT, 256 shots", {"AUC x100": 53.94}),
)
BOARD = Board(
    "board-b",
    1,
    "B. Will they like it?",
    "test.json, one row at a time; everything fitted on valid.json and on other people's ratings; AUC x100",
    tuple(f"{FOLDER}/{one}.json" for one in ("valid", "test"))
    + tuple(f"{FILMS}/{one}.csv" for one in ("movies", "ratings")),
    load,
)
