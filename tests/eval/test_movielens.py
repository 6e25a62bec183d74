from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.errors import SetupError
from eval import movielens
from eval.movielens import Rating, board, core, earlier, read


def rating(user: int, movie: int, at: int, stars: float = 4.0) -> Rating:
    return Rating(str(user), str(movie), stars, datetime.fromtimestamp(at, UTC))


def test_rare_films_and_people_go_until_nothing_changes():
    rows = [rating(user, movie, movie) for user in range(5) for movie in range(5)]
    # Film 9 has five ratings, one of them by somebody who has no other: he goes, and then the film does.
    rows += [rating(user, 9, 9) for user in (*range(4), 77)]
    found = core(rows)
    assert len(found) == 25
    assert {one.movie for one in found} == set("01234")


def test_the_last_rating_is_held_out_and_the_one_before_it_from_the_earlier_cut():
    asked, labels = board([rating(1, 7, 30), rating(1, 5, 10), rating(1, 6, 20), rating(2, 5, 5), rating(2, 6, 6)])
    assert [one.movie for one in asked.histories["1"]] == ["5", "6"]
    assert labels.next["1"].movie == "7"
    fitted, before = earlier(asked)
    assert [one.movie for one in fitted.histories["1"]] == ["5"]
    assert before.next["1"].movie == "6"
    assert asked.movies == fitted.movies == ("5", "6", "7")


def test_equal_times_are_ordered_by_film_number_or_at_random_by_a_seed():
    rows = [rating(1, movie, 10) for movie in (100, 20, 3, 4, 5, 6, 7)]
    asked, labels = board(rows)
    assert [one.movie for one in asked.histories["1"]] == ["3", "4", "5", "6", "7", "20"]
    orders = [[one.movie for one in board(rows, seed)[0].histories["1"]] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert labels.next["1"].movie == "100"


def test_the_files_are_read_and_films_that_are_not_listed_go(tmp_path):
    ratings = [f"{user},{movie},3.5,{movie}" for user in range(1, 6) for movie in (*range(1, 6), 99)]
    (tmp_path / "ratings.csv").write_text("\r\n".join(["userId,movieId,rating,timestamp", *ratings]) + "\r\n")
    films = [f'{movie},"Film, the {movie}",Drama' for movie in range(1, 6)]
    (tmp_path / "movies.csv").write_text("\r\n".join(["movieId,title,genres", *films]) + "\r\n")
    found = read(tmp_path)
    assert len(found) == 25
    assert found[0] == Rating("1", "1", 3.5, datetime.fromtimestamp(1, UTC))


def test_data_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SetupError, match=movielens.FOLDER):
        read(tmp_path)
