"""Board G: is a review read rightly? Chinese shop and delivery reviews, and Amazon stars; macro-F1.

The anchor is fitted on four fifths and read on the rest. Rapport's reading is zero-shot and gets the text alone: no
stars, no label, no fold.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from agent.ask import Ask
from agent.history.records import review_text
from agent.persona.reading import read
from agent.types import Event, Language
from eval.board import Answered, Bar, Board, Case, Labels, Part, System
from eval.compare import Measure, f1, mean

CHINESE, AMAZON = "chinese-reviews", "amazon-reviews-2023-sample"
WAIMAI, SHOPPING, REVIEWS = "waimai_10k.csv", "online_shopping_10_cats.zip", "training.jsonl"
FOLDS = 5
ZERO_SHOT = 1000
"""Rows that a model is asked."""
UNITS: Mapping[Language, Literal["char", "word"]] = {"zh": "char", "en": "word"}
"""What the anchor counts, one and two of them."""
UNSURE = 1 / 3
"""A feeling between -UNSURE and UNSURE is neither, where there are three classes."""


@dataclass(frozen=True, slots=True)
class Review:
    """What a system sees of a case."""

    text: str
    group: str
    """Who wrote it; "" where that is not known."""


def anchored(reviews: Sequence[Review], labels: Sequence[int], language: Language) -> list[int]:
    """TF-IDF and logistic regression: each fold read by what was fitted on the other four.

    Folds are stratified, and keep one writer's reviews together.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    vectors = TfidfVectorizer(sublinear_tf=True, min_df=2, analyzer=UNITS[language], ngram_range=(1, 2))
    model = make_pipeline(vectors, LogisticRegression(class_weight="balanced", max_iter=1000))
    texts, groups = [one.text for one in reviews], [one.group for one in reviews]
    if any(groups):
        folds = GroupKFold(FOLDS, shuffle=True, random_state=0)
        return list(cross_val_predict(model, texts, labels, groups=groups, cv=folds))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return list(cross_val_predict(model, texts, labels, cv=folds))


class Anchor:
    """Fitted on labels of other folds: what it was fitted with is its own, and a case's label is in another fold."""

    def __init__(self, reviews: Sequence[Review], labels: Sequence[int], language: Language) -> None:
        self._reviews, self._labels = reviews, labels
        self._language: Language = language

    def __call__(self, shown: Sequence[Review]) -> list[int]:
        return anchored(self._reviews, self._labels, self._language)


def majority(common: int, shown: Sequence[Review]) -> list[int]:
    return [common] * len(shown)


def zero_shot(language: Language, classes: int, shown: Review, ask: Ask) -> Answered:
    """The product's reading of a review without stars, on the text that its importer makes of it."""
    event = Event(1, "u", "i", "review", None, text=shown.text)
    found = read([event], ask, language)
    feeling = found.feelings.get(event.id)
    invalid = found.notes if feeling is None else ()
    said = 0.0 if feeling is None else feeling
    answer = int(said > 0) if classes == 2 else int(said > -UNSURE) + int(said > UNSURE)
    return Answered(answer, found.prompts, prompt_tokens=found.tokens, invalid=invalid)


Counted = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Expected:
    majority: dict[str, float]
    anchor: dict[str, float]

    @classmethod
    def of(cls, *figures: float) -> Expected:
        """Accuracy and macro-F1 of the majority, then of the anchor."""
        names = ("accuracy", "macro-F1")
        return cls(dict(zip(names, figures[:2], strict=True)), dict(zip(names, figures[2:], strict=True)))


def part(
    name: str,
    rows: Sequence[tuple[Review, int]],
    language: Language,
    expected: Expected,
    found: Counted,
    bar: float | None = None,
) -> Part:
    """A data set as a part: every case read by the anchor, ZERO_SHOT of them by the model, which is to reach `bar`,
    else the anchor."""
    reviews, labels = [one for one, _ in rows], [label for _, label in rows]
    classes = len(set(labels))
    common = int(np.bincount(labels).argmax())
    systems = (
        System("the more frequent class", "baseline", partial(majority, common), expected=expected.majority),
        System(ANCHOR, "baseline", Anchor(reviews, labels, language), expected=expected.anchor),
        System(READING, "rapport", one=partial(zero_shot, language, classes), about="choose, no example, no stars"),
    )
    cases = tuple(Case(f"{at}", reviews[at]) for at in range(len(rows)))
    return Part(
        name,
        cases,
        Labels({f"{at}": label for at, label in enumerate(labels)}),
        systems,
        MEASURES,
        {"rows": found},
        (Bar(READING, "macro-F1", bar or expected.anchor["macro-F1"], ANCHOR),),
        tolerance=0.006,
        few=ZERO_SHOT,
    )


def load(data: Path) -> list[Part]:
    waimai = labelled(csv.DictReader((data / CHINESE / WAIMAI).open(encoding="utf-8-sig", newline="")))
    with zipfile.ZipFile(data / CHINESE / SHOPPING) as archive, archive.open(archive.namelist()[0]) as file:
        shopping = labelled(csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline="")))
    reviews = [
        (one["rating"], Review(review_text(one["review_title"], one["review_full"]), row["user_id"]))
        for row in map(json.loads, (data / AMAZON / REVIEWS).read_text(encoding="utf-8").splitlines())
        for one in (*row["history"], row["heldout"])
    ]
    three = [(review, 0 if stars <= 2 else 1 if stars == 3 else 2) for stars, review in reviews]
    two = [(review, int(label == 2)) for review, label in three if label != 1]
    return [
        part("waimai", waimai, "zh", Expected.of(0.666, 0.400, 0.897, 0.885), (len(waimai), 11987)),
        part("online_shopping", shopping, "zh", Expected.of(0.505, 0.336, 0.935, 0.935), (len(shopping), 62773)),
        part("Amazon, 3 classes", three, "en", Expected.of(0.814, 0.299, 0.860, 0.622), (len(three), 2990), 0.64),
        part("Amazon, 2 classes", two, "en", Expected.of(0.878, 0.468, 0.933, 0.832), (len(two), 2770), 0.85),
    ]


def labelled(rows: csv.DictReader[str]) -> list[tuple[Review, int]]:
    """The rows with a text; a mark at a text's beginning that shows nothing is taken off."""
    texts = ((one["review"].lstrip("\ufeff").strip(), int(one["label"])) for one in rows)
    return [(Review(text, ""), label) for text, label in texts if text]


ANCHOR, READING = "TF-IDF + logistic regression, out of fold", "Rapport's reading, zero-shot"
MEASURES = (
    Measure("macro-F1", lambda said, label: (said, label), f1),
    Measure("accuracy", lambda said, label: (float(said == label),), mean),
)
BOARD = Board(
    "board-g",
    1,
    "G. What a review feels",
    "5 folds out of fold, seed 0, by writer where known; a model is asked 1,000 rows zero-shot, paired on those rows",
    (f"{CHINESE}/{WAIMAI}", f"{CHINESE}/{SHOPPING}", f"{AMAZON}/{REVIEWS}"),
    load,
)
