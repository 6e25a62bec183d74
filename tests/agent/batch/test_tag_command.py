"""`rapport tag` as people and programs call it, in this process: options, streams, exit status, files."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest
from rich.console import Console

from agent import cli, show
from agent.batch.engines import ENGINES
from agent.batch.report import Progress
from agent.errors import Refused, Unavailable
from agent.history.jobs import Failure
from agent.llm.scripted import Scripted
from agent.wiring import Rapport
from tests.agent.batch.conftest import PERSONA, names


@pytest.fixture
def command(town, monkeypatch, capsys):
    """Runs `rapport tag` with a model that is a function, in a home of ten people."""
    home = town(10).settings.home

    def run(*words: str, reply=lambda chat: PERSONA, llm: str = "none"):
        for console in (show.out, show.err):
            monkeypatch.setattr(console, "_width", 200)
        monkeypatch.setenv("RAPPORT_DOMAIN", "film")
        monkeypatch.setattr(cli, "open_rapport", lambda settings: Rapport(settings, Scripted(reply, name="tiny")))
        monkeypatch.setattr("sys.argv", ["rapport", "tag", "--home", str(home), "--llm", llm, *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return SimpleNamespace(status=end.value.code or 0, out=printed.out, err=printed.err)

    return run


def test_everybody_is_tagged_and_then_nobody_is(command):
    first = command()
    assert first.status == 0
    assert "10 tagged · 0 unchanged" in first.out
    assert "people/s" in first.out
    assert "tiny" in first.out
    assert " of 10 · " in first.err
    again = command("--all")
    assert (again.status, again.out.strip()) == (0, "0 tagged · 10 unchanged")


def test_json_is_the_whole_report(command):
    found = json.loads(command("--json", "--limit", "4", "--workers", "2").out)
    assert (found["people"], found["tagged"], found["unchanged"], found["failed"]) == (4, 4, 0, 0)
    assert (found["engine"], found["model"], found["stopped"]) == ("local", "tiny", "")
    assert found["tokens"]["prompt"] > 0
    assert found["failures"] == found["unknown"] == []


def test_the_profiles_of_those_who_were_meant_go_into_the_file(command, tmp_path):
    people = tmp_path / "people"
    people.write_text("u0007\nu0003\nstranger\n")
    done = command("--users", str(people), "--out", str(tmp_path / "out.jsonl"))
    assert done.status == 0
    assert "1 not in the history: stranger" in done.out
    assert f"2 profiles in {tmp_path / 'out.jsonl'}" in done.err
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(line["user"], line["persona"], line["version"]) for line in lines] == [
        ("u0003", PERSONA, 1),
        ("u0007", PERSONA, 1),
    ]
    # What is known already is written all the same.
    command("--limit", "5", "--out", str(tmp_path / "out.csv"))
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 6


def test_failures_are_told_and_are_no_error(command):
    def reply(chat):
        if "u0" in chat[-1].content or len(asked) < 3:
            asked.append(1)
            return PERSONA
        raise Refused("the [bold]prompt[/] is too long")

    asked: list[int] = []
    done = command("--workers", "1", reply=reply)
    assert done.status == 0
    assert "3 tagged · 0 unchanged · 7 failed" in done.out
    assert "7 Refused" in done.out
    assert "u0009: Refused: the [bold]prompt[/] is too long" in done.out
    assert "--retry-failed" in done.out
    skipped = command()
    assert (skipped.status, "3 unchanged · 7 failed" in skipped.out) == (0, True)
    assert "7 tagged · 3 unchanged" in command("--retry-failed").out


def test_a_model_that_is_away_is_an_error_that_says_what_to_do(command, monkeypatch, tmp_path):
    def reply(chat):
        raise Unavailable("no route")

    monkeypatch.setattr(
        "agent.batch.outage.Outage.over", lambda self, since: (_ for _ in ()).throw(Unavailable("gone"))
    )
    done = command("--out", str(tmp_path / "out.jsonl"), reply=reply)
    assert done.status == 1
    assert "10 to be done" in done.out
    assert "the model stays away: gone" in done.err
    assert (tmp_path / "out.jsonl").read_text() == ""


def test_a_budget_that_is_spent_is_an_error_that_says_what_to_do(command):
    done = command("--max-tokens", "2000", "--workers", "2", "--json")
    assert done.status == 1
    assert json.loads(done.out)["remaining"] > 0
    assert "10 people: about" in done.err
    assert "more than is allowed" in done.err
    assert "limit of 2000 tokens" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "people.xlsx"], "ends in .jsonl, .csv, .parquet"),
        (["--all", "--users", "x"], "--all and --users: one of them"),
        (["--users", "/nowhere/people"], "cannot be read"),
        (["--engine", "openai"], "--engine openai works with a model behind an API"),
        (["--engine", "openai-batch"], "--engine openai-batch works with a model behind an API"),
        (["--write", "requests.jsonl"], "are for --engine openai-batch"),
        (["--workers", "0"], "workers"),
        (["--engine", "abacus"], "abacus"),
    ],
)
def test_wrong_usage_is_said_before_any_work(command, words, message):
    done = command(*words)
    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_the_local_engine_is_not_for_a_model_behind_an_api(command):
    done = command("--engine", "local", llm="openai:gpt")
    assert done.status == 2
    assert "works with a model that runs here, not with 'openai:gpt'" in done.err


def test_every_engine_can_be_chosen_and_no_other():
    (choices, _) = get_args(get_type_hints(cli.tag)["engine"])
    assert set(get_args(choices)) == set(ENGINES)


# Progress and report


def now(**changes) -> Progress:
    given = {"total": 600, "done": 150, "tagged": 100, "failed": 2, "tokens": 12_345, "seconds": 50.0} | changes
    return Progress(**given)


@pytest.fixture
def lines(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(show, "err", Console(file=written, width=200, highlight=False))
    return written


def test_plain_progress_is_told_after_the_first_person_and_now_and_then(lines, monkeypatch):
    clock = SimpleNamespace(at=100.0)
    monkeypatch.setattr(show.time, "monotonic", lambda: clock.at)
    with show.tagging() as progress:
        progress(now(tagged=0))
        assert lines.getvalue() == ""
        progress(now())
        assert lines.getvalue() == "150 of 600 · 2 failed · 2 people/s · 12,345 tokens · 4 min left\n"
        progress(now())
        clock.at += show.PLAIN_S
        progress(now(cost=0.0123))
    assert lines.getvalue().splitlines()[1:] == [
        "150 of 600 · 2 failed · 2 people/s · 12,345 tokens · $0.0123 · 4 min left"
    ]


def test_a_terminal_gets_a_bar(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(show, "err", Console(file=written, width=100, force_terminal=True))
    with show.tagging() as progress:
        progress(now())
    assert "150/600" in written.getvalue()
    assert "12,345 tokens" in written.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 s"), (59.0, "59 s"), (60.0, "1 min"), (5399.0, "90 min"), (7200.0, "2.0 h")]
)
def test_spans_fit_their_size(seconds, text):
    assert show.span(seconds) == text


def test_a_long_list_of_failures_is_cut(capsys, command):
    from agent.batch.report import Report

    failures = tuple(Failure(user, "Refused", "no", 3) for user in names(30))
    show.tag_report(Report("m", "local", 30, 0, 0, failures, 0, (), 0, 0, 1.0))
    printed = capsys.readouterr().out
    assert "u0009" in printed
    assert "u0010" not in printed
    assert "and 20 more" in printed
    assert sys.stdout
