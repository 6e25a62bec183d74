from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from agent import cli
from eval import results
from eval.boards import BOARDS, board
from eval.boards.preference import FOLDER, read
from eval.cli import TASKS
from tests.eval.boards.test_boards import tallrec


def called(monkeypatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["rapport", "eval", *arguments])
    return cli.run()


def test_the_list_stands_in_columns(monkeypatch, capsys):
    assert not called(monkeypatch, "list")
    lines = capsys.readouterr().out.splitlines()[: len(TASKS)]
    assert len({line.index(task.about) for line, task in zip(lines, TASKS.values(), strict=True)}) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("board-a",), "--data"),
        (("board-b",), "--data"),
        (("boards",), "--data"),
        (("no-such-thing",), "no measurement is called 'no-such-thing'"),
    ],
)
def test_what_was_asked_wrongly_is_one_line(monkeypatch, capsys, arguments, says):
    assert called(monkeypatch, "run", *arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert "Traceback" not in told.err


def test_a_data_folder_that_is_not_there_is_one_line(monkeypatch, capsys, tmp_path):
    assert called(monkeypatch, "run", "board-a", "--data", str(tmp_path)) == 1
    assert "movielens-latest-small" in capsys.readouterr().err


def test_boards_whose_data_are_absent_are_passed_over_and_named(monkeypatch, capsys, tmp_path):
    tallrec(tmp_path / "data", ["Yes.", "No."] * 10)
    monkeypatch.setitem(
        TASKS, "board-a", TASKS["board-a"].__class__("about", lambda on: {"parts": [], "board": "board-a"})
    )
    monkeypatch.setattr("eval.cli.BOARDS", {name: BOARDS[name] for name in ("board-g", "board-b")})
    assert called(monkeypatch, "run", "boards", "--data", str(tmp_path / "data"), "--results", str(tmp_path)) == 1
    told = capsys.readouterr()
    assert "board-g was not run: " in told.err
    assert [one["board"] for one in results.every(tmp_path)] == ["board-a", "board-b"]


def test_a_table_for_people_and_json_for_programs_and_both_kept(monkeypatch, capsys, tmp_path):
    task = TASKS["board-a"].__class__("about", lambda on: {"users": on.users}, lambda result: f"| {result['users']} |")
    monkeypatch.setitem(TASKS, "board-a", task)
    kept = ("--results", str(tmp_path))
    assert not called(monkeypatch, "run", "board-a", "--users", "7", *kept)
    told = capsys.readouterr()
    assert told.out == "| 7 |\n"
    assert "results.jsonl" in told.err
    assert not called(monkeypatch, "run", "board-a", "--users", "7", "--json", *kept)
    assert json.loads(capsys.readouterr().out) == {"users": 7}
    assert [one["result"]["users"] for one in results.every(tmp_path)] == [7, 7]


def test_a_board_is_run_kept_and_reported(monkeypatch, capsys, tmp_path):
    tallrec(tmp_path / "data", ["Yes.", "No."] * 10)
    where = ("--results", str(tmp_path / "kept"))
    assert called(monkeypatch, "report", *where) == 1
    assert "holds no board yet" in capsys.readouterr().err
    assert not called(monkeypatch, "run", "board-b", "--data", str(tmp_path / "data"), *where)
    assert "### B. Will they like it?" in capsys.readouterr().out
    assert not called(monkeypatch, "report", *where)
    made = capsys.readouterr().out.split()
    assert [Path(one).name for one in made[:2]] == ["report.html", "report.md"]
    assert all(Path(one).is_file() for one in made)
    (record,) = results.every(tmp_path / "kept")
    part = record["parts"][0]
    rows, liked = read(tmp_path / "data" / FOLDER / "test.json")
    assert 100 * roc_auc_score(liked, [row.share for row in rows]) == pytest.approx(55.0)
    assert part["counts"]["test.json rows"] == {"found": 20, "expected": 1000}
    assert part["systems"]["likes / (likes + dislikes) in the row"]["metrics"]["AUC x100"][0] == 55.0
    assert set(record["data"]["files"]) == set(board("board-b").files)
