"""`rapport tag` in processes of its own that are killed with -9, and beside each other: nobody lost, nobody twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.agent.batch.conftest import PERSONA, names, rated

SCRIPT = """
import os, sys, time
from agent import cli
from agent.llm.scripted import Scripted
from agent.wiring import Rapport

log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
seconds, persona = float(sys.argv.pop(1)), sys.argv.pop(1)

def reply(chat):
    os.write(log, f"begin {os.getpid()}\\n".encode())
    time.sleep(seconds)
    os.write(log, f"end {os.getpid()}\\n".encode())
    return persona

cli.open_rapport = lambda settings: Rapport(settings, Scripted(reply, name="slow"))
cli.main()
"""
REAL = """
import os, sys
from agent import cli
from agent.llm.connect import connect
from agent.llm.wrapped import Wrapped
from agent.wiring import Rapport

log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

class Noted(Wrapped):
    def generate(self, chats, **how):
        os.write(log, f"begin {os.getpid()}\\n".encode())
        done = super().generate(chats, **how)
        os.write(log, f"end {os.getpid()}\\n".encode())
        return done

cli.open_rapport = lambda settings: Rapport(settings, Noted(connect("builtin", cache=settings.cache)))
cli.main()
"""


@dataclass
class Command:
    """The real command line on a model that writes down each call, in a process of its own."""

    home: Path
    log: Path
    seconds: float = 0.5
    """A call's, on the scripted model."""
    real: bool = False
    """On the built-in model."""

    def start(self, *options: str) -> subprocess.Popen[str]:
        script = [sys.executable, "-c", SCRIPT, str(self.log), str(self.seconds), PERSONA]
        if self.real:
            script = [sys.executable, "-c", REAL, str(self.log)]
        return subprocess.Popen(
            [*script, "tag", "--home", str(self.home), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "RAPPORT_LLM": "none", "RAPPORT_DOMAIN": "film"},
        )

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def in_flight(self, pid: int) -> int:
        """Calls that a process began and did not end."""
        counted = Counter(self.calls())
        return counted[f"begin {pid}"] - counted[f"end {pid}"]


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    return process.stderr.readline()


