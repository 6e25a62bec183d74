"""Board D1: which film is recommended next in this dialogue? ReDial's validation part, every film ranked.

A case holds the turn's words and the films named so far. What a system learns from other dialogues never includes the
case's own: `Crowd.without` takes it out before anything is counted, the answer of the turn and all later ones with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from eval.board import Bar, Board, Case, Labels, Part, Published, System
from eval.compare import Measure
from eval.metrics import Floats, tied_rank

FOLDER = "redial"
HANDLE = re.compile(r"@\d+")
DAMPING, POPULARITY = 20.0, 0.001
"""Of co-mention, as in the protocol."""
FOLDS = 5
"""Weights are chosen on the dialogues of the other folds."""
GRID = {
    "together": (1.0,),
    "popular": (0.3,),
    "alike": (0.3, 0.6),
    "same story": (0.0, 0.5, 1.0),
    "said": (0.15, 0.4),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What a system sees of a case."""

    dialogue: int
    """Place of its dialogue among all: what is to be left out when learning from them."""
    context: tuple[str, ...]
    films: tuple[int, ...]
    """Places of the films named so far."""

    def words(self, names: Sequence[str]) -> str:
        """What was said, without the titles."""
        text = " ".join(self.context)
        for film in self.films:
            text = text.replace(names[film], " ")
        return text


@dataclass(frozen=True)
class Crowd:
    """All dialogues, and the catalogue."""

    names: tuple[str, ...]
    about: tuple[str, ...]
    """Title, plot, kinds and people of each film."""
    said: tuple[str, ...]
    """What was said in each dialogue, without titles."""
    named: tuple[tuple[int, ...], ...]
    """The films that each dialogue names."""

    @cached_property
    def has(self) -> Any:
        """[dialogues, films], sparse, 1 where a dialogue names a film."""
        from scipy.sparse import csr_matrix

        rows = np.repeat(np.arange(len(self.named)), [len(one) for one in self.named])
        columns = np.fromiter((film for one in self.named for film in one), np.intp)
        return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(self.named), len(self.names)))

    @cached_property
    def both(self) -> Floats:
        """[films, films]: dialogues that name both."""
        counts = (self.has.T @ self.has).toarray()
        np.fill_diagonal(counts, 0)
        return counts

    @cached_property
    def counts(self) -> Floats:
        return np.asarray(self.has.sum(0)).ravel()

    def learned_from(self, which: Callable[[int], bool]) -> Crowd:
        """The same catalogue with what some dialogues name; the places of the others stay, empty."""
        return replace(self, named=tuple(films if which(at) else () for at, films in enumerate(self.named)))

    def popular(self, turn: Turn) -> Floats:
        """Dialogues that name each film, but this one."""
        counts = self.counts.copy()
        counts[list(self.named[turn.dialogue])] -= 1
        return counts

    def together(self, turn: Turn) -> Floats:
        """Films named in the same dialogues as those named so far, this dialogue left out."""
        own = list(self.named[turn.dialogue])
        scores = np.zeros(len(self.names))
        for film in turn.films:
            pairs = self.both[film].copy()
            if film in own:
                pairs[own] -= 1
                pairs[film] = 0
            scores += pairs / np.sqrt(DAMPING + pairs.sum())
        return scores


