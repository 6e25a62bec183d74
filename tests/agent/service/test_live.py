"""A real server on loopback: callers who vanish, models that are slow, and stopping."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from agent import sample
from agent.errors import SetupError
from agent.llm.scripted import Scripted
from agent.service import run
from agent.service.config import Config
from agent.settings import Settings


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)


def begun(port: int, request: str) -> socket.socket:
    """A connection on which a request was sent, and nothing read."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(request.encode())
    return sock


GET = "GET /api/people/{} HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_who_vanishes_frees_the_model_and_nothing_is_written_down_for_them(live):
    asked, calls = threading.Event(), []

    def slow(chat) -> str:
        calls.append(1)
        asked.set()
        time.sleep(0.3)
        return "never good enough"

    service = live(Scripted(slow), threads=2)
    sock = begun(service.port, GET.format("mara/profile"))
    assert asked.wait(20)
    sock.close()
    until(lambda: service.desk.pool.busy == 0)
    after = len(calls)
    time.sleep(0.5)
    assert len(calls) == after <= 2, "the model went on for nobody"
    assert service.desk.rapport.store.profile("mara") is None, "no template stands in for a caller who has gone"
    assert requests.get(f"{service.url}/api/people/mara/profile", timeout=60).status_code == 200


def test_many_who_vanish_leave_nothing_behind(live):
    service = live(Scripted(lambda chat: time.sleep(0.01) or "x"), threads=4, rate=10**9)
    requests.get(f"{service.url}/api/people/mara/profile", timeout=60)
    people = list(sample.PEOPLE)
    for n in range(60):
        sock = begun(service.port, GET.format(f"{people[n % 12]}/recommendations?n=3"))
        if n % 3:
            time.sleep(0.004 * (n % 7))
        sock.close()
    until(lambda: service.desk.pool.busy == 0)
    until(lambda: not service.server.server_state.connections)
    assert len([one for one in threading.enumerate() if one.name.startswith("rapport")]) <= 4
    assert service.desk.rapport.store._database.reader.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert not service.desk.people._present
    assert requests.get(f"{service.url}/api/people/piet/recommendations", timeout=60).status_code == 200


def test_a_model_that_never_answers_costs_time_and_no_answer(live):
    """It is asked for three quarters of the time; then templates answer, and say so."""
    service = live(Scripted(lambda chat: time.sleep(0.4) or "x"), patience_s=4.0)
    began = time.monotonic()
    said = requests.get(f"{service.url}/api/people/mara/recommendations?n=3", timeout=60)
    assert said.status_code in (200, 504)
    assert time.monotonic() - began < 4.0 + 5.0
    until(lambda: service.desk.pool.busy == 0)
    said = requests.get(f"{service.url}/api/people/mara/recommendations?n=3", timeout=60).json()
    assert len(said["items"]) == 3


def test_more_than_can_wait_are_told_at_once_and_the_rest_are_answered(live):
    go = threading.Event()
    service = live(Scripted(lambda chat: go.wait(20) and "x"), threads=1, waiting=1)
    waiting = [begun(service.port, GET.format(f"{user}/profile")) for user in ("mara", "piet")]
    until(lambda: service.desk.pool.busy == 2)
    said = requests.get(f"{service.url}/api/people/otis/profile", timeout=20)
    assert (said.status_code, said.json()["type"]) == (429, "urn:rapport:overloaded")
    assert int(said.headers["retry-after"]) >= 1
    assert requests.get(f"{service.url}/health", timeout=20).status_code == 200
    go.set()
    for sock in waiting:
        sock.settimeout(60)
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        sock.close()


def test_a_bulk_that_breaks_off_keeps_what_came_and_can_be_sent_again(live, monkeypatch):
    from agent.service import events

    monkeypatch.setattr(events, "BATCH", 10)
    service = live()
    rows = [
        json.dumps({"user": "bulk", "item": "ran-1985", "kind": "view", "at": 1_600_000_000 + n}) for n in range(50)
    ]
    body = "\n".join(rows)
    head = f"POST /api/events/bulk HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    sock = begun(service.port, head + "\n".join(rows[:25]))
    store = service.desk.rapport.store
    until(lambda: len(store.events("bulk")) == 20)
    sock.close()
    until(lambda: service.desk.pool.busy == 0)
    said = requests.post(f"{service.url}/api/events/bulk", data=body, timeout=60).json()
    assert (said["added"], said["unchanged"]) == (30, 20)


def test_a_large_bulk_is_never_held_together(live):
    service = live()
    row = json.dumps({"user": "bulk", "item": "ran-1985", "kind": "view", "at": 1_600_000_000, "text": "x" * 900})

    def parts():
        for _ in range(200):
            yield (row + "\n").encode() * 100

    said = requests.post(f"{service.url}/api/events/bulk", data=parts(), timeout=120).json()
    assert (said["lines"], said["added"], said["unchanged"]) == (20_000, 1, 19_999)


# the process


@pytest.fixture
def home(tmp_path, shop) -> Path:
    shop(sample.films(), sample.events(), index=False, name="served").close()
    return tmp_path / "served"


def started(home: Path, *more: str) -> tuple[subprocess.Popen[str], str]:
    """The command, and the address that it says it listens on."""
    command = [sys.executable, "-m", "agent.cli", "serve", "--home", str(home), "--llm", "none", "--port", "0", *more]
    env = os.environ | {"RAPPORT_EMBEDDER": "hashing"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if "listening on " in line:
            return process, line.partition("listening on ")[2].split()[0]
    raise AssertionError(said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_it_ends_well(home, number):
    process, url = started(home)
    try:
        assert requests.get(f"{url}/api/people/mara/profile", timeout=60).json()["user"] == "mara"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert out == ""
    assert "Traceback" not in err
    assert not (home / "rapport.db-wal").exists(), "the database was closed"


def refused(home: Path, *more: str) -> str:
    command = [sys.executable, "-m", "agent.cli", "serve", "--home", str(home), "--llm", "none", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_nobody_else_can_reach_it_without_a_key(home):
    assert "rapport keys add" in " ".join(refused(home, "--host", "0.0.0.0").split())


def test_an_address_that_is_taken_is_said(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot listen on" in refused(home, "--port", str(taken.getsockname()[1]))


def test_an_address_that_cannot_be_had():
    with pytest.raises(SetupError, match="cannot listen"):
        run.listening(Config("203.0.113.1", 0))


def test_a_model_that_is_none_is_said_before_anything_is_opened(tmp_path):
    with pytest.raises(SetupError):
        run.serve(Settings(home=tmp_path / "home", llm="gguf:/nowhere"), Config(port=0), lambda line: None)
