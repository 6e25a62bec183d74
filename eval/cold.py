"""Cold start: what do people get of whom hardly anything is known, and who finds items that nobody has had?

MovieLens latest-small. Some people are kept out of a home altogether, and so is every rating of a tenth of the films:
what is learned, counted and popular knows neither. Observes only; labels are opened by `scored` alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent import show
from agent.ask import Ask
from agent.history.store import event_id
from agent.llm.scripted import NoModel
from agent.persona.naming import edited
from agent.persona.tally import Tally
from agent.recommend.fit import fitting_first
from agent.recommend.retrieve import Retrieve, strongest
from agent.types import Candidate, Event, Profile, Query, Tag, TagEdit
from agent.wiring import Rapport
from eval import board_a
from eval.gate import profile_of, tally_of
from eval.metrics import Floats, ndcg, recall
from eval.movielens import FOLDER, Board, Rating, board, read

LENGTHS = (0, 1, 2, 3, 5, 10)
"""Events that are known of a person, the last ones before the held-out one."""
STATED = 3
"""Genres that somebody without a history names."""
EVERY = 10
"""Of the films one in so many has no ratings."""
LIKED = 4.0
"""Stars from which on a held-out film of the cold ones counts; a label among them has to be something to look for."""
CANDIDATES = 100
SHOWN = 10
POPULARITY, OURS, CONTENT = "popularity", "Rapport", "Rapport, nobody else's history"
Lists = Mapping[str, tuple[str, ...]]
"""System -> ids, best first."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What is known of somebody outside the home; nothing of what they rated next is in it."""

    user: str
    known: tuple[Rating, ...]
    """Oldest first."""
    away: tuple[Rating, ...]
    """What they rated before that and nobody is told; these films are ranked by no system."""

    @property
    def had(self) -> set[str]:
        return {one.movie for one in (*self.away, *self.known)}


@dataclass(frozen=True, slots=True)
class Answered:
    lists: Lists
    receipted: float = 0.0
    """Share of the reasons for the first SHOWN films that rest on an event of the person."""


