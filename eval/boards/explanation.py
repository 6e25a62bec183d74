"""Board C: does a reason speak of this place and this person, and is every claim of it true?

XRec's Google and Yelp rows measure whether a text fits its own reference better than others'; the references hold facts
of a later review that no honest system can know, so that only differences count. On MovieLens, where the facts are at
hand, every claim of Rapport's reasons is looked up in the files by code that shares nothing with the product's check.
"""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from agent import show
from agent.features import number
from agent.history.importing import import_path
from agent.history.text import turn_article
from agent.settings import Settings
from agent.wiring import Rapport
from eval import movielens
from eval.board import Bar, Board, Case, Labels, Part, System
from eval.compare import Measure

FOLDER, FILMS = "xrec-explanations", "movielens-latest-small"
TOKEN = re.compile(r"[a-z0-9']+")
NEIGHBOURS = 20
CONSTANT = "The user would enjoy the business because of its great service, delicious food and friendly staff."
OPENING = "The user would enjoy the business because "
PIECES = re.compile(r",| and | with | for | who | as |\.")
AUDIENCE = re.compile(
    r"\b(?:would|will)\s+(?:enjoy|appreciate|love|like)\b|\b(?:fans|lovers|enthusiasts|seekers) of\b", re.I
)
"""Whom a summary is written for; what is left says what the place has."""
PEOPLE, EACH = 60, 5
"""On MovieLens: people, evenly spread, and reasons for each."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What a system sees of a case: never what the reference says."""

    title: str
    user: str
    item: str


# XRec: systems


def extract(pair: Pair) -> str:
    """What the item's own summary says, piece by piece; first what answers to the person's."""
    wanted = set(TOKEN.findall(pair.user.casefold())) - stop_words()
    pieces = [piece for one in PIECES.split(AUDIENCE.sub(" ", pair.item)) if (piece := " ".join(one.split()))]
    shared = [one for one in pieces if wanted & set(TOKEN.findall(one.casefold()))]
    rest = [one for one in pieces if one not in shared]
    return f"The user would enjoy {pair.title} for {', '.join([*shared, *rest])}."


def stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return ENGLISH_STOP_WORDS


def each(write: Callable[[Pair], str]) -> Callable[[Sequence[Pair]], list[str]]:
    return lambda pairs: [write(one) for one in pairs]


def xrec_systems(expected: Mapping[str, Sequence[float]]) -> tuple[System, ...]:
    def due(name: str) -> dict[str, float]:
        return dict(zip(("ROUGE-L right", "margin", "1-of-20"), expected[name], strict=True))

    return (
        System("one sentence for everybody", "baseline", each(lambda _: CONSTANT), expected=due("constant")),
        System(COPY, "baseline", each(lambda one: one.item), expected=due("copy")),
        System("an opening + item summary", "baseline", each(lambda one: OPENING + one.item), expected=due("opening")),
        System("user summary copied", "baseline", each(lambda one: one.user), expected=due("user")),
        System(
            EXTRACT, "rapport", each(extract), about="pieces of the item's summary, what answers to the person's first"
        ),
    )


COPY, EXTRACT = "item summary copied", "name and pieces of the item's summary, the person's first"


# XRec: measures


@dataclass(frozen=True, slots=True)
class Around:
    """A row's reference, and those after it."""

    row: int
    references: References