class Reader:
    """The words of turns and films as vectors: TF-IDF, fitted on plots and on what was said."""

    def __init__(self, crowd: Crowd, turns: Sequence[Turn]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._crowd = crowd
        stories = TfidfVectorizer(stop_words="english", sublinear_tf=True)
        self._films = stories.fit_transform(crowd.about)
        self._asks = stories.transform([" ".join(one.context) for one in turns])
        talk = TfidfVectorizer(stop_words="english", sublinear_tf=True, min_df=2, ngram_range=(1, 2))
        self._dialogues = talk.fit_transform(crowd.said)
        self._words = talk.transform([one.words(crowd.names) for one in turns])

    def said(self, at: int) -> Floats:
        """How near each film's story and people are to what was said."""
        return (self._asks[at] @ self._films.T).toarray().ravel()

    def same_story(self, turn: Turn) -> Floats:
        """How near each film's story is to the films named so far."""
        return np.asarray((self._films[list(turn.films)] @ self._films.T).sum(0)).ravel() if turn.films else self._none

    def alike(self, at: int, turn: Turn) -> Floats:
        """Films of other dialogues, by how alike what is said there is; cubed, so that the nearest decide."""
        near = (self._words[at] @ self._dialogues.T).toarray().ravel() ** 3
        near[turn.dialogue] = 0
        return self._crowd.has.T @ near / (near.sum() + 1e-9)

    @cached_property
    def _none(self) -> Floats:
        return np.zeros(len(self._crowd.names))


class Blend:
    """Everything together, standardised. The weights for a dialogue are chosen on the dialogues of other folds.

    `over`: what was recommended in each turn, known of other dialogues once they are over. The answer to a case is
    computed without the fold that its dialogue is in.
    """

    def __init__(self, crowd: Crowd, turns: Sequence[Turn], over: Sequence[Sequence[int]]) -> None:
        self._crowd = crowd
        self._over = {turn: tuple(films) for turn, films in zip(turns, over, strict=True)}

    def __call__(self, turns: Sequence[Turn]) -> list[Floats]:
        parts = self._parts(turns)
        weights = [dict(zip(GRID, one, strict=True)) for one in product(*GRID.values())]
        gains = np.array([[self._gain(parts, at, turn, one) for at, turn in enumerate(turns)] for one in weights])
        folds = np.array([turn.dialogue % FOLDS for turn in turns])
        chosen = [weights[int(np.nanmean(gains[:, folds != fold], axis=1).argmax())] for fold in range(FOLDS)]
        return [mixed(parts, at, chosen[turn.dialogue % FOLDS]) for at, turn in enumerate(turns)]

    def _parts(self, turns: Sequence[Turn]) -> dict[str, Floats]:
        read = Reader(self._crowd, turns)
        return {
            "together": standard([self._crowd.together(one) for one in turns]),
            "popular": standard([np.log1p(self._crowd.popular(one)) for one in turns]),
            "alike": standard([read.alike(at, one) for at, one in enumerate(turns)]),
            "same story": standard([read.same_story(one) for one in turns]),
            "said": standard([read.said(at) for at in range(len(turns))]),
        }

    def _gain(self, parts: Mapping[str, Floats], at: int, turn: Turn, weights: Mapping[str, float]) -> float:
        """R@1 + R@10 of one turn; nan where nothing was recommended that was not named before."""
        ranks = ranks_of(mixed(parts, at, weights), turn.films, self._over[turn])
        return float(np.mean([(rank <= 1) + (rank <= 10) for rank in ranks])) if ranks else np.nan


def mixed(parts: Mapping[str, Floats], at: int, weights: Mapping[str, float]) -> Floats:
    return np.sum([weight * parts[name][at] for name, weight in weights.items() if weight], axis=0)


def standard(rows: Sequence[Floats]) -> Floats:
    """Each row with mean 0 and spread 1, in single precision: there are many."""
    whole = np.stack(rows).astype(np.float32)
    whole -= whole.mean(1, keepdims=True)
    return whole / np.maximum(whole.std(1, keepdims=True), 1e-9)


def ranks_of(scores: Floats, named: Sequence[int], right: Sequence[int]) -> list[float]:
    """Ranks of the right films, all others named so far taken out; those named before are no targets."""
    return [tied_rank(scores, film, named) for film in right if film not in named]


# the board


def load(data: Path) -> list[Part]:
    folder = data / FOLDER
    catalogue: dict[str, Mapping[str, Any]] = {}
    for film in json.loads((folder / "id2info.json").read_text(encoding="utf-8")).values():
        catalogue.setdefault(film["name"], film)
    place = {name: at for at, name in enumerate(catalogue)}
    dialogues = list(lines(folder / "valid_data.jsonl"))
    at_dialogue = {str(one["conversationId"]): at for at, one in enumerate(dialogues)}
    crowd = Crowd(
        tuple(catalogue),
        tuple(map(story, catalogue.values())),
        tuple(" ".join(HANDLE.sub(" ", one["text"]) for one in row["messages"]) for row in dialogues),
        tuple(films_of(row, place) for row in dialogues),
    )
    rows = list(lines(folder / "valid_data_processed.jsonl"))
    turns = [
        Turn(
            at_dialogue[row["dialog_id"]],
            tuple(row["context"]),
            tuple(dict.fromkeys(place[name] for name in row["entity"] if name in place)),
        )
        for row in rows
    ]
    right = [tuple(place[name] for name in row["rec"]) for row in rows]
    # A turn with two films counts twice, as in the protocol; one without a new film does not count.
    cases, labels = [], {}
    for at, (turn, films) in enumerate(zip(turns, right, strict=True)):
        for number, film in enumerate(film for film in films if film not in turn.films):
            id = f"{at}.{number}"
            cases.append(Case(id, turn, str(turn.dialogue), slices(turn)))
            labels[id] = (turn.films, film)
    return [
        Part(
            "valid",
            tuple(cases),
            Labels(labels),
            systems(crowd, turns, right),
            MEASURES,
            {
                "dialogues": (len(dialogues), 1000),
                "turns": (len(turns), 2716),
                "dialogues with turns": (len({turn.dialogue for turn in turns}), 985),
                "films with distinct names": (len(catalogue), 6576),
                "films recommended": (sum(map(len, right)), 3595),
                "targets": (len(cases), 3318),
            },
            (Bar(OURS, "R@1", 0.035, TOGETHER), Bar(OURS, "R@10", 0.17, TOGETHER)),
            PUBLISHED,
            tolerance=0.003,
        )
    ]


def lines(path: Path) -> Sequence[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def story(film: Mapping[str, Any]) -> str:
    people = (*film["director"], *film["writer"], *film["star"])
    return " ".join([film["name"], film["plot"] or "", *film["genre"], *people])


def films_of(row: Mapping[str, Any], place: Mapping[str, int]) -> tuple[int, ...]:
    """The films that the people of a dialogue marked; names with two blanks are found, too."""
    spaced = {" ".join(name.split()): at for name, at in place.items()}
    names = filter(None, (row["movieMentions"] or {}).values())
    return tuple(sorted({spaced[name] for one in names if (name := " ".join(one.split())) in spaced}))


def slices(turn: Turn) -> tuple[tuple[str, str], ...]:
    named = len(turn.films)
    return (("films named before", "none" if not named else "1 to 3" if named <= 3 else "4 and more"),)


def systems(crowd: Crowd, turns: Sequence[Turn], right: Sequence[Sequence[int]]) -> tuple[System, ...]:
    def together(turn: Turn) -> Floats:
        return crowd.together(turn) + POPULARITY * crowd.popular(turn)

    def text(some: Sequence[Turn]) -> list[Floats]:
        unique = list(dict.fromkeys(some))
        read = Reader(crowd, unique)
        place = {turn: at for at, turn in enumerate(unique)}
        return [read.said(place[turn]) for turn in some]

    def both(some: Sequence[Turn]) -> list[Floats]:
        return [together(one) + 0.5 * said for one, said in zip(some, text(some), strict=True)]

    return (
        System("popularity in other dialogues", "baseline", each(crowd.popular), expected=figures(0.001, 0.056, 0.166)),
        System(
            "TF-IDF of what was said, on stories and people", "baseline", text, expected=figures(0.006, 0.031, 0.083)
        ),
        System(TOGETHER, "baseline", each(together), expected=figures(0.029, 0.146, 0.281)),
        System("co-mention + 0.5 TF-IDF", "baseline", both, expected=figures(0.030, 0.138, 0.272)),
        System(OURS, "rapport", once(Blend(crowd, turns, right)), about="weights chosen on other dialogues, 5 folds"),
    )


def figures(*recalls: float) -> dict[str, float]:
    return dict(zip(("R@1", "R@10", "R@50"), recalls, strict=True))


def each(score: Any) -> Any:
    return lambda turns: [score(one) for one in turns]


def once(answer: Any) -> Any:
    """Each turn answered once, however many targets it has."""

    def many(turns: Sequence[Turn]) -> list[Floats]:
        unique = list(dict.fromkeys(turns))
        found = dict(zip(unique, answer(unique), strict=True))
        return [found[turn] for turn in turns]

    return many


def hit(k: int) -> Measure:
    def score(scores: Floats, label: tuple[tuple[int, ...], int]) -> tuple[float]:
        named, film = label
        return (float(tied_rank(scores, film, [one for one in named if one != film]) <= k),)

    return Measure(f"R@{k}", score)


TOGETHER = "co-mention, own dialogue left out"
OURS = "co-mention, dialogues alike in words, stories alike, popularity"
MEASURES = (hit(10), hit(1), hit(50))
PUBLISHED = (
    Published("ChatGPT, another part of ReDial (iEvaLM)", {"R@1": 0.037, "R@10": 0.174}),
    Published("UniCRS, another part of ReDial", {"R@1": 0.050, "R@10": 0.215}),
)
BOARD = Board(
    "board-d",
    1,
    "D. What is recommended next in a dialogue",
    "2,716 turns, 3,318 targets, 6,576 films ranked, those named before left out; bootstrap over dialogues",
    tuple(f"{FOLDER}/{one}" for one in ("id2info.json", "valid_data.jsonl", "valid_data_processed.jsonl")),
    load,
)
