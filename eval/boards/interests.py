"""Board E: do the tags that are made of a listening history match the tags that the person gives themselves?

Last.fm (HetRec 2011). A case holds the person's artists with play counts, and how often *other* people gave each of
these artists each tag; no system sees an assignment of the person's own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from agent.features import Population, survey, value_of
from agent.persona.evidence import evidence
from agent.persona.tally import Tally, add
from agent.types import Event, Item
from eval.board import Bar, Board, Case, Labels, Part, System
from eval.compare import Measure
from eval.metrics import ndcg_of, precision, recall_of

FOLDER = "lastfm-2k"
FEW_PEOPLE = 5
"""A tag is in the vocabulary when so many people use it; a person takes part with so many tags of it."""
GOLD, ARTISTS = 10, 50
FOLDS = 5
"""What everybody does is counted on the people of the other folds."""
SHARED, MOST_TAGS = 2, 8
"""The importer's rule for an artist's categories: tags that so many people gave, the most used so many."""


@dataclass(frozen=True, slots=True)
class Artist:
    """One of a person's artists."""

    id: str
    name: str
    plays: int
    tags: Mapping[str, int]
    """tag -> how many other people gave it; of the vocabulary."""


@dataclass(frozen=True, slots=True)
class Listener:
    """What a system sees of a case: up to ARTISTS, most played first."""

    artists: tuple[Artist, ...]
    popular: Mapping[str, int]
    """tag -> how often all others used it."""
    everybody: Population
    """What people of other folds listen to, by tags that people of other folds gave."""


Scores = Callable[[Listener], Mapping[str, float]]


# systems


def ranked(scores: Scores, listeners: Sequence[Listener]) -> list[list[str]]:
    return [best(scores(one)) for one in listeners]


def best(scores: Mapping[str, float]) -> list[str]:
    """The GOLD tags with the highest scores; of equals the one with the lower id."""
    return sorted(scores, key=lambda tag: (-scores[tag], int(tag)))[:GOLD]


def popular(listener: Listener) -> Mapping[str, float]:
    return {tag: float(count) for tag, count in listener.popular.items()}


def aggregated(listener: Listener, doubt: float = 0.0) -> dict[str, float]:
    """Sum over artists of ln(1 + plays) x the share of each tag among what others gave the artist.

    `doubt`: assignments that speak for no tag, added to each artist's: one person's word is not everybody's.
    """
    found: defaultdict[str, float] = defaultdict(float)
    for artist in listener.artists:
        whole = sum(artist.tags.values()) + doubt
        for tag, count in artist.tags.items():
            found[tag] += float(np.log1p(artist.plays)) * count / whole
    return found


