from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from eval import baselines, board_a
from eval.board_a import dense_ranks, home, list_ranks, priors, rotated, row, run, sliced
from eval.movielens import FOLDER, Board, Labels, Rating, board, earlier, read

PEOPLE, FILMS = 54, 30
"""Invented: everybody walks through the films in steps of their own, so that what follows what can be learned."""


def rating(user: str, movie: str, at: int = 0, stars: float = 4.0) -> Rating:
    return Rating(user, movie, stars, datetime.fromtimestamp(1_000_000 + at, UTC))


def walks() -> dict[int, list[int]]:
    return {user: [(user + step * (1 + user % 3)) % FILMS + 1 for step in range(8)] for user in range(1, PEOPLE + 1)}


def write(folder: Path, histories: dict[int, list[int]], stars: float = 4.0) -> Path:
    """A MovieLens folder; `stars`: of everybody's last rating."""
    folder.mkdir(parents=True)
    lines = [
        f"{user},{movie},{stars if step == len(films) - 1 else 4.0},{1_000_000 + 60 * step}"
        for user, films in histories.items()
        for step, movie in enumerate(films)
    ]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    # Every title is close to every genre, and each to another degree: Chroma may order equals as it likes.
    genres = ("Drama", "Horror", "Comedy")
    names = [
        f"{movie},{' '.join(genres)}{' and so on' * movie} ({1950 + movie}),{genres[movie % 3]}"
        for movie in range(1, FILMS + 1)
    ]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *names]) + "\n")
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("RAPPORT_EMBEDDER", "hashing")


SMALL = Board(("1", "2", "3", "4"), {"7": (rating("7", "1"),), "9": (rating("9", "3"), rating("9", "4"))})
HELD = Labels({"7": rating("7", "2"), "9": rating("9", "1", stars=2.0)})


def test_dense_ranks_leave_out_what_was_rated():
    scores = np.array([[9.0, 2.0, 3.0, 2.0], [0.5, 1.0, 7.0, 8.0]])
    assert dense_ranks(scores, SMALL, HELD).tolist() == [2.5, 2]


def test_list_ranks_are_places_and_infinite_outside():
    assert list_ranks([("3", "2"), ("2",)], SMALL, HELD).tolist() == [2, math.inf]


def test_a_row_holds_measures_intervals_and_the_paired_difference():
    found = row(np.array([1.0, math.inf]), np.array([2.0, math.inf]), HELD)
    assert (found["ndcg@10"], found["recall@20"], found["mrr@5"]) == (0.5, 0.5, 0.5)
    assert found["ndcg@10 minus blend"][0] == pytest.approx((1 - 1 / math.log2(3)) / 2, abs=1e-4)
    assert (found["ndcg@10 where liked"], found["ndcg@10 where not liked"]) == (1.0, 0.0)


def test_slices_are_by_the_length_of_what_was_given():
    found = sliced(np.array([1.0, 2.0]), np.array([1.0, 1.0]), SMALL)
    assert [one["people"] for one in found] == [2, 0, 0, 0]
    assert found[0]["minus blend"][0] == pytest.approx((1 / math.log2(3) - 1) / 2, abs=1e-4)


def test_rotated_labels_are_everybody_s_but_the_own():
    assert {user: one.movie for user, one in rotated(HELD).next.items()} == {"7": "1", "9": "2"}


def test_a_recipe_by_hand():
    """Two films in a row, three times: transitions say the second after the first, and popularity counts."""
    films = ("1", "2", "3")
    fitted = Board(films, {str(user): (rating(str(user), "1"), rating(str(user), "2")) for user in range(3)})
    asked = Board(films, {"0": (rating("0", "1"),), "1": (rating("1", "3"),), "2": (rating("2", "3"),)})
    found = baselines.matrices(fitted, asked)
    assert found["Markov"][0] == pytest.approx([0, 3 / 13, 0])
    assert found["Pop"][0].tolist() == [1, 0, 2]
    assert found["EASE plain, lambda 200"][0].argmax() == 1
    assert found[baselines.BLEND][1] == pytest.approx([0, 0, 0])


