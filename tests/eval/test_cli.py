from __future__ import annotations

import json
import sys

import pytest

from agent import cli
from eval.cli import TASKS


def called(monkeypatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["rapport", "eval", *arguments])
    return cli.run()


def test_the_list_stands_in_columns(monkeypatch, capsys):
    assert not called(monkeypatch, "list")
    lines = capsys.readouterr().out.splitlines()[: len(TASKS)]
    assert len({line.index(task.about) for line, task in zip(lines, TASKS.values(), strict=True)}) == 1


@pytest.mark.parametrize(
    ("arguments", "says"), [(("board-a",), "--data"), (("no-such-thing",), "no measurement is called 'no-such-thing'")]
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


def test_a_table_for_people_and_json_for_programs(monkeypatch, capsys):
    task = TASKS["board-a"].__class__("about", lambda on: {"users": on.users}, lambda result: f"| {result['users']} |")
    monkeypatch.setitem(TASKS, "board-a", task)
    assert not called(monkeypatch, "run", "board-a", "--users", "7")
    assert capsys.readouterr().out == "| 7 |\n"
    assert not called(monkeypatch, "run", "board-a", "--users", "7", "--json")
    assert json.loads(capsys.readouterr().out) == {"users": 7}