def finished(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.mark.parametrize(
    ("people", "kills", "workers"),
    [
        pytest.param(60, 5, 3, id="a few"),
        pytest.param(1000, 100, 4, id="a hundred", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
        pytest.param(150, 20, 1, id="one at a time", marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
def test_kills_lose_nobody_double_nobody_and_waste_a_call_for_each_one_in_flight(
    town, tmp_path, people, kills, workers
):
    rapport = town(people)
    command = Command(rapport.settings.home, tmp_path / "calls")
    dice, started, working = random.Random(7), [], 0
    for _ in range(kills):
        begun = time.monotonic()
        process = command.start("--workers", str(workers))
        line = first_line(process)
        started.append(time.monotonic() - begun)
        assert " people/s" in line, line + str(process.communicate())
        time.sleep(dice.uniform(0, 0.4))
        assert process.poll() is None, "there must be work left to kill"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        working += command.in_flight(process.pid) > 0
    command.seconds = 0.0
    done = finished(command.start("--json"))
    store = rapport.store
    versions = {user: [one.version for one in store.profile_history(user)] for user in store.users()}
    assert versions == {user: [1] for user in names(people)}
    assert {store.profile(user).persona for user in names(people)} == {PERSONA}
    assert (done["failed"], done["remaining"], done["people"]) == (0, 0, people)
    wasted = sum(call.startswith("begin") for call in command.calls()) - people
    sys.stdout.write(
        f"\n{kills} kills, {working} with calls in flight, {wasted} calls wasted; the first new persona came after "
        f"{max(started):.1f} s at most, {sorted(started)[kills // 2]:.1f} s usually\n"
    )
    assert working >= kills // 2, "a kill between two calls proves nothing"
    assert 0 < wasted <= kills * workers
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM answers").scalar() == 0
        assert list(connection.exec_driver_sql("SELECT DISTINCT state, owner FROM jobs")) == [("done", "")]


@pytest.mark.long
@pytest.mark.model
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [16, 1])
def test_kills_on_the_built_in_model(town, tmp_path, model_file, workers):
    """As above; the model's own process must not outlive the one that was killed."""
    rapport, people, kills = town(150), names(150), 6
    rapport.store.add_events(rated(user, f"f{7 * n % 40}", 4.0, 30 + n) for n, user in enumerate(people))
    command = Command(rapport.settings.home, tmp_path / "calls", real=True)
    dice, started = random.Random(3), []
    for _ in range(kills):
        begun = time.monotonic()
        process = command.start("--workers", str(workers))
        line = first_line(process)
        started.append(time.monotonic() - begun)
        assert " people/s" in line, line + str(process.communicate())
        time.sleep(dice.uniform(0, 0.4))
        children = children_of(process.pid)
        assert children, "the model has a process of its own"
        assert command.in_flight(process.pid), "a kill between two calls proves nothing"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        until = time.monotonic() + 60
        while any(Path(f"/proc/{child}").exists() for child in children):
            assert time.monotonic() < until, "the model's process outlived the one that it answered"
            time.sleep(0.1)
    done = finished(command.start("--json"))
    store = rapport.store
    assert [len(store.profile_history(user)) for user in people] == [1] * len(people)
    assert (done["failed"], done["remaining"], done["people"]) == (0, 0, len(people))
    calls = Counter(line.split()[0] for line in command.calls())
    sys.stdout.write(
        f"\n{kills} kills, {calls['begin'] - calls['end']} calls wasted; the first new persona came after "
        f"{max(started):.1f} s at most, {sorted(started)[kills // 2]:.1f} s usually\n"
    )
    assert calls["begin"] - calls["end"] <= kills * workers


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_processes_share_the_work_and_do_none_of_it_twice(town, tmp_path):
    rapport = town(60)
    command = Command(rapport.settings.home, tmp_path / "calls", seconds=0.3)
    both = [command.start("--workers", "2", "--json") for _ in range(2)]
    reports = [finished(process) for process in both]
    assert sum(report["tagged"] for report in reports) == 60
    assert all(report["remaining"] == report["failed"] == 0 for report in reports)
    assert sum(call.startswith("begin") for call in command.calls()) == 60
    assert [len(rapport.store.profile_history(user)) for user in names(60)] == [1] * 60
    assert min(report["tagged"] for report in reports) > 0, "one of them did it all: nothing was shared"


@pytest.mark.long
def test_a_process_takes_over_from_one_that_is_killed_beside_it(town, tmp_path):
    rapport = town(30)
    command = Command(rapport.settings.home, tmp_path / "calls", seconds=0.3)
    killed, survivor = command.start("--workers", "2"), command.start("--workers", "2", "--json")
    first_line(killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    report = finished(survivor)
    assert (report["remaining"], report["failed"]) == (0, 0)
    assert [len(rapport.store.profile_history(user)) for user in names(30)] == [1] * 30


@pytest.mark.long
def test_whoever_kills_the_process_each_time_fails_and_the_others_are_tagged(town, tmp_path):
    """The first losses are nobody's fault; the last ones happen when this person is worked on alone."""
    from agent.types import TagEdit

    rapport = town(3)
    rapport.store.add_edit(TagEdit("u0001", "Deadly Reel", "", "add"))
    deadly = SCRIPT.replace(
        "def reply(chat):", "def reply(chat):\n    if 'Deadly Reel' in chat[-1].content: os.kill(os.getpid(), 9)"
    )
    script = [sys.executable, "-c", deadly, str(tmp_path / "calls"), "0", PERSONA, "tag", "--json"]
    environment = {**os.environ, "RAPPORT_LLM": "none", "RAPPORT_DOMAIN": "film"}
    deaths = 0
    while True:
        done = subprocess.run(
            [*script, "--home", str(rapport.settings.home)], capture_output=True, text=True, env=environment
        )
        if done.returncode != -signal.SIGKILL:
            break
        deaths += 1
    assert done.returncode == 0, done.stderr
    assert deaths == 6
    report = json.loads(done.stdout)
    assert report["reasons"] == {"ProcessLost": 1}
    assert [len(rapport.store.profile_history(user)) for user in names(3)] == [1, 0, 1]


def test_ctrl_c_says_what_is_kept_and_the_next_run_goes_on(town, tmp_path):
    rapport = town(40)
    command = Command(rapport.settings.home, tmp_path / "calls", seconds=0.1)
    process = command.start("--workers", "2")
    first_line(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; what was done is kept" in err
    assert "Traceback" not in err
    with rapport.store.reading() as connection:
        states = Counter(connection.exec_driver_sql("SELECT state FROM jobs").scalars())
        assert set(connection.exec_driver_sql("SELECT losses FROM jobs").scalars()) == {0}
    assert set(states) == {"done", "waiting"}
    report = finished(command.start("--json"))
    assert report["tagged"] + report["unchanged"] == 40
    assert report["tagged"] == states["waiting"]