def run(folder: Path, users: int) -> dict[str, Any]:
    """The tables as JSON-ready values. `folder` holds movielens-latest-small; so many `users` are kept out."""
    rows = read(folder / FOLDER)
    asked, labels = board(rows)
    whole = {user: (*seen, labels.next[user]) for user, seen in asked.histories.items()}
    cold = frozenset(asked.movies[::EVERY])
    newcomers = list(whole)[:: max(1, len(whole) // users)][:users]
    known = {user: warm(seen, cold) for user, seen in whole.items() if user not in set(newcomers)}
    inside = Board(asked.movies, {user: seen for user, seen in known.items() if seen})
    with tempfile.TemporaryDirectory(prefix="rapport-cold-") as scratch:
        at = Path(scratch)
        with board_a.home(at / "home", folder / FOLDER, inside, inside, "had", at / "index") as rapport:
            return measured(rapport, {user: whole[user] for user in newcomers}, cold) | {
                "data": {"set": FOLDER, "people": len(known), "films": len(asked.movies), "cold films": len(cold)}
            }


def measured(rapport: Rapport, whole: Mapping[str, Sequence[Rating]], cold: frozenset[str]) -> dict[str, Any]:
    """Both tables, for people who are not in `rapport` and films of which it knows no event."""
    kept = {user: warm(seen, cold) for user, seen in whole.items()}
    before = {user: seen[:-1] for user, seen in kept.items() if seen}
    labels = {user: kept[user][-1].movie for user in before}
    lengths = []
    for size in LENGTHS:
        people = {user: shortened(user, seen, size) for user, seen in before.items() if len(seen) >= size}
        with show.progress(f"people, {size} events known") as progress:
            found = [answered(rapport, one) for _, one in told(people, progress)]
        lengths.append({"events": size, **scored(found, [labels[user] for user in people])})
    return {"by length": lengths, "cold films": of_cold_films(rapport, whole, cold)}


def told(people: Mapping[str, Any], progress: Callable[[int, int], None]) -> Iterator[tuple[str, Any]]:
    for done, pair in enumerate(people.items()):
        progress(done, len(people))
        yield pair


def warm(seen: Iterable[Rating], cold: frozenset[str]) -> tuple[Rating, ...]:
    return tuple(one for one in seen if one.movie not in cold)


def shortened(user: str, before: Sequence[Rating], size: int) -> Newcomer:
    """Somebody of whom the last `size` ratings are known."""
    cut = len(before) - size
    return Newcomer(user, tuple(before[cut:]), tuple(before[:cut]))


def answered(rapport: Rapport, one: Newcomer) -> Answered:
    """What each system says to a person, best first."""
    retrieve, events = board_a.retriever(rapport), events_of(one.user, one.known)
    profile = profile_of(rapport, one.user, events) if events else rapport.profiler.blank(one.user)
    query = Query(one.user, SHOWN, surprise=0.0, without=tuple(rating.movie for rating in one.away))
    found = ordered(rapport, retrieve, query, profile, events)
    content = ordered(rapport, replace(retrieve, others=None), query, profile, events)
    lists = {POPULARITY: first(by_count(rapport), one.had), OURS: board_a.ids(found), CONTENT: board_a.ids(content)}
    if not events:
        named = stated(rapport, one)
        lists["popularity within the named genres"] = first(by_genres(rapport, named), one.had)
        spoken = ordered(rapport, retrieve, query, replace(profile, tags=named), events)
        lists["Rapport, genres named"] = board_a.ids(spoken)
    return Answered(lists, receipted(rapport, found[:SHOWN], profile, events))


def stated(rapport: Rapport, one: Newcomer) -> tuple[Tag, ...]:
    """The genres that somebody names: what stands out in what nobody is told, as if they knew themselves."""
    tags = strongest(profile_of(rapport, one.user, events_of(one.user, one.away)).tags, 1, latent=False)
    genres = [tag for tag in tags if tag.feature.startswith("category:")][:STATED]
    return edited((), [TagEdit(one.user, tag.name, tag.feature, "add", 1, one.away[-1].at) for tag in genres])


def ordered(
    rapport: Rapport, retrieve: Retrieve, query: Query, profile: Profile, events: Sequence[Event]
) -> list[Candidate]:
    """As the pipeline orders them before the list is made diverse."""
    return fitting_first(retrieve(query, profile, events), profile, rapport.recommender.explain.features)


def receipted(rapport: Rapport, found: Sequence[Candidate], profile: Profile, events: Sequence[Event]) -> float:
    tally = tally_of(rapport, events) if events else Tally()
    reasons = rapport.recommender.explain(found, profile, tally, events, Ask(NoModel())).reasons
    return sum(bool(one.receipts) for one in reasons) / max(1, len(reasons))


def events_of(user: str, ratings: Iterable[Rating]) -> list[Event]:
    return [
        Event(event_id(user, one.movie, "rating", one.at), user, one.movie, "rating", one.stars, at=one.at)
        for one in ratings
    ]


def by_count(rapport: Rapport) -> list[str]:
    stats = rapport.background.stats
    return sorted(stats, key=lambda id: (-stats[id].events, id))


def by_genres(rapport: Rapport, named: Sequence[Tag]) -> list[str]:
    """Films with most of the genres first, among those the popular ones."""
    popular, features = by_count(rapport), rapport.recommender.explain.features
    items, wanted = rapport.store.items(popular), {tag.feature for tag in named}
    shared = {id: len(wanted.intersection(features(items[id]))) for id in popular}
    return sorted(popular, key=lambda id: -shared[id])


def first(ranked: Iterable[str], had: set[str]) -> tuple[str, ...]:
    return tuple([id for id in ranked if id not in had][:CANDIDATES])


# films without events


def of_cold_films(rapport: Rapport, whole: Mapping[str, Sequence[Rating]], cold: frozenset[str]) -> dict[str, Any]:
    """The last cold film that each person liked, looked for among the cold ones, and among all."""
    shown, labels = dict[str, tuple[Rating, ...]](), dict[str, str]()
    for user, seen in whole.items():
        places = [at for at, one in enumerate(seen) if one.movie in cold and one.stars >= LIKED]
        if places and (before := warm(seen[: places[-1]], cold)):
            shown[user], labels[user] = before, seen[places[-1]].movie
    films = sorted(cold)
    with show.progress("people, films without events") as progress:
        found = [among_cold(rapport, user, before, films) for user, before in told(shown, progress)]
    chance = {f"R@{k}": round(min(1.0, k / len(films)), 4) for k in (10, 50, 100)}
    return {**scored(found, [labels[user] for user in shown]), "by chance": chance, "films": len(films)}


def among_cold(rapport: Rapport, user: str, before: Sequence[Rating], films: Sequence[str]) -> Answered:
    """Cold films in the pipeline's order and by text alone; then what the pipeline finds among all films, by itself and
    with what it proposes for exploration."""
    retrieve, events = board_a.retriever(rapport), events_of(user, before)
    profile = profile_of(rapport, user, events)
    others = tuple(set(rapport.background.stats) - set(films))
    alone = ordered(rapport, retrieve, Query(user, CANDIDATES, surprise=0.0, without=others), profile, events)
    usual = ordered(rapport, retrieve, Query(user, SHOWN, surprise=0.0), profile, events)
    exploring = retrieve(Query(user, SHOWN), profile, events)
    cold = set(films)
    return Answered(
        {
            "nearest to the mean of what was liked": nearest(rapport, before, films),
            OURS: board_a.ids(alone),
            "Rapport, all films": board_a.ids(usual),
            "Rapport, all films, what exploration may show of the cold ones": tuple(
                one.item.id for one in exploring if one.item.id in cold
            ),
        }
    )


def nearest(rapport: Rapport, before: Sequence[Rating], films: Sequence[str]) -> tuple[str, ...]:
    """By text alone."""
    liked = [one.movie for one in before if one.stars >= LIKED] or [one.movie for one in before]
    vectors = rapport.index.vectors([*films, *liked])
    near = np.stack([vectors[id] for id in films]) @ np.mean([vectors[id] for id in liked], axis=0)
    return tuple(films[int(at)] for at in np.argsort(-near, kind="stable")[:CANDIDATES])


# what it was worth; only here are labels opened


def scored(found: Sequence[Answered], labels: Sequence[str]) -> dict[str, Any]:
    """Each system's figures, and its paired difference to the first one."""
    names = list(found[0].lists) if found else []
    ranks = {name: places([one.lists[name] for one in found], labels) for name in names}
    gains = {name: ndcg(own, 10) for name, own in ranks.items()}
    return {
        "people": len(found),
        "systems": {
            name: {
                "NDCG@10": board_a.rounded(gains[name]),
                **{f"R@{k}": round(float(recall(own, k).mean()), 4) for k in (10, 50, 100)},
                **({f"minus {names[0]}": board_a.rounded(gains[name] - gains[names[0]])} if name != names[0] else {}),
            }
            for name, own in ranks.items()
        },
        "reasons with receipts": round(float(np.mean([one.receipted for one in found] or [0.0])), 4),
    }


def places(lists: Sequence[Sequence[str]], labels: Sequence[str]) -> Floats:
    return np.array([board_a.place(one, label) for one, label in zip(lists, labels, strict=True)])


# for people to read


def markdown(result: Mapping[str, Any]) -> str:
    """Both tables."""
    lines = ["| events known | people | | NDCG@10 | minus popularity | R@10 | R@100 | reasons with receipts |"]
    lines.append("|---" * 8 + "|")
    for one in result["by length"]:
        for name, figures in one["systems"].items():
            share = f"{one['reasons with receipts']:.1%}" if name == OURS else ""
            lines.append(line(one["events"], one["people"], name, *cells(figures, POPULARITY, (10, 100)), share))
    cold = result["cold films"]
    lines += ["", f"{cold['films']} films without events, {cold['people']} people who liked one of them:", ""]
    first_one, *_ = cold["systems"]
    lines += [f"| | NDCG@10 | minus {first_one} | R@10 | R@50 | R@100 |", "|---" * 6 + "|"]
    lines += [line(name, *cells(one, first_one, (10, 50, 100))) for name, one in cold["systems"].items()]
    lines.append(line("by chance, among them", "", "", *(board_a.figure(one) for one in cold["by chance"].values())))
    return "\n".join(lines)


def cells(figures: Mapping[str, Any], against: str, depths: Sequence[int]) -> list[str]:
    less = figures.get(f"minus {against}")
    gain, difference = board_a.spread(figures["NDCG@10"]), board_a.spread(less, signed=True) if less else ""
    return [gain, difference, *(board_a.figure(figures[f"R@{k}"]) for k in depths)]


def line(*values: object) -> str:
    return "| " + " | ".join(map(str, values)) + " |"
