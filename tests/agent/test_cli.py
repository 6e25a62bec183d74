"""The command as people and programs call it: exit status, what goes to which stream, and what is written."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from typer.main import get_command

from agent import cli, show

FILMS = "\n".join(
    [
        "item,title,genres,year",
        *(
            f"f{at},{genre} Tale {at},{genre},{1950 + at}"
            for at in range(30)
            for genre in [("Western", "Horror", "Romance")[at % 3]]
        ),
    ]
)
REVIEW = "A fine long night of terror, told by somebody who means it. I slept badly."
EVENTS = "\n".join(
    json.dumps(row)
    for row in [
        *(
            {"user": "ann", "item": f"f{at}", "rating": 5, "text": REVIEW, "time": f"2024-01-{at + 1:02}"}
            for at in range(1, 20, 3)
        ),
        {"user": "ann", "item": "f2", "rating": 1, "time": "2024-02-01"},
        *({"user": "ben", "item": f"f{at}", "rating": 5, "text": REVIEW, "time": "2024-03-01"} for at in (0, 3, 6)),
        {"user": "joanna", "item": "f0", "rating": 2, "time": "2024-03-01"},
    ]
)


@dataclass
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(home, monkeypatch, capsys) -> Run:
    """`rapport ARGUMENTS` in this process, as main() runs it; never with a model that must be loaded."""
    monkeypatch.setenv("RAPPORT_HOME", str(home))
    monkeypatch.setenv("RAPPORT_LLM", "none")
    monkeypatch.setenv("RAPPORT_EMBEDDER", "hashing")
    monkeypatch.setattr(show, "out", Console(width=100, highlight=False, emoji=False))
    monkeypatch.setattr(show, "err", Console(width=400, stderr=True, highlight=False, emoji=False))

    def rapport(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["rapport", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        streams = capsys.readouterr()
        assert "Traceback" not in streams.err
        return Done(int(stopped.value.code or 0), streams.out, streams.err)

    return rapport


@pytest.fixture
def filled(run, tmp_path) -> Run:
    (tmp_path / "films.csv").write_text(FILMS)
    (tmp_path / "events.jsonl").write_text(EVENTS)
    assert run("import", str(tmp_path / "films.csv"), "--domain", "film").status == 0
    assert run("import", str(tmp_path / "events.jsonl")).status == 0
    assert run("index").status == 0
    return run


def test_keys_are_made_shown_once_listed_and_revoked(run):
    made = run("keys", "add", "the shop", "--scope", "read", "--scope", "write", "--json").json
    assert made["scopes"] == ["read", "write"]
    secret = run("keys", "add", "phone", "--user", "ann").out.strip()
    assert secret.startswith("rapport_")
    listed = run("keys", "list", "--json")
    assert [one["name"] for one in listed.json] == ["the shop", "phone"]
    assert secret not in listed.out
    assert "the shop" in run("keys", "list").out
    assert run("keys", "revoke", made["id"]).status == 0
    assert run("keys", "revoke", made["id"]).status == 2
    assert "revoked" in run("keys", "list").out
    assert run("keys", "add", "x").status == 2
    assert run("keys", "add", "x", "--scope", "root").status == 2


@pytest.mark.parametrize("command", [["serve"], ["mcp", "--user", "ann"]])
def test_what_a_service_stands_on_is_named_when_it_is_missing(run, monkeypatch, command):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    done = run(*command)
    assert done.status == 1
    assert "pip install '.[serve]'" in " ".join(done.err.split())


def every_command() -> list[list[str]]:
    found, root = [], get_command(cli.app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found.append([name])
        found += [[name, inner] for inner in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("command", every_command(), ids=" ".join)
def test_every_command_says_what_it_does(run, command):
    done = run(*command, "--help")
    assert done.status == 0
    assert "Usage" in done.out
    assert done.err == ""


def test_the_version(run):
    assert run("--version").out.startswith("rapport ")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["profile", "nobody"], 2, "nobody is called 'nobody'"),
        (["recommend", "nobody"], 2, "nobody is called 'nobody'"),
        (["explain", "ann", "nothing"], 2, "no item has the id 'nothing'"),
        (["explain", "nobody", "f1"], 2, "nobody is called"),
        (["export", "nobody"], 2, "nobody is called"),
        (["forget", "nobody", "--yes"], 2, "nobody is called"),
        (["recommend", "ann", "--where", "colour=red"], 2, "no item has a field 'colour'"),
        (["recommend", "ann", "--where", "year"], 2, "is not a filter"),
        (["recommend", "ann", "--where", "year>=old"], 2, "holds numbers"),
        (["recommend", "ann", "-n", "0"], 2, "-n"),
        (["recommend", "ann", "-n", "many"], 2, "-n"),
        (["recommend", "ann", "--surprise", "2"], 2, "--surprise"),
        (["recommend", "ann", "--language", "fr"], 2, "--language"),
        (["recommend"], 2, "Missing argument"),
        (["recomend", "ann"], 2, "No such command"),
        (["profile", "ann", "--frobnicate"], 2, "No such option"),
        (["profile", "ann", "--remove", "Opera"], 2, "has no tag 'Opera'"),
        (["profile", "ann", "--undo", "Opera"], 2, "nothing was said about a tag 'Opera'"),
        (["profile", "ann", "--add", "<b>"], 2, "a tag has 1 to 48 plain characters"),
        (["import", "/nowhere/at/all"], 1, "does not exist"),
        (["import", ".", "--format", "xlsx"], 2, "no format 'xlsx'"),
        (["import", ".", "--map", "user"], 2, "--map takes name=column pairs"),
        (["import", ".", "--map", "user=,item=x"], 2, "--map takes name=column pairs"),
        (["prompts", "show", "nope"], 2, "no prompt is called 'nope'"),
        (["prompts", "show", "persona", "--version", "99"], 1, "has no version 99"),
        (["prompts", "show", "persona", "--language", "fr"], 2, "--language"),
        (["prompts", "render", "nope", "ann"], 2, "'nope' is not asked about a person"),
        (["prompts", "render", "persona", "nobody"], 2, "nobody is called"),
        (["models", "use", "gpt"], 1, "'gpt' names no language model"),
        (["recommend", "ann", "--llm", "gguf:/nowhere.gguf"], 1, "/nowhere.gguf"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_in_a_sentence_on_stderr(filled, arguments, status, message):
    done = filled(*arguments)
    assert (done.status, done.out) == (status, "")
    assert message in done.err


def test_an_empty_home_says_what_to_do(run):
    assert "rapport import" in run("profile", "ann").err
    assert run("recommend", "ann", "--new", "--json").json["items"] == []
    assert "the catalogue is empty" in run("recommend", "ann", "--new", "--where", "year>1").err
    assert run("index", "--json").json == {"added": 0, "changed": 0, "unchanged": 0, "removed": 0, "together": 0}


def test_a_setting_that_does_not_exist_is_named(run, home):
    home.mkdir()
    (home / "rapport.toml").write_text('colour = "red"\n')
    for command in (["profile", "ann"], ["doctor"], ["models", "list"]):
        done = run(*command)
        assert done.status == 1
        assert "there is no setting 'colour'" in done.err


def test_a_home_that_cannot_be_made(run, tmp_path):
    (tmp_path / "file").write_text("")
    for command in (["profile", "ann"], ["index"], ["models", "use", "none"]):
        done = run(*command, "--home", str(tmp_path / "file" / "home"))
        assert done.status == 1
        assert "cannot be" in done.err
    assert run("doctor", "--home", str(tmp_path / "file" / "home")).status == 0


def test_a_damaged_database(filled, home):
    (home / "rapport.db").write_bytes(b"this is no database" * 1000)
    for path in home.glob("rapport.db-*"):
        path.unlink()
    done = filled("recommend", "ann")
    assert done.status == 1
    assert "damaged" in done.err
    found = {one["what"]: one for one in filled("doctor", "--json").json}
    assert found["database"]["state"] == "missing"
    assert filled("doctor").status == 1


def test_an_index_of_another_embedder(filled, monkeypatch):
    from vectorstore.embed.hashing import HashingEmbedder

    monkeypatch.setattr("agent.wiring.open_embedder", lambda settings: HashingEmbedder(64))
    done = filled("index")
    assert done.status == 1
    assert "hashing-1-256" in done.err
    answer = filled("recommend", "ann", "--json")
    assert answer.json["degraded"]
    assert "hashing-1-256" in " ".join(answer.json["provenance"]["notes"])
    found = {one["what"]: one for one in filled("doctor", "--json").json}
    assert found["index"]["mend"] == "rapport index --rebuild"
    assert filled("index", "--rebuild").status == 0
    assert {one["what"]: one["state"] for one in filled("doctor", "--json").json}["index"] == "ok"


def test_a_file_that_cannot_be_read(run, tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 this is not a table")
    done = run("import", str(tmp_path / "x.parquet"))
    assert (done.status, done.out) == (1, "")
    assert "x.parquet" in done.err


def test_import_reports_and_importing_again_changes_nothing(run, tmp_path):
    (tmp_path / "films.csv").write_text(FILMS)
    first = run("import", str(tmp_path / "films.csv"), "--json")
    assert first.json["items"] == {"added": 30, "changed": 0, "unchanged": 0}
    assert run("import", str(tmp_path / "films.csv"), "--json").json["items"]["unchanged"] == 30
    assert "30" in run("import", str(tmp_path / "films.csv")).out


def test_a_dry_run_keeps_nothing(run, tmp_path, home):
    (tmp_path / "events.jsonl").write_text(EVENTS + '\n{"user": "", "item": "f1"}\n')
    done = run("import", str(tmp_path / "events.jsonl"), "--dry-run", "--json")
    assert done.json["events"]["added"] == 12
    assert done.json["refused"] == 1
    assert run("profile", "ann").status == 2
    assert not (home / "refused").exists()


def test_refused_rows_are_written_down(run, tmp_path, home):
    (tmp_path / "events.jsonl").write_text(EVENTS + '\n{"user": "", "item": "f1"}\n')
    done = run("import", str(tmp_path / "events.jsonl"))
    assert "1 rows refused" in done.out
    rows = [json.loads(line) for line in (home / "refused" / "events.jsonl.jsonl").read_text().splitlines()]
    assert [row["line"] for row in rows] == [13]


def test_profile_and_recommend_as_json_and_as_text(filled):
    profile = filled("profile", "ann", "--json")
    assert profile.json["tags"][0]["name"] == "Horror"
    assert profile.json["tags"][0]["receipts"][0]["quote"] in REVIEW
    answer = filled("recommend", "ann", "-n", "4", "--where", "year>=1955", "--words", "horror", "--json")
    assert [one["rank"] for one in answer.json["items"]] == [1, 2, 3, 4]
    text = filled("recommend", "ann", "-n", "4")
    assert "Horror Tale" in text.out
    assert "model none" in text.err
    assert "model none" not in text.out
    assert "likes" in filled("profile", "ann").out
    why = filled("explain", "ann", "f22")
    assert "close to" in why.out
    assert filled("explain", "ann", "f2", "--json").json["reason"].startswith("You gave it 1 star.")


def test_one_language_for_another(filled):
    assert re.search(
        "[\u4e00-\u9fff]",
        filled("recommend", "ann", "-n", "2", "--language", "zh", "--json").json["items"][0]["reason"],
    )


def test_a_new_person_is_welcome_when_asked_for(filled):
    answer = filled("recommend", "zoe", "--new", "-n", "3", "--json")
    assert len(answer.json["items"]) == 3
    assert "nobody by this name" in " ".join(answer.json["provenance"]["notes"])


def tag_names(run: Run) -> dict[str, dict]:
    return {tag["name"]: tag for tag in run("profile", "ann", "--rebuild", "--json").json["tags"]}


def test_what_a_person_says_of_their_tags_survives_a_rebuild(filled):
    assert filled("profile", "ann", "--add", "slow burning", "--add", "-romance", "--remove", "horror").status == 0
    tags = tag_names(filled)
    assert tags["slow burning"]["kind"] == "stated"
    assert tags["romance"]["polarity"] == -1
    assert "Horror" not in tags
    assert filled("profile", "ann", "--undo", "horror", "--undo", "slow burning").status == 0
    tags = tag_names(filled)
    assert "Horror" in tags
    assert "slow burning" not in tags


def test_doctor_looks_and_makes_nothing(run, home):
    done = run("doctor")
    assert done.status == 0
    assert "rapport import PATH" in done.out
    assert not home.exists()


def test_doctor_names_the_command_that_mends(run):
    done = run("doctor", "--llm", "gguf:/nowhere.gguf", "--json")
    assert done.status == 1
    broken = [one for one in done.json if one["state"] == "missing"]
    assert [one["what"] for one in broken] == ["language model"]
    assert broken[0]["mend"]


def test_doctor_sees_an_index_that_is_behind(filled, tmp_path):
    (tmp_path / "more.csv").write_text("item,title\nx1,One More\n")
    assert filled("import", str(tmp_path / "more.csv")).status == 0
    found = {one["what"]: one for one in filled("doctor", "--json").json}
    assert (found["index"]["state"], found["index"]["mend"]) == ("note", "rapport index")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_prompts_are_listed_and_shown(run, language):
    listed = run("prompts", "list", "--json").json
    names = {one["id"].partition(".")[0] for one in listed}
    assert names >= {"persona", "reason", "rerank", "rerank-order", "liking", "sentiment", "tags"}
    table = run("prompts", "list").out
    assert all(one["id"].split("@")[0] in table for one in listed)
    for name in names:
        assert "[[" in run("prompts", "show", name, "--language", language).out


@pytest.fixture
def sampled(run, home) -> Run:
    """The bundled sample, imported and indexed."""
    from agent import demo
    from agent.settings import Settings
    from agent.wiring import open_rapport

    with open_rapport(settings=Settings(home=home, llm="none", embedder="hashing")) as rapport:
        demo.prepare(rapport)
    return run


def test_prompts_are_rendered_for_a_real_person_without_a_model_and_without_a_trace(sampled, monkeypatch, home):
    def refuse(*_, **__):
        raise AssertionError("a model was opened")

    monkeypatch.setattr("agent.wiring.connect", refuse)
    before = snapshot(home)
    asked = ("persona", "reason", "rerank", "rerank-order", "liking", "sentiment", "tags")
    for name, user in [*((name, "mara") for name in asked), ("persona", "lin")]:
        done = sampled("prompts", "render", name, user)
        assert done.status == 0, name
        assert "--- system" in done.out
        assert "--- user" in done.out
        assert "{{" not in done.out
        if name.startswith("rerank"):
            assert "Liked lately" in done.out
    assert "Double Indemnity" in sampled("prompts", "render", "reason", "mara", "--item", "the-big-sleep-1946").out
    assert snapshot(home) == before


def snapshot(home: Path) -> dict[str, int]:
    import sqlite3

    connection = sqlite3.connect(home / "rapport.db")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    connection.close()
    return counts


def test_a_model_is_chosen_and_stays_chosen(run, home, monkeypatch):
    monkeypatch.delenv("RAPPORT_LLM")
    assert run("models", "list", "--json").json["in_use"] == "builtin"
    assert run("models", "use", "none").status == 0
    assert run("models", "list", "--json").json["in_use"] == "none"
    assert "in use: none" in run("models", "list").out
    assert run("models", "use", "gguf:/nowhere.gguf").status == 1
    assert run("models", "list", "--json").json["in_use"] == "none"


def test_logs_name_calls_and_hold_no_text(filled):
    filled("profile", "ann")
    calls = filled("logs", "--user", "ann", "--json").json
    assert {call["outcome"] for call in calls} == {"Unavailable"}
    assert {"persona"} <= {call["prompt"].partition(".")[0] for call in calls}
    assert "Unavailable" in filled("logs").out
    assert len(filled("logs", "--limit", "1", "--json").json) == 1


def test_export_is_everything_of_one_person(filled):
    filled("profile", "ann")
    data = filled("export", "ann").json
    assert len(data["events"]) == 8
    assert data["profiles"][0]["body"]["persona"]
    assert {row["user"] for row in data["events"]} == {"ann"}


def test_forgetting_is_total_and_proven(filled, home, tmp_path):
    (tmp_path / "bad.jsonl").write_text(
        '{"user": "ann", "item": "", "text": "private words of ann about nothing"}\n'
        '{"user": "joanna", "item": "", "text": "words of joanna about nothing"}\n'
    )
    filled("import", str(tmp_path / "bad.jsonl"), "--format", "jsonl")
    filled("profile", "ann", "--add", "slow burning terror of the night")
    filled("profile", "ben")
    before = filled("recommend", "ben", "-n", "3", "--json").json["items"]
    refused = home / "refused" / "bad.jsonl.jsonl"
    assert "private words of ann" in refused.read_text()
    proof = filled("forget", "ann", "--yes", "--json").json
    assert proof["rows"]["events"] == 8
    assert proof["found"] == 0
    assert proof["lines"] == 1
    assert "joanna" in refused.read_text()
    held = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"private words of ann" not in held
    assert b"slow burning terror" not in held
    assert REVIEW.encode() in held, "ben wrote the same words, and they are his"
    assert filled("profile", "ann").status == 2
    assert {one["item"] for one in filled("recommend", "ben", "-n", "3", "--json").json["items"]} == {
        one["item"] for one in before
    }


@pytest.mark.parametrize("answer", ["", "n\n", "\n"])
def test_forgetting_asks_first(filled, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    done = filled("forget", "ann")
    assert done.status == 1
    assert filled("profile", "ann").status == 0


def test_demo_shows_people_and_keeps_out_of_the_real_home(run, home, monkeypatch, tmp_path):
    monkeypatch.setenv("RAPPORT_DATABASE", f"sqlite:///{tmp_path}/real.db")
    done = run("demo", "--people", "1")
    assert done.status == 0
    assert "mara" in done.out
    assert "⤷" in done.out
    assert not home.exists()
    assert not (tmp_path / "real.db").exists()


def test_demo_does_not_mix_with_other_people(filled, home):
    done = filled("demo", "--people", "1", "--home", str(home))
    assert done.status == 2
    assert "a home of its own" in done.err


def test_stopped_by_the_keyboard(run, monkeypatch):
    def stop(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load", stop)
    done = run("profile", "ann")
    assert done.status == 130
    assert "stopped; what was done is kept" in done.err


# In a process of its own: what only a real pipe, a real signal and a real exit show.


def process(home: Path, *arguments: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "RAPPORT_HOME": str(home), "RAPPORT_LLM": "none", "RAPPORT_EMBEDDER": "hashing"}
    command = [sys.executable, "-m", "agent.cli", *arguments]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        **options,
    )


@pytest.mark.parametrize("arguments", [["prompts", "list", "--json"], ["prompts", "list"]])
def test_a_reader_that_has_read_enough_is_no_error(home, arguments):
    running = process(home, *arguments)
    assert running.stdout
    assert running.stderr
    running.stdout.close()
    message = running.stderr.read().decode()
    running.wait()
    running.stderr.close()
    assert message == ""


def test_a_real_interrupt_is_a_sentence(home):
    code = (
        "import agent.cli, agent.doctor, os, signal\n"
        "agent.doctor.examine = lambda _: os.kill(os.getpid(), signal.SIGINT)\n"
        "agent.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor"],
        env={**os.environ, "RAPPORT_HOME": str(home), "RAPPORT_LLM": "none"},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr.strip() == "stopped; what was done is kept"


def test_an_argument_that_is_no_text_is_an_error_without_a_traceback(home):
    running = process(home, "profile", os.fsdecode(b"\xff\xfe"))
    out, err = running.communicate()
    assert running.returncode in (1, 2)
    assert out == b""
    assert b"Traceback" not in err
