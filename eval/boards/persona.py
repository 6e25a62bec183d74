"""Board F: is a profile of this person, or would anybody's do? Swap test on the Amazon Reviews 2023 sample.

Profiles are made by Rapport from the four earlier reviews of a sequence, imported without the one held out. A case
holds two profiles, the person's own and another's of the same category, and 20 titles, one of which was bought next;
of the held-out review neither text nor stars are read.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent import show
from agent.history.importing import import_path
from agent.settings import Settings
from agent.settings import load as settings_of
from agent.types import Profile
from agent.wiring import Rapport
from eval.board import Bar, Board, Case, Labels, Part, System
from eval.compare import Measure
from eval.metrics import Floats, mrr, ndcg, recall, tied_rank

FOLDER, FILE = "amazon-reviews-2023-sample", "training.jsonl"
CANDIDATES = 20
TextVectors = Callable[[Sequence[str]], Any]


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of somebody before the held-out review."""

    titles: tuple[str, ...]
    reviews: tuple[str, ...]
    stars: tuple[float, ...]
    tags: tuple[str, ...] = ()
    persona: str = ""
    receipts: tuple[str, ...] = ()
    """Titles of the products that the tags rest on."""
    quotes: tuple[str, ...] = ()

    @property
    def profile(self) -> str:
        """All that the profile says, and nothing else of the history."""
        return " ".join((*self.tags, self.persona, *self.receipts, *self.quotes))


@dataclass(frozen=True, slots=True)
class Choice:
    """What a system sees of a case."""

    own: Person
    swapped: Person
    titles: tuple[str, ...]
    """Candidates, in an order that says nothing."""


@dataclass(frozen=True, slots=True)
class Picked:
    """Scores of the candidates for each of the two people."""

    own: Floats
    swapped: Floats


def load(data: Path) -> list[Part]:
    rows = [json.loads(line) for line in (data / FOLDER / FILE).read_text(encoding="utf-8").splitlines()]
    people = described(rows)
    next_titles = [title(row["heldout"]) for row in rows]
    of_category: defaultdict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        of_category[row["category"]].append(at)
    other = swaps(of_category)
    cases, labels = [], {}
    for at, row in enumerate(rows):
        chance = np.random.default_rng(at)
        others = [one for one in of_category[row["category"]] if rows[one]["user_id"] != row["user_id"]]
        offered = [at, *chance.choice(others, CANDIDATES - 1, replace=False).tolist()]
        order = chance.permutation(len(offered))
        shown = Choice(people[at], people[other[at]], tuple(next_titles[offered[place]] for place in order))
        cases.append(Case(f"{at}", shown, slices=(("category", row["category"]),)))
        labels[f"{at}"] = (int(np.flatnonzero(order == 0)[0]), float(row["heldout"]["rating"]))
    return [
        Part(
            "sequences",
            tuple(cases),
            Labels(labels),
            systems([case.shown for case in cases]),
            MEASURES,
            {
                "sequences": (len(rows), 598),
                "categories": (len(of_category), 23),
                "people": (len({row["user_id"] for row in rows}), 316),
                "held-out products without a title": (sum(not one for one in next_titles), 14),
            },
            (Bar(PROFILE, "gap acc@1", 0.13, TITLES), Bar(PROFILE, "gap NDCG@10", 0.16, TITLES)),
            tolerance=0.015,
            notes=(
                "the protocol names a seed but not the generator: candidates here are another draw of the same rule",
            ),
        )
    ]