def shifted(scores: Scores, listeners: Sequence[Listener]) -> list[list[str]]:
    """Everybody gets what is right for somebody else, half way round."""
    rows = ranked(scores, listeners)
    return [*rows[len(rows) // 2 :], *rows[: len(rows) // 2]]


class Tags:
    """The product's own: the artists as a catalogue, the plays as events, and what stands out as tags."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._ids = {name: id for id, name in names.items()}

    def __call__(self, listeners: Sequence[Listener]) -> list[list[str]]:
        return [self._tags(one) for one in listeners]

    def _tags(self, listener: Listener) -> list[str]:
        items = {one.id: as_item(one.id, one.name, one.tags, self._names) for one in listener.artists}
        events = [
            Event(at, "u", one.id, "play", float(one.plays)) for at, one in enumerate(reversed(listener.artists), 1)
        ]
        tally = add(Tally(), events, items, listener.everybody, {}, {}, len(events))
        found = evidence(tally, listener.everybody, GOLD)
        return [
            self._ids[value_of(one.feature)]
            for one in found
            if one.polarity > 0 and one.feature.startswith("category:")
        ]


def as_item(id: str, name: str, tags: Mapping[str, int], names: Mapping[str, str]) -> Item:
    """An artist as the importer keeps it: the tags that several people gave, most used first."""
    shared = [(tag, count) for tag, count in tags.items() if count >= SHARED]
    best_first = sorted(shared, key=lambda one: (-one[1], int(one[0])))[:MOST_TAGS]
    return Item(id, name, categories=tuple(names[tag] for tag, _ in best_first))


def filled(tags: Tags, scores: Scores, listeners: Sequence[Listener]) -> list[list[str]]:
    """The tags, and after them what is best by `scores` until there are GOLD."""
    return [
        list(dict.fromkeys([*mine, *best(scores(one))]))[:GOLD]
        for mine, one in zip(tags(listeners), listeners, strict=True)
    ]


# the board


def load(data: Path) -> list[Part]:
    folder = data / FOLDER
    plays: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for user, artist, count in table(folder / "user_artists.dat"):
        plays[user].append((artist, int(count)))
    names = {id: name for id, name, *_ in table(folder / "artists.dat")}
    tag_names = {row[0]: row[1] for row in table(folder / "tags.dat")}
    given = [(user, artist, tag) for user, artist, tag, *_ in table(folder / "user_taggedartists.dat")]
    users_of: defaultdict[str, set[str]] = defaultdict(set)
    for user, _, tag in given:
        users_of[tag].add(user)
    vocabulary = {tag for tag, users in users_of.items() if len(users) >= FEW_PEOPLE}
    own: defaultdict[str, Counter[str]] = defaultdict(Counter)
    of_artist: defaultdict[str, Counter[str]] = defaultdict(Counter)
    mine: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for user, artist, tag in given:
        if tag in vocabulary:
            own[user][tag] += 1
            of_artist[artist][tag] += 1
            mine[user, artist][tag] += 1
    total = sum(own.values(), Counter[str]())
    people = sorted((user for user in own if len(own[user]) >= FEW_PEOPLE and plays[user]), key=int)

    everybody = [background(fold, people, plays, names, of_artist, mine, tag_names) for fold in range(FOLDS)]

    def listener(user: str) -> Listener:
        top = sorted(plays[user], key=lambda one: (-one[1], int(one[0])))[:ARTISTS]
        artists = (Artist(id, names.get(id, id), count, of_artist[id] - mine[user, id]) for id, count in top)
        return Listener(tuple(artists), total - own[user], everybody[int(user) % FOLDS])

    cases = tuple(Case(user, shown := listener(user), slices=slices(shown)) for user in people)
    gold = {user: best({tag: float(count) for tag, count in own[user].items()}) for user in people}
    assigned = sum(1 for _ in table(folder / "user_taggedartists.dat"))
    return [
        Part(
            "people",
            cases,
            Labels(gold),
            systems(tag_names),
            MEASURES,
            {
                "people with plays": (sum(map(bool, plays.values())), 1892),
                "artists": (len(names), 17632),
                "pairs of person and artist": (sum(map(len, plays.values())), 92834),
                "tag assignments": (assigned, 186479),
                "tags of the vocabulary": (len(vocabulary), 734),
                "people measured": (len(cases), 1223),
            },
            (Bar(TAGS, "NDCG@10", 0.52, AGGREGATED),),
        )
    ]


def table(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="latin-1" if path.name == "tags.dat" else "utf-8") as file:
        next(file)
        for line in file:
            yield line.rstrip("\r\n").split("\t")


def slices(listener: Listener) -> tuple[tuple[str, str], ...]:
    untagged = sum(not one.tags for one in listener.artists) / len(listener.artists)
    return (("artists that nobody else tagged", "under a quarter" if untagged < 0.25 else "a quarter and more"),)


def systems(names: Mapping[str, str]) -> tuple[System, ...]:
    tags = Tags(names)
    return (
        System(POPULAR, "baseline", partial(ranked, popular), expected=figures(0.333, 0.253, 0.276, 0.308)),
        System(AGGREGATED, "baseline", partial(ranked, aggregated), expected=figures(0.537, 0.408, 0.453, 0.501)),
        System("the same, of somebody else", "baseline", partial(shifted, aggregated)),
        System(TAGS, "rapport", tags, about="agent/persona: what stands out in the history"),
        System("Rapport's tags, filled up by others' tags", "rapport", partial(filled, tags, DOUBTED)),
        System("others' tags, weighed by how many gave them", "rapport", partial(ranked, DOUBTED)),
    )


def figures(*found: float) -> dict[str, float]:
    return dict(zip(("P@5", "P@10", "R@10", "NDCG@10"), found, strict=True))


DOUBTED = partial(aggregated, doubt=3.0)


def background(
    fold: int,
    people: Sequence[str],
    plays: Mapping[str, Sequence[tuple[str, int]]],
    names: Mapping[str, str],
    of_artist: Mapping[str, Counter[str]],
    mine: Mapping[tuple[str, str], Counter[str]],
    tag_names: Mapping[str, str],
) -> Population:
    """What everybody listens to, without the people of a fold, neither their plays nor their tags."""
    without = {artist: Counter(counts) for artist, counts in of_artist.items()}
    for (user, artist), counts in mine.items():
        if int(user) % FOLDS == fold:
            without[artist] -= counts
    events = Counter(artist for user in people if int(user) % FOLDS != fold for artist, _ in plays[user])
    return survey((as_item(id, names.get(id, id), without.get(id, {}), tag_names) for id in events), events)


POPULAR, AGGREGATED = "most popular tags, own removed", "tags others gave the artists, by log plays"
TAGS = "Rapport's tags"
MEASURES = (
    Measure("NDCG@10", lambda answer, gold: (ndcg_of(answer, dict.fromkeys(gold, 1.0), 10),)),
    Measure("P@5", lambda answer, gold: (precision(answer, gold, 5),)),
    Measure("P@10", lambda answer, gold: (precision(answer, gold, 10),)),
    Measure("R@10", lambda answer, gold: (recall_of(answer, gold, 10),)),
    Measure("duplicates", lambda answer, _: (float(len(answer) - len(set(answer))),), higher_is_better=False),
)
BOARD = Board(
    "board-e",
    1,
    "E. Interest tags against people's own",
    "closed vocabulary of tags used by 5 people; gold: a person's 10 most used; input: 50 artists, others' tags",
    tuple(f"{FOLDER}/{one}.dat" for one in ("artists", "tags", "user_artists", "user_taggedartists")),
    load,
)
