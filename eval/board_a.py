"""Board A: MovieLens latest-small, the last rating of each person held out, every unseen film ranked.

What Rapport is given is a home into which the earlier ratings were imported; what was held out is opened by `score`
alone. The protocol is LlamaRec's (Yue et al. 2023), whose "ML-100k" is this data set.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agent import show
from agent.errors import SetupError
from agent.history.importing import import_path
from agent.recommend.retrieve import Retrieve
from agent.settings import Settings, load
from agent.types import Candidate, Event, Profile, Query
from agent.wiring import Rapport
from eval import baselines
from eval.metrics import Floats, interval, mrr, ndcg, recall, tied_rank
from eval.movielens import FOLDER, Board, Labels, Rating, board, earlier, read, sha256
from eval.results import provenance

VERSION = 2
"""Of the protocol as written here; results of different versions are not compared."""
CANDIDATES = 100
"""Depth of Rapport's list: R@100 is the deepest figure that is reported."""
SHOWN = 10
"""Items that a person is shown."""
LENGTHS = ((0, 50), (51, 100), (101, 200), (201, None))
"""Ratings before the held-out one, both ends included."""
LIKED = 4.0
"""Stars from which on a held-out film counts as liked."""
TIE_SEEDS = (1, 2)
Ranks = Floats
"""Of the held-out film, one per person in the board's order; infinite where it is not in the list."""
Interactions = Literal["liked", "had"]


@dataclass(frozen=True, slots=True)
class Lists:
    """What Rapport answered, person by person in the board's order."""

    prior: tuple[tuple[str, ...], ...]
    """Up to CANDIDATES films as they leave retrieval and fusion."""
    shown: tuple[tuple[str, ...], ...] = ()
    """The SHOWN films that a person gets, after what fits comes first and after diversification."""
    explored: tuple[tuple[str, ...], ...] = ()
    """The same by default: with some places given to what is not known yet."""
    content: tuple[tuple[str, ...], ...] = ()
    """As `prior`, without anybody else's history."""
    others: tuple[tuple[str, ...], ...] = ()
    """What everybody's histories propose by themselves."""
    text: tuple[tuple[str, ...], ...] = ()
    """What is nearest to the history by text alone, every film compared."""
    ms: tuple[float, ...] = ()
    """Wall time of one whole recommendation of SHOWN films to somebody whose profile is there already."""


def run(data: Path) -> dict[str, Any]:
    """The whole board as JSON-ready values. `data`: the folder that holds movielens-latest-small.

    Takes minutes. What was answered is kept in the cache folder under a hash of code and data, so that a run that was
    stopped goes on where it was.
    """
    started, made_of, folder = time.perf_counter(), provenance() | {"model": "none"}, data / FOLDER
    rows = read(folder)
    asked, labels = board(rows)
    fitted, _ = earlier(asked)
    dense = baselines.matrices(fitted, asked) | baselines.of_implicit(asked)
    results = {name: dense_ranks(scores, asked, labels) for name, scores in dense.items()}
    blend, shifted = results[baselines.BLEND], rotated(labels)
    permuted = {name: dense_ranks(dense[name], asked, shifted) for name in ("Pop", baselines.BLEND)}
    with tempfile.TemporaryDirectory(prefix="rapport-board-a-") as scratch:
        at, keep = Path(scratch), load().cache / "eval" / f"board-a-{fingerprint(folder)}"
        answered: dict[Interactions, Lists] = {
            counts: kept(keep / f"{counts}.json", lambda counts=counts: answers(at, folder, fitted, asked, counts))
            for counts in MEANING
        }
        orders = [tie_order(rows, seed, folder, at, keep) for seed in TIE_SEEDS]
    had = answered["had"]
    for name, found in ((TEXT, had.text), (CONTENT, had.content), (OTHERS, had.others)):
        results[name] = list_ranks(found, asked, labels)
    for counts, name in MEANING.items():
        results[name] = list_ranks(answered[counts].prior, asked, labels)
        results[f"{name}, as shown"] = list_ranks(answered[counts].shown, asked, labels)
        results[f"{name}, exploring, as shown"] = list_ranks(answered[counts].explored, asked, labels)
    permuted[MEANING["had"]] = list_ranks(had.prior, asked, shifted)
    return {
        "board": "A",
        "version": VERSION,
        "protocol": "leave one out, full ranking, LlamaRec's cut; ndcg@k, mrr@k, recall@k over all people",
        "data": described(folder, rows, asked),
        "system": made_of,
        "systems": {name: row(ranks, blend, labels) for name, ranks in results.items()},
        "slices": {name: sliced(ranks, blend, asked) for name, ranks in results.items()},
        "bars": bars(row(results[MEANING["had"]], blend, labels)),
        "tie_orders": orders,
        "label_permutation": {name: round(float(ndcg(ranks, 10).mean()), 4) for name, ranks in permuted.items()},
        "cost": {
            MEANING[counts]: dict(zip(("ms_p50", "ms_p95"), np.percentile(found.ms, [50, 95]).round(1), strict=True))
            for counts, found in answered.items()
        },
        "seconds": round(time.perf_counter() - started, 1),
    }