class References:
    """All references of a file, as tokens and as vectors."""

    def __init__(self, texts: Sequence[str], summaries: Sequence[str]) -> None:
        self._texts, self._summaries = texts, summaries
        self.tokens = [TOKEN.findall(one.casefold()) for one in texts]

    @cached_property
    def _fitted(self) -> tuple[Any, Any]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectors = TfidfVectorizer(stop_words="english").fit([*self._texts, *self._summaries])
        return vectors, vectors.transform(self._texts)

    def after(self, row: int, by: int) -> int:
        return (row + by) % len(self._texts)

    def closest(self, text: str, row: int) -> bool:
        """Whether the row's own reference is strictly the nearest of itself and the next 19."""
        vectors, rows = self._fitted
        near = (vectors.transform([text]) @ rows[[self.after(row, by) for by in range(NEIGHBOURS)]].T).toarray().ravel()
        return bool(near[0] > near[1:].max())


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """F1 of the longest common subsequence of tokens. Source: Lin 2004."""
    common = longest_common(one, other)
    return 2 * common / (len(one) + len(other)) if common else 0.0


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, a bit per token. Source: Hyyrö 2004."""
    at: dict[str, int] = {}
    for place, token in enumerate(one):
        at[token] = at.get(token, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for token in other:
        hit = row & at.get(token, 0)
        row = ((row + hit) | (row - hit)) & full
    return len(one) - row.bit_count()


def right_minus_wrong(text: str, around: Around) -> tuple[float]:
    references, tokens = around.references, TOKEN.findall(text.casefold())
    own, next_ = (references.tokens[references.after(around.row, by)] for by in (0, 1))
    return (rouge_l(tokens, own) - rouge_l(tokens, next_),)


def right(text: str, around: Around) -> tuple[float]:
    return (rouge_l(TOKEN.findall(text.casefold()), around.references.tokens[around.row]),)


def one_of_20(text: str, around: Around) -> tuple[float]:
    return (float(around.references.closest(text, around.row)),)


XREC_MEASURES = (
    Measure("margin", right_minus_wrong),
    Measure("1-of-20", one_of_20),
    Measure("ROUGE-L right", right),
    Measure("words", lambda text, _: (float(len(text.split())),), higher_is_better=False),
)
EXPECTED = {
    "Google": {
        "constant": (0.372, 0.0, 0.05),
        "copy": (0.129, 0.021, 0.414),
        "opening": (0.291, 0.018, 0.413),
        "user": (0.151, 0.005, 0.111),
    },
    "Yelp": {
        "constant": (0.310, 0.0, 0.05),
        "copy": (0.153, 0.034, 0.678),
        "opening": (0.254, 0.028, 0.679),
        "user": (0.162, 0.004, 0.106),
    },
}
PEOPLE_AND_PLACES = {"Google": (2479, 2531), "Yelp": (2228, 2473)}
BARS = {"Google": (0.021, 0.414), "Yelp": (0.034, 0.678)}


def xrec(name: str, path: Path) -> Part:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    references = References([row["explanation"] for row in rows], [row["item_summary"] for row in rows])
    cases = tuple(
        Case(f"{at}", Pair(row["title"], row["user_summary"], row["item_summary"])) for at, row in enumerate(rows)
    )
    people, places = PEOPLE_AND_PLACES[name]
    margin, closest = BARS[name]
    return Part(
        name,
        cases,
        Labels({f"{at}": Around(at, references) for at in range(len(rows))}),
        xrec_systems(EXPECTED[name]),
        XREC_MEASURES,
        {
            "rows": (len(rows), 3000),
            "people": (len({row["uid"] for row in rows}), people),
            "places": (len({row["iid"] for row in rows}), places),
        },
        (Bar(EXTRACT, "margin", margin, COPY), Bar(EXTRACT, "1-of-20", closest, COPY)),
    )


# MovieLens: the product's reasons, and what they claim


@dataclass(frozen=True, slots=True)
class Reason:
    """As a person gets it."""

    item: str
    text: str
    by: str
    receipts: tuple[str, ...]
    """Items of the history."""


@dataclass(frozen=True)
class Facts:
    """What the files say of one person and of everybody; the scorer's alone."""

    stars: Mapping[str, float]
    """Film -> what the person gave it."""
    names: Mapping[str, str]
    """Film -> title as it is shown."""
    kinds: Mapping[str, frozenset[str]]
    years: Mapping[str, int]
    people: Mapping[str, frozenset[str]]
    """Film -> everybody who rated it."""


GAVE = re.compile(r"^, which you gave (\d(?:\.\d)?) stars?")
DECADE = re.compile(r"\b(\d{3}0)s\b")
PEOPLE_HAVE = re.compile(r"(?:^|, but )(\d+) people have this and ")