def swaps(of_category: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """Each sequence's other one: its category permuted with seed 0, shifted by one."""
    found = {}
    for places in of_category.values():
        order = np.random.default_rng(0).permutation(places).tolist()
        found.update(zip(order, [*order[-1:], *order[:-1]], strict=True))
    return found


def title(review: Mapping[str, Any]) -> str:
    return review["product"]["title"] or ""


def described(rows: Sequence[Mapping[str, Any]]) -> list[Person]:
    """Everybody before the held-out review, with the profile that Rapport makes of it."""
    with tempfile.TemporaryDirectory(prefix="rapport-board-f-") as scratch:
        file = Path(scratch) / "sequences.jsonl"
        # One person per sequence; what is held out is not written, so that it cannot be read.
        parts = [
            {"user_id": f"{at}", **{key: row[key] for key in ("category", "history")}} for at, row in enumerate(rows)
        ]
        file.write_text("".join(json.dumps(one) + "\n" for one in parts), encoding="utf-8")
        settings = Settings(home=Path(scratch) / "home", llm="none", domain="product", embedder="hashing")
        with Rapport(settings) as rapport, show.progress("profiles") as progress:
            import_path(rapport.store, file)
            found = []
            for at, row in enumerate(rows):
                progress(at, len(rows))
                found.append(person(row["history"], rapport, rapport.profile(f"{at}")))
            return found


def person(history: Sequence[Mapping[str, Any]], rapport: Rapport, profile: Profile) -> Person:
    receipts = [one for tag in profile.tags if tag.polarity > 0 for one in tag.receipts]
    named = rapport.store.items(list(dict.fromkeys(one.item for one in receipts)))
    return Person(
        tuple(title(one) for one in history),
        tuple(f"{one['review_title'] or ''} {one['review_full'] or ''}" for one in history),
        tuple(float(one["rating"]) for one in history),
        tuple(tag.name for tag in profile.tags if tag.polarity > 0),
        profile.persona,
        tuple(item.title for item in named.values()),
        tuple(dict.fromkeys(one.quote for one in receipts if one.quote)),
    )


# systems


class Words:
    """Nearness of words, TF-IDF fitted on histories and offered titles."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = [" ".join((*one.own.titles, *one.own.reviews)) for one in choices]
        self._vectors = TfidfVectorizer(sublinear_tf=True).fit([*texts, *(t for one in choices for t in one.titles)])

    def __call__(self, text: str, titles: Sequence[str]) -> Floats:
        from scipy.sparse import csr_matrix

        mine, theirs = self._vectors.transform([text]), self._vectors.transform(titles)
        return csr_matrix(mine).dot(csr_matrix(theirs).T).toarray().ravel()


class Meaning:
    """Nearness of meaning, by the product's embedder: the nearest of several texts decides."""

    def __init__(self) -> None:
        self._known: dict[str, Floats] = {}

    def learn(self, texts: Sequence[str]) -> None:
        """Embed what is new, all at once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        with (
            tempfile.TemporaryDirectory(prefix="rapport-board-f-") as scratch,
            Rapport(Settings(home=Path(scratch), llm="none", embedder=settings_of().embedder)) as rapport,
            show.progress("embedding titles") as progress,
        ):
            for start in range(0, len(new), BATCH):
                progress(start, len(new))
                part = new[start : start + BATCH]
                self._known.update(zip(part, np.asarray(rapport.embedder.embed(part)), strict=True))

    def __call__(self, texts: Sequence[str], titles: Sequence[str]) -> Floats:
        if not texts:
            return np.zeros(len(titles))
        mine, theirs = (np.stack([self._known[one] for one in some]) for some in (texts, titles))
        return (mine @ theirs.T).max(0)


BATCH = 128


def systems(choices: Sequence[Choice]) -> tuple[System, ...]:
    words = Words(choices)

    def by_words(text: Callable[[Person], str]) -> Callable[[Sequence[Choice]], list[Picked]]:
        return lambda some: [
            Picked(*(words(text(one), choice.titles) for one in (choice.own, choice.swapped))) for choice in some
        ]

    def by_profile(some: Sequence[Choice]) -> list[Picked]:
        meaning = Meaning()
        people = [one for choice in some for one in (choice.own, choice.swapped)]
        meaning.learn([*(text for one in people for text in telling(one)), *(t for one in some for t in one.titles)])

        def score(one: Person, titles: Sequence[str]) -> Floats:
            return standard(words(one.profile, titles)) + standard(meaning(telling(one), titles))

        return [Picked(score(one.own, one.titles), score(one.swapped, one.titles)) for one in some]

    return (
        System(TITLES, "baseline", by_words(lambda one: " ".join(one.titles)), expected=EXPECTED[0]),
        System("TF-IDF of history titles and reviews", "baseline", by_words(everything), expected=EXPECTED[1]),
        System(
            "Rapport's tags and persona, by words", "rapport", by_words(lambda one: " ".join((*one.tags, one.persona)))
        ),
        System("Rapport's profile, by words", "rapport", by_words(lambda one: one.profile)),
        System(PROFILE, "rapport", by_profile, about="tags, persona, receipts and quotes; equal weights"),
    )


def everything(one: Person) -> str:
    return " ".join((*one.titles, *one.reviews))


def telling(one: Person) -> tuple[str, ...]:
    """The parts of a profile that are compared by meaning."""
    return tuple(text for text in (*one.receipts, *one.tags) if text)


def standard(scores: Floats) -> Floats:
    spread = scores.std()
    return (scores - scores.mean()) / spread if spread > 0 else scores - scores.mean()


# measures


def rank(scores: Floats, right: int) -> float:
    return tied_rank(scores, right)


def gap(gain: Callable[[float], float]) -> Callable[[Picked, tuple[int, float]], tuple[float]]:
    return lambda picked, label: (gain(rank(picked.own, label[0])) - gain(rank(picked.swapped, label[0])),)


def own(gain: Callable[[float], float]) -> Callable[[Picked, tuple[int, float]], tuple[float]]:
    return lambda picked, label: (gain(rank(picked.own, label[0])),)


def first(one: float) -> float:
    return float(recall([one], 1)[0])


def ten(one: float) -> float:
    return float(ndcg([one], 10)[0])


TITLES, PROFILE = "TF-IDF of history titles", "Rapport's profile, by words and meaning"
EXPECTED = (
    {"gap acc@1": 0.112, "gap NDCG@10": 0.142, "acc@1[20cand]": 0.156, "NDCG@10[20cand]": 0.341},
    {"gap acc@1": 0.099, "gap NDCG@10": 0.136, "acc@1[20cand]": 0.151, "NDCG@10[20cand]": 0.339},
)
MEASURES = (
    Measure("gap acc@1", gap(first)),
    Measure("gap NDCG@10", gap(ten)),
    Measure("acc@1[20cand]", own(first)),
    Measure("NDCG@10[20cand]", own(ten)),
    Measure("MRR@20[20cand]", own(lambda one: float(mrr([one], 20)[0]))),
)
BOARD = Board(
    "board-f",
    1,
    "F. Is the profile of this person?",
    "598 sequences; own minus swapped on the same 20 candidates [of the category, seed = row]; chance .050 / .227",
    (f"{FOLDER}/{FILE}",),
    load,
)
