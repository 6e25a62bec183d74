"""Board A: MovieLens latest-small, the last rating of each person held out, every unseen film ranked.

What Rapport is given is a home into which the earlier ratings were imported; what was held out is opened by `score`
alone. The protocol is LlamaRec's (Yue et al. 2023), whose "ML-100k" is this data set.
"""

from __future__ import annotations

import csv
import math
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
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

VERSION = 1
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
    shown: tuple[tuple[str, ...], ...]
    """The SHOWN films that a person gets, after what fits comes first and after diversification."""
    content: tuple[tuple[str, ...], ...]
    """As `prior`, without anybody else's history."""
    ms: tuple[float, ...]
    """Wall time of one whole recommendation of SHOWN films to somebody whose profile is there already."""


def run(data: Path) -> dict[str, Any]:
    """The whole board as JSON-ready values. `data`: the folder that holds movielens-latest-small. Takes minutes."""
    started, folder = time.perf_counter(), data / FOLDER
    rows = read(folder)
    asked, labels = board(rows)
    fitted, _ = earlier(asked)
    results: dict[str, Ranks] = {}
    notes: dict[str, list[float]] = {}
    dense = baselines.matrices(fitted, asked)
    results |= {name: dense_ranks(scores, asked, labels) for name, scores in dense.items()}
    shifted = rotated(labels)
    permuted = {name: dense_ranks(dense[name], asked, shifted) for name in ("Pop", baselines.BLEND)}
    with tempfile.TemporaryDirectory(prefix="rapport-board-a-") as scratch:
        index = Path(scratch) / "index"
        for counts in ("had", "liked"):
            with home(Path(scratch) / counts, folder, fitted, asked, counts, index) as rapport:
                if not notes:
                    vectors = rapport.index.vectors(asked.movies)
                    results[TEXT] = dense_ranks(baselines.exact_text(vectors, asked), asked, labels)
                answered = lists(rapport, asked, with_content=counts == "had")
            name = f"Rapport, {MEANING[counts]}"
            if counts == "had":
                results["Rapport, content only"] = list_ranks(answered.content, asked, labels)
                permuted[name] = list_ranks(answered.prior, asked, shifted)
            results[name] = list_ranks(answered.prior, asked, labels)
            results[f"{name}, as shown"] = list_ranks(answered.shown, asked, labels)
            notes[name] = [float(one) for one in np.percentile(answered.ms, [50, 95])]
        orders = [tie_order(rows, seed, folder, Path(scratch), index) for seed in TIE_SEEDS]
    return {
        "board": "A",
        "version": VERSION,
        "protocol": "leave one out, full ranking, LlamaRec's cut; ndcg@k, mrr@k, recall@k over all people",
        "data": described(folder, rows, asked),
        "system": system(),
        "systems": {name: row(ranks, results[baselines.BLEND], labels) for name, ranks in results.items()},
        "slices": {name: sliced(ranks, asked) for name, ranks in results.items()},
        "tie_orders": orders,
        "label_permutation": {name: round(float(ndcg(ranks, 10).mean()), 4) for name, ranks in permuted.items()},
        "cost": {name: {"ms_p50": p50, "ms_p95": p95} for name, (p50, p95) in notes.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }


TEXT = "exact vector search on text"
MEANING: Mapping[Interactions, str] = {"had": "every rating counts", "liked": "dislikes do not pull (as installed)"}


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


def lists(rapport: Rapport, asked: Board, *, with_content: bool) -> Lists:
    """What the pipeline answers to everybody of the board, as `rapport recommend` would."""
    retrieve = retriever(rapport)
    kept, alone = Kept(retrieve), replace(retrieve, others=None)
    recommender = replace(rapport.recommender, retrieve=kept)
    prior, shown, content, ms = [], [], [], []
    with show.progress("people") as progress:
        for done, user in enumerate(asked.histories):
            progress(done, len(asked.histories))
            profile = rapport.profile(user)
            started = time.perf_counter()
            answer = recommender(Query(user, SHOWN))
            ms.append(1000 * (time.perf_counter() - started))
            shown.append(tuple(one.item.id for one in answer.items))
            prior.append(ids(kept.last))
            if with_content:
                content.append(ids(alone(Query(user, SHOWN), profile, rapport.store.events(user))))
    return Lists(tuple(prior), tuple(shown), tuple(content), tuple(ms))


def priors(rapport: Rapport, asked: Board) -> list[tuple[str, ...]]:
    """What retrieval and fusion bring everybody, and no more."""
    retrieve = retriever(rapport)
    return [
        ids(retrieve(Query(user, SHOWN), rapport.profile(user), rapport.store.events(user))) for user in asked.histories
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


def sliced(ranks: Ranks, asked: Board) -> list[dict[str, Any]]:
    """NDCG@10 by length of history."""
    sizes = np.array([len(rows) for rows in asked.histories.values()])
    found = []
    for least, most in LENGTHS:
        inside = (sizes >= least) & (sizes <= (most or math.inf))
        found.append(
            {
                "at_least": least,
                "at_most": most,
                "people": int(inside.sum()),
                "ndcg@10": rounded(ndcg(ranks[inside], 10)),
            }
        )
    return found


def tie_order(rows: Sequence[Rating], seed: int, folder: Path, scratch: Path, index: Path) -> dict[str, Any]:
    """The blend and Rapport with ratings of equal time in a random order, which also changes what is held out."""
    asked, labels = board(rows, seed)
    fitted, _ = earlier(asked)
    blend = dense_ranks(baselines.matrices(fitted, asked)[baselines.BLEND], asked, labels)
    with home(scratch / f"ties-{seed}", folder, fitted, asked, "had", index) as rapport:
        found = priors(rapport, asked)
    ours = list_ranks(found, asked, labels)
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


def system() -> dict[str, Any]:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return {
        "commit": done.stdout.strip() or "unknown",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "model": "none",
    }
