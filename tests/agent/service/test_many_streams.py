"""Many who talk at once and many who leave: nothing leaks, and nobody sees a word of another."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from agent.llm.base import Chat
from agent.llm.scripted import Scripted

MESSAGES = ("a comedy", "I loved Heat", "something like Alien", "why 1?", "ships and storms at night", "hello")


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)


def asked(path: str, body: dict) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def nothing_is_left(service, threads: int) -> None:
    until(lambda: service.desk.pool.busy == 0)
    until(lambda: not service.server.server_state.connections)
    assert len([one for one in threading.enumerate() if one.name.startswith("rapport")]) <= threads
    assert service.desk.rapport.store._database.reader.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert not service.desk.people._present
    assert not service.desk.pool._cancels


def dropped(service, streams: int, threads: int) -> None:
    """So many streams, each dropped at a byte or a moment of its own."""
    rng = random.Random(7)
    cut = 0
    for number in range(streams):
        user, text = f"someone-{number % 9}", rng.choice(MESSAGES)
        openai = number % 2
        body = {"text": text, "conversation": "c"} if not openai else {
            "messages": [{"role": "user", "content": text}], "stream": True, "user": user
        }  # fmt: skip
        sock = socket.create_connection(("127.0.0.1", service.port))
        sock.sendall(asked("/v1/chat/completions" if openai else f"/api/people/{user}/chat", body))
        if number % 5:
            sock.settimeout(60)
            left = rng.choice([1, 20, 300, 500, 900, 2000, 5000])
            while left > 0 and (read := sock.recv(min(left, 100))):
                left -= len(read)
                if b"0\r\n\r\n" in read:
                    break
            cut += left <= 0
        else:
            time.sleep(rng.random() * 0.01)
            cut += 1
        sock.close()
    nothing_is_left(service, threads)
    assert cut > streams / 3, "most were dropped before their end"
    turns = list(service.desk.rapport.chat.memory.rows.everybody())
    endings = {json.loads(one.body)["ended"] for one in turns}
    assert endings <= {"done", "aborted"}
    said = requests.post(f"{service.url}/api/people/mara/chat", json={"text": "a comedy"}, timeout=120)
    assert "event: done" in said.text


def slow(seconds: float) -> Scripted:
    return Scripted(lambda chat: time.sleep(seconds) or "never good enough")


def test_streams_that_are_dropped_leave_nothing_behind(live):
    dropped(live(slow(0.002), threads=4, waiting=1000, rate=10**9), 40, 4)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_five_hundred_streams_that_are_dropped_leave_nothing_behind(live):
    dropped(live(slow(0.01), threads=4, waiting=1000, rate=10**9), 500, 4)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_streams_that_are_dropped_leave_every_place_in_a_real_model_s_cache_free(live, model_file):
    from agent.llm.llamacpp import LlamaCpp
    from agent.llm.scheduler import KEPT, RUNNING

    model = LlamaCpp(model_file)
    try:
        dropped(live(model, threads=4, waiting=1000, rate=10**9), 60, 4)
        assert model.usage().sampled_tokens > 60, "the model was really asked"
        for lane in model._lanes._lanes:
            until(lambda lane=lane: sorted(lane._free) == list(range(KEPT, KEPT + RUNNING)))
            assert (lane._runs, list(lane._interactive), list(lane._background)) == ([], [], [])
    finally:
        model.close()


def storm(live, people: int, rounds: int) -> None:
    """Everybody talks of a word of their own at once; a third leaves before the end."""

    def parrot(chat: Chat) -> str:
        # The worst wording there could be: whatever it reads, it says.
        return " ".join(one.content for one in chat)[:400]

    service = live(Scripted(parrot), threads=8, waiting=1000, rate=10**9, patience_s=300.0)
    words = {f"person-{number}": f"canaryword{number:03d}x" for number in range(people)}
    mark = re.compile(r"canaryword\d+x")
    cancelled: list[str] = []

    def talk(user: str) -> list[str]:
        number = int(user.rpartition("-")[2])
        heard = []
        for turn in range(number * rounds, (number + 1) * rounds):
            body = {"text": f"something about {words[user]} please", "conversation": f"only {words[user]}"}
            url = f"{service.url}/api/people/{user}/chat"
            with requests.post(url, json=body, stream=True, timeout=300) as said:
                assert said.status_code == 200
                if turn % 10 < 3:
                    heard.append(next(said.iter_content(64), b"").decode("utf-8", "replace"))
                    cancelled.append(user)
                else:
                    heard.append(said.text)
                    assert "event: done" in heard[-1]
        return heard

    with ThreadPoolExecutor(people) as pool:
        for user, heard in zip(words, pool.map(talk, words), strict=True):
            assert {one for text in heard for one in mark.findall(text)} <= {words[user]}
            own = [one for one in heard if words[user] in one]
            assert own or user in cancelled
    nothing_is_left(service, 8)
    assert len(cancelled) >= 0.3 * people * rounds, "they really left"
    for turn in service.desk.rapport.chat.memory.rows.everybody():
        assert set(mark.findall(turn.text + turn.body)) <= {words[turn.user]}
    for user, word in words.items():
        wishes = service.desk.rapport.chat.wishes(user)
        assert {one for wish in wishes for one in mark.findall(wish.text + wish.quote)} <= {word}


def test_twelve_people_at_once_hear_their_own_words_only(live):
    storm(live, 12, 1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_sixty_four_people_at_once_hear_their_own_words_only(live):
    storm(live, 64, 5)