def answers(folder: Path, scratch: Path, index: Path) -> list[tuple[str, ...]]:
    asked, _ = board(read(folder))
    fitted, _ = earlier(asked)
    with home(scratch, folder, fitted, asked, "had", index) as rapport:
        assert rapport.store.count_events() == sum(map(len, asked.histories.values()))
        assert rapport.collaborative is not None
        assert rapport.collaborative.events == sum(map(len, fitted.histories.values()))
        return priors(rapport, asked)


def test_labels_planted_elsewhere_change_nothing(tmp_path):
    """Other held-out films, other stars for them, and the answer in files beside the data: the same lists."""
    plain = write(tmp_path / "a" / FOLDER, walks())
    other = walks()
    users = list(other)
    # Swapped in pairs who have not seen each other's, so that the same films take part.
    for one, two in zip(users[::2], users[1::2], strict=True):
        last = other[one][-1], other[two][-1]
        if last[1] not in other[one] and last[0] not in other[two]:
            other[one][-1], other[two][-1] = last[1], last[0]
    assert other != walks()
    planted = write(tmp_path / "b" / FOLDER, other, stars=0.5)
    lines = [f"{user},{films[-1]},the next film of {user},1" for user, films in other.items()]
    (planted / "tags.csv").write_text("\n".join(["userId,movieId,tag,timestamp", *lines, *lines]) + "\n")
    (planted / "links.csv").write_text("movieId,imdbId,tmdbId\n1,label,label\n")
    (planted / "README.md").write_text(str(other))
    index = tmp_path / "index"
    found = answers(plain, tmp_path / "one", index)
    assert found == answers(planted, tmp_path / "two", index)
    assert all(
        set(ranked).isdisjoint(map(str, films[:-1])) for ranked, films in zip(found, walks().values(), strict=True)
    )


@pytest.mark.parametrize(("value", "shown"), [(0.0844, ".0844"), (-0.05, "-.0500"), (1.0, "1.0000")])
def test_figures_as_they_are_printed(value, shown):
    assert board_a.figure(value) == shown


def test_the_whole_board_on_invented_walks(tmp_path, monkeypatch):
    monkeypatch.setattr(board_a, "TIE_SEEDS", (1,))
    monkeypatch.setenv("RAPPORT_CACHE", str(tmp_path / "cache"))
    write(tmp_path / FOLDER, walks())
    found = run(tmp_path)
    assert (found["data"]["people"], found["data"]["films"]) == (PEOPLE, FILMS)
    assert len(found["data"]["sha256"]["ratings.csv"]) == 64
    had, liked = board_a.MEANING.values()
    assert list(found["systems"]) == [
        "Pop",
        "EASE plain, lambda 500",
        "EASE plain, lambda 200",
        "EASE x recency decay",
        "Markov",
        baselines.BLEND,
        "implicit, ALS",
        "implicit, BPR",
        "implicit, item to item (BM25)",
        board_a.TEXT,
        board_a.CONTENT,
        board_a.OTHERS,
        had,
        f"{had}, as shown",
        f"{had}, exploring, as shown",
        liked,
        f"{liked}, as shown",
        f"{liked}, exploring, as shown",
    ]
    ours = found["systems"][had]
    assert ours["ndcg@10"] > found["systems"][board_a.CONTENT]["ndcg@10"]
    assert found["label_permutation"][had] < ours["ndcg@10"]
    assert found["tie_orders"][0]["seed"] == 1
    assert found["system"]["commit"]
    assert [one["met"] for one in found["bars"]] == [ours[one["what"]] >= one["bar"] for one in found["bars"]]
    table = board_a.markdown(found)
    assert all(f"| {name} | " in table for name in found["systems"])
    assert f"| {had} | {board_a.spread(ours['ndcg@10 interval'])} | " in table

    def never(*_):
        raise AssertionError("asked again")

    monkeypatch.setattr(board_a, "home", never)
    again = run(tmp_path)
    assert {**again, "seconds": 0, "system": 0} == {**found, "seconds": 0, "system": 0}
    monkeypatch.setenv("RAPPORT_EMBEDDER", "hashing:256")
    assert board_a.fingerprint(tmp_path / FOLDER) not in {one.name for one in (tmp_path / "cache" / "eval").iterdir()}
