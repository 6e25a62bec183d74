"""`rapport chat`: a whole session through a pipe, and one message for scripts."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from agent import sample
from agent.cli import app
from agent.history.store import Store


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    with Store.open(f"sqlite:///{home}/rapport.db") as store:
        store.add_items(sample.films())
        store.add_events(sample.events())
        store.set_meta("domain", "film")
    return home


def run(home, *arguments: str, typed: str = ""):
    command = ["chat", "--home", str(home), "--llm", "none", *arguments]
    return CliRunner().invoke(app, command, input=typed)


def test_a_session(home):
    lines = ["a comedy please", "why 2?", "/like 1", "/wishes", "/drop 1", "/undo", "/undo", "/nonsense", "/like 99"]
    typed = "\n".join([*lines, "/quit", "never read", ""])
    done = run(home, "--user", "mara", "-n", "3", typed=typed)
    assert done.exit_code == 0
    text = re.sub(r"\s+", " ", done.output)
    assert "Here is what fits Comedy:" in text
    assert "It came from" in text
    assert "noted: liked" in text
    assert "1 Comedy until" in text
    assert "taken back: Comedy" in text
    assert "taken back: you like" in text
    assert "there is no /nonsense" in text
    assert "give a number from 1 to 3" in text
    assert "never read" not in text


def test_one_message_as_json_and_the_next_goes_on(home):
    first = json.loads(run(home, "--once", "a comedy please", "--json").stdout)
    assert first["number"] == 1
    assert len(first["items"]) == 5
    assert [one["text"] for one in first["wishes"]] == ["Comedy"]
    again = json.loads(run(home, "--once", "why 2?", "--json").stdout)
    assert again["number"] == 2
    assert again["words"].startswith(first["items"][1]["title"])


def test_one_message_for_people(home):
    done = run(home, "--once", "hello")
    assert done.exit_code == 0
    assert "Hello!" in done.output


def test_json_needs_one_message(home):
    done = run(home, "--json")
    assert done.exit_code != 0


def test_the_end_of_the_input_ends_the_conversation(home):
    assert run(home, typed="").exit_code == 0