def claims(reason: Reason, facts: Facts) -> list[bool]:
    """Every claim of a reason, true or not: titles named and their stars, kinds, decades, numbers of people."""
    text, found = reason.text, []
    shared = PEOPLE_HAVE.search(text)
    mine: defaultdict[str, list[str]] = defaultdict(list)
    for film in facts.stars:
        if film in facts.names and film != reason.item:
            mine[facts.names[film]].append(film)
    for name in sorted(mine, key=len, reverse=True):
        place = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
        if not place:
            continue
        # Films of one name cannot be told apart by it: any of them may be meant.
        gave = GAVE.match(text[place.end() :])
        found.append(gave is None or any(float(gave[1]) == facts.stars[film] for film in mine[name]))
        if shared:
            had = facts.people.get(reason.item, frozenset())
            found.append(any(len(had & facts.people.get(film, frozenset())) == int(shared[1]) for film in mine[name]))
            shared = None
        text = text[: place.start()] + text[place.end() :]
    if "which you gave" in reason.text and not found:
        found.append(False)
    own = facts.kinds.get(reason.item, frozenset())
    every = frozenset().union(*facts.kinds.values()) if facts.kinds else frozenset()
    low = text.casefold()
    found += [kind in own for kind in every if re.search(rf"\b{re.escape(kind)}\b", low)]
    found += [facts.years.get(reason.item, 0) // 10 * 10 == int(decade) for decade in DECADE.findall(low)]
    return found


def grounded(reasons: Sequence[Reason], facts: Facts) -> tuple[float]:
    """Share of claims that hold; nan for a person whose reasons claim nothing."""
    told = [holds for one in reasons for holds in claims(one, facts)]
    return (float(np.mean(told)) if told else np.nan,)


def receipted(reasons: Sequence[Reason], facts: Facts) -> tuple[float]:
    """Share of reasons that name the person's history and whose every receipt is in it; nan without such reasons."""
    owing = [one for one in reasons if one.receipts or "you" in one.text.casefold().split()]
    held = [bool(one.receipts) and set(one.receipts) <= facts.stars.keys() for one in owing]
    return (float(np.mean(held)) if held else np.nan,)


def reasons_of(folder: Path, people: Sequence[str]) -> list[list[Reason]]:
    """What `rapport recommend` tells each of them, without a model."""
    with tempfile.TemporaryDirectory(prefix="rapport-board-c-") as scratch:
        settings = Settings(home=Path(scratch), llm="none", domain="film", embedder="hashing")
        with Rapport(settings) as rapport, show.progress("reasons") as progress:
            import_path(rapport.store, folder)
            rapport.build_index()
            rapport.train()
            found = []
            for at, user in enumerate(people):
                progress(at, len(people))
                answer = rapport.recommend(user, EACH)
                found.append(
                    [
                        Reason(one.item.id, one.reason, one.written_by, tuple(r.item for r in one.receipts))
                        for one in answer.items
                    ]
                )
            return found


def films(data: Path) -> Part:
    folder = data / FILMS
    catalogue = movielens.films(folder)
    kinds = {id: frozenset(one.casefold() for one in film.categories) for id, film in catalogue.items()}
    years = {id: int(number(film, "year") or 0) for id, film in catalogue.items()}
    # Not only English articles stand in front where a title is shown.
    names = {id: turn_article(film.title) for id, film in catalogue.items()}
    stars: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for row in table(folder / "ratings.csv"):
        stars[row["userId"]][row["movieId"]] = float(row["rating"])
    people = sorted(stars, key=int)[:: max(1, len(stars) // PEOPLE)][:PEOPLE]
    had: defaultdict[str, set[str]] = defaultdict(set)
    for user, seen in stars.items():
        for film in seen:
            had[film].add(user)
    raters = {film: frozenset(users) for film, users in had.items()}
    ratings = sum(map(len, stars.values()))
    return Part(
        "MovieLens reasons",
        tuple(Case(user, user) for user in people),
        Labels({user: Facts(stars[user], names, kinds, years, raters) for user in people}),
        (
            System(
                REASONS, "rapport", lambda some: reasons_of(folder, some), about="templates, no model; one home for all"
            ),
        ),
        (
            Measure("claims grounded", grounded),
            Measure("reasons with receipts", receipted),
            Measure("reasons", counted),
        ),
        {"ratings": (ratings, 100836), "films": (len(names), 9742)},
        (Bar(REASONS, "claims grounded", 0.98), Bar(REASONS, "reasons with receipts", 1.0)),
    )


def counted(reasons: Sequence[Reason], _: Facts) -> tuple[float]:
    return (float(len(reasons)),)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


REASONS = "Rapport's reasons"


def load(data: Path) -> list[Part]:
    return [
        xrec("Google", data / FOLDER / "google_tst.jsonl"),
        xrec("Yelp", data / FOLDER / "yelp_tst.jsonl"),
        films(data),
    ]


BOARD = Board(
    "board-c",
    1,
    "C. Reasons: of this place and person, and true",
    "right-minus-wrong ROUGE-L margin and 1-of-20 (chance .05) on XRec; claims looked up in MovieLens's files",
    (
        *(f"{FOLDER}/{one}_tst.jsonl" for one in ("google", "yelp")),
        *(f"{FILMS}/{one}.csv" for one in ("movies", "ratings")),
    ),
    load,
)