def bars(ours: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was asked for, and whether it is there."""
    return [{"what": what, "figure": ours[what], "bar": bar, "met": ours[what] >= bar} for what, bar in BARS.items()]


TEXT, CONTENT = "exact vector search on text", "Rapport, nobody else's history"
OTHERS = "Rapport, everybody's histories alone"
MEANING: Mapping[Interactions, str] = {
    "had": "Rapport, every rating counts",
    "liked": "Rapport as installed: dislikes do not pull",
}
BARS = {"ndcg@10": 0.088, "recall@10": 0.155, "recall@20": 0.225}
"""For the one that counts as the board does."""
PUBLISHED = {"LRURec (published)": (0.0705, 0.1426, 0.214), "LlamaRec, 7B model (published)": (0.0759, 0.1524, 0.214)}
"""NDCG@10, recall@10, recall@20 (Yue et al. 2023), nothing of which was run here."""


# what is kept of a run that was stopped


def fingerprint(folder: Path) -> str:
    """Of everything that an answer depends on: the data, this protocol, and the code that answers."""
    root = Path(__file__).parent.parent
    protocol = [root / "eval" / name for name in ("board_a.py", "baselines.py", "movielens.py")]
    code = [*(root / "agent").rglob("*"), *(root / "vectorstore").rglob("*"), *protocol]
    files = [folder / "movies.csv", folder / "ratings.csv", *sorted(one for one in code if one.suffix in CODE)]
    whole = hashlib.sha256(f"{VERSION} {load().embedder}".encode())
    for one in files:
        whole.update(one.read_bytes())
    return whole.hexdigest()[:16]


CODE = (".py", ".json")


def kept(path: Path, answer: Callable[[], Lists]) -> Lists:
    """The lists at `path`; else those of `answer`, which are then kept there."""
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        return Lists(**{name: tuple(map(frozen, lists)) for name, lists in found.items()})
    found = answer()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(found)), encoding="utf-8")
    part.replace(path)
    return found


def frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# what the system is given


@contextmanager
def home(at: Path, folder: Path, fitted: Board, asked: Board, counts: Interactions, index: Path) -> Iterator[Rapport]:
    """A home that learned from `fitted` and then got the rest of `asked`, as it happens with a real one.

    `index`: a kept index of the same films, made on the first call. No argument could carry a label.
    """
    settings = Settings(home=at, llm="none", domain="film", interactions=counts, embedder=load().embedder)
    if index.exists():
        shutil.copytree(index, settings.index_folder)
    with Rapport(settings) as rapport:
        copied(folder, fitted, at / "first", fitted.histories)
        fill(rapport, at / "first")
        with show.progress("embedding the films") as progress:
            rapport.build_index(progress)
        with show.progress("learning what goes together") as progress:
            rapport.train(progress)
        _ = rapport.background
        rest = {user: rows[len(fitted.histories[user]) :] for user, rows in asked.histories.items()}
        copied(folder, asked, at / "then", rest)
        fill(rapport, at / "then")
        rapport.refresh()
        if not index.exists():
            rapport.close()
            shutil.copytree(settings.index_folder, index)
        yield rapport


def copied(folder: Path, cut: Board, to: Path, histories: Mapping[str, Sequence[Rating]]) -> None:
    """The films of `cut` and these ratings as a MovieLens folder. Nobody's tags: they may be younger than the cut."""
    to.mkdir(parents=True)
    films = set(cut.movies)
    with (folder / "movies.csv").open(encoding="utf-8", newline="") as source:
        head, *rows = csv.reader(source)
    written(to / "movies.csv", [head, *(row for row in rows if row[0] in films)])
    events = [(user, one.movie, one.stars, int(one.at.timestamp())) for user, seen in histories.items() for one in seen]
    written(to / "ratings.csv", [("userId", "movieId", "rating", "timestamp"), *events])


def written(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def fill(rapport: Rapport, folder: Path) -> None:
    with show.progress("reading the ratings") as progress:
        import_path(rapport.store, folder, progress=lambda rows: progress(rows, None))


# what it answers


class Kept:
    """A retriever that remembers its last answer: one recommendation tells both the prior and what is shown."""

    def __init__(self, retrieve: Retrieve) -> None:
        self._retrieve = retrieve
        self.last: Sequence[Candidate] = ()

    def __call__(self, query: Query, profile: Profile, events: Sequence[Event]) -> list[Candidate]:
        found = self._retrieve(query, profile, events)
        self.last = found
        return found


def answers(scratch: Path, folder: Path, fitted: Board, asked: Board, counts: Interactions) -> Lists:
    """A home made and asked; with `had` also for what is compared."""
    with home(scratch / counts, folder, fitted, asked, counts, scratch / "index") as rapport:
        found = lists(rapport, asked, with_parts=counts == "had")
        if counts != "had":
            return found
        nearest = baselines.exact_text(rapport.index.vectors(asked.movies), asked)
        return replace(found, text=tuple(best_films(nearest, asked)))


def best_films(scores: baselines.Matrix, asked: Board) -> Iterator[tuple[str, ...]]:
    """The first CANDIDATES films of each person that they have not rated; equals by place."""
    for own, one in zip(baselines.places(asked), scores, strict=True):
        one = np.array(one)
        one[own] = -np.inf
        yield tuple(asked.movies[at] for at in np.argsort(-one, kind="stable")[:CANDIDATES] if one[at] > -np.inf)


def lists(rapport: Rapport, asked: Board, *, with_parts: bool) -> Lists:
    """What the pipeline answers to everybody of the board, as `rapport recommend` would."""
    retrieve = retriever(rapport)
    kept, alone = Kept(retrieve), replace(retrieve, others=None)
    recommender = replace(rapport.recommender, retrieve=kept)
    prior, shown, explored, content, others, ms = [], [], [], [], [], []
    with show.progress("people") as progress:
        for done, user in enumerate(asked.histories):
            progress(done, len(asked.histories))
            profile = rapport.profile(user)
            started = time.perf_counter()
            answer = recommender(Query(user, SHOWN))
            ms.append(1000 * (time.perf_counter() - started))
            explored.append(tuple(one.item.id for one in answer.items))
            shown.append(tuple(one.item.id for one in recommender(Query(user, SHOWN, surprise=0)).items))
            prior.append(ids(kept.last))
            if with_parts:
                events = rapport.store.events(user)
                content.append(ids(alone(Query(user, SHOWN, surprise=0), profile, events)))
                others.append(by_others(rapport, events))
    return Lists(tuple(prior), tuple(shown), tuple(explored), tuple(content), tuple(others), (), tuple(ms))


def by_others(rapport: Rapport, events: Sequence[Event]) -> tuple[str, ...]:
    had, voice = {one.item for one in events}, rapport.collaborative
    unseen = (id for id, _ in voice(events).ranked() if id not in had) if voice else iter(())
    return tuple(islice(unseen, CANDIDATES))


def priors(rapport: Rapport, asked: Board) -> list[tuple[str, ...]]:
    """What retrieval and fusion bring everybody, and no more."""
    retrieve = retriever(rapport)
    return [
        ids(retrieve(Query(user, SHOWN, surprise=0), rapport.profile(user), rapport.store.events(user)))
        for user in asked.histories
    ]


def retriever(rapport: Rapport) -> Retrieve:
    found = rapport.recommender.retrieve
    if not isinstance(found, Retrieve):
        raise SetupError("the board's index is not there")
    return found


def ids(found: Sequence[Candidate]) -> tuple[str, ...]:
    return tuple(one.item.id for one in found[:CANDIDATES])


# what it was worth; only here are labels opened


def dense_ranks(scores: baselines.Matrix, asked: Board, labels: Labels) -> Ranks:
    """Ranks among all films that the person has not rated; equal scores share the mean of their ranks."""
    place = {movie: at for at, movie in enumerate(asked.movies)}
    return np.array(
        [
            tied_rank(row, place[labels.next[user].movie], own[own != place[labels.next[user].movie]])
            for row, user, own in zip(scores, asked.histories, baselines.places(asked), strict=True)
        ]
    )


def list_ranks(found: Sequence[Sequence[str]], asked: Board, labels: Labels) -> Ranks:
    """Place of the held-out film in each list, from 1; infinite where it is not there."""
    pairs = zip(found, asked.histories, strict=True)
    return np.array([float(place(ranked, labels.next[user].movie)) for ranked, user in pairs])


def place(ranked: Sequence[str], movie: str) -> float:
    return ranked.index(movie) + 1 if movie in ranked else math.inf


def rotated(labels: Labels) -> Labels:
    """Everybody's label given to the next person: what is left of a score then is not about the person."""
    users = list(labels.next)
    return Labels({user: labels.next[users[at - 1]] for at, user in enumerate(users)})


def row(ranks: Ranks, against: Ranks, labels: Labels) -> dict[str, Any]:
    """One line of the table, with its paired difference to `against`."""
    liked = np.array([one.stars >= LIKED for one in labels.next.values()])
    gain = ndcg(ranks, 10)
    return {
        **{f"mrr@{k}": round(float(mrr(ranks, k).mean()), 4) for k in (5, 10)},
        **{f"ndcg@{k}": round(float(ndcg(ranks, k).mean()), 4) for k in (5, 10)},
        **{f"recall@{k}": round(float(recall(ranks, k).mean()), 4) for k in (5, 10, 20, 50, 100)},
        "ndcg@10 interval": rounded(gain),
        "ndcg@10 minus blend": rounded(gain - ndcg(against, 10)),
        "recall@20 minus blend": rounded(recall(ranks, 20) - recall(against, 20)),
        "ndcg@10 where liked": rounded(gain[liked])[0],
        "ndcg@10 where not liked": rounded(gain[~liked])[0],
    }


def rounded(values: Floats) -> list[float]:
    """Mean and 95 % interval."""
    return [round(one, 4) for one in asdict(interval(values)).values()]


def sliced(ranks: Ranks, against: Ranks, asked: Board) -> list[dict[str, Any]]:
    """NDCG@10 by length of history."""
    sizes = np.array([len(rows) for rows in asked.histories.values()])
    found = []
    for least, most in LENGTHS:
        inside = (sizes >= least) & (sizes <= (most or math.inf))
        gain = ndcg(ranks[inside], 10)
        found.append(
            {
                "at_least": least,
                "at_most": most,
                "people": int(inside.sum()),
                "ndcg@10": rounded(gain),
                "minus blend": rounded(gain - ndcg(against[inside], 10)),
            }
        )
    return found


def tie_order(rows: Sequence[Rating], seed: int, folder: Path, scratch: Path, keep: Path) -> dict[str, Any]:
    """The blend and Rapport with ratings of equal time in a random order, which also changes what is held out."""
    asked, labels = board(rows, seed)
    fitted, _ = earlier(asked)
    blend = dense_ranks(baselines.matrices(fitted, asked)[baselines.BLEND], asked, labels)

    def answer() -> Lists:
        with home(scratch / f"ties-{seed}", folder, fitted, asked, "had", scratch / "index") as rapport:
            return Lists(tuple(priors(rapport, asked)))

    ours = list_ranks(kept(keep / f"ties-{seed}.json", answer).prior, asked, labels)
    return {
        "seed": seed,
        "blend ndcg@10": round(float(ndcg(blend, 10).mean()), 4),
        "Rapport ndcg@10": round(float(ndcg(ours, 10).mean()), 4),
        "minus blend": rounded(ndcg(ours, 10) - ndcg(blend, 10)),
    }


def described(folder: Path, rows: Sequence[Rating], asked: Board) -> dict[str, Any]:
    people = len(asked.histories)
    return {
        "set": FOLDER,
        "sha256": {name: sha256(folder / name) for name in ("movies.csv", "ratings.csv")},
        "people": people,
        "films": len(asked.movies),
        "ratings": len(rows),
        "mean_length": round(len(rows) / people, 2),
    }


# for people to read


def markdown(result: Mapping[str, Any]) -> str:
    """The tables as they stand in the docs."""
    return "\n\n".join(map("\n".join, (_systems(result), _slices(result), _notes(result))))


def _systems(result: Mapping[str, Any]) -> Iterator[str]:
    data = result["data"]
    yield f"{data['people']} people, {data['films']} films, every unseen film ranked; [95 % intervals], paired."
    yield ""
    yield "| | NDCG@10 | minus blend | R@10 | R@20 | R@100 | MRR@10 | NDCG@10 where liked |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, (gain, ten, twenty) in PUBLISHED.items():
        yield f"| {name} | {figure(gain)} | | {figure(ten)} | {figure(twenty)} | | | |"
    for name, one in result["systems"].items():
        deep = name.endswith("as shown")
        rest = [one["recall@10"], *(("", "") if deep else (one["recall@20"], one["recall@100"])), one["mrr@10"]]
        cells = [*map(figure, rest), figure(one["ndcg@10 where liked"])]
        yield f"| {name} | {spread(one['ndcg@10 interval'])} | {spread(one['ndcg@10 minus blend'], signed=True)} | " + (
            " | ".join(cells) + " |"
        )


def _slices(result: Mapping[str, Any]) -> Iterator[str]:
    shown = [baselines.BLEND, CONTENT, OTHERS, *MEANING.values()]
    yield "NDCG@10 by number of ratings before the held-out one (people), and minus the blend:"
    yield ""
    lengths = result["slices"][baselines.BLEND]
    yield "| | " + " | ".join(f"{length(one)} ({one['people']})" for one in lengths) + " |"
    yield "|---|" + "---|" * len(lengths)
    for name in shown:
        cells = [
            figure(one["ndcg@10"][0])
            if name == baselines.BLEND
            else f"{figure(one['ndcg@10'][0])}, {spread(one['minus blend'], signed=True)}"
            for one in result["slices"][name]
        ]
        yield f"| {name} | " + " | ".join(cells) + " |"


def _notes(result: Mapping[str, Any]) -> Iterator[str]:
    for one in result["bars"]:
        state = "met" if one["met"] else f"missed by {one['bar'] - one['figure']:.4f}"
        yield f"- bar {one['what']} >= {figure(one['bar'])}: {figure(one['figure'])}, {state}"
    for one in result["tie_orders"]:
        yield (
            f"- ratings of equal time in random order, seed {one['seed']}: Rapport {figure(one['Rapport ndcg@10'])}, "
            f"blend {figure(one['blend ndcg@10'])}, difference {spread(one['minus blend'], signed=True)}"
        )
    permuted = ", ".join(f"{name} {figure(gain)}" for name, gain in result["label_permutation"].items())
    yield f"- NDCG@10 with everybody's label given to the next person: {permuted}"
    for name, one in result["cost"].items():
        yield f"- {name}: a whole recommendation p50 {one['ms_p50']} ms, p95 {one['ms_p95']} ms (no model)"


def figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4f}".replace("0.", ".", 1)


def spread(values: Sequence[float], *, signed: bool = False) -> str:
    """Mean and interval."""
    mean, low, high = (f"{one:+.4f}" if signed else f"{one:.4f}" for one in values)
    return f"{mean} [{low}, {high}]".replace("0.", ".")


def length(one: Mapping[str, Any]) -> str:
    return f"{one['at_least']}-{one['at_most']}" if one["at_most"] else f"from {one['at_least']}"
