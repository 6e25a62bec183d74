"""Tagging by batch files, against a provider on loopback that has files and batches and fails in scripted ways.

Its log is the proof of what was submitted. Personas are compared with those of a direct run with the same answers.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from email.parser import BytesParser
from email.policy import HTTP
from functools import cache
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from agent.batch import batchfile, rounds
from agent.batch.batchfile import Collector, Deferring, Outbox, read_lines, request_line
from agent.batch.budget import Budget, Limits, Price
from agent.batch.journal import Journal
from agent.batch.provider import Provider
from agent.batch.report import Report
from agent.batch.rounds import tag_by_batches, tag_by_files
from agent.batch.runner import Order, tag
from agent.errors import CallRefused, Deferred, Refused, SetupError, StoreBusy, UsageError
from agent.history.store import Store
from agent.llm import openai_wire as wire
from agent.llm.base import Message
from agent.llm.openai import OpenAI
from agent.sample import events, films
from agent.settings import Settings
from agent.types import Profile
from agent.wiring import Rapport
from vectorstore.embed.hashing import HashingEmbedder
from vectorstore.exact import ExactStore

# -- the provider

Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""The body of a request for a completion -> the line's `response` and `error`, without ids."""


def says(text: str, finish: str = "stop", prompt: int = 11, answer: int = 7, **choice: Any) -> dict[str, Any]:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish, **choice}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": answer},
    }
    return {"response": {"status_code": 200, "request_id": "r", "body": body}, "error": None}


def refuses(status: int, message: str = "no", **error: Any) -> dict[str, Any]:
    body = {"error": {"message": message, "type": "x", "param": None, "code": None, **error}}
    return {"response": {"status_code": status, "request_id": "r", "body": body}, "error": None}


EXPIRED = {"response": None, "error": {"code": "batch_expired", "message": "This request could not be executed."}}


class FakeProvider:
    """`answer` answers every line of a batch, and every direct question. A batch is done when it is first looked at
    `slowness` times. `shape(output, errors)` may rearrange or damage the finished files; `fail` is asked before every
    request with its method and path, and may return a status to answer with."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.slowness = 1
        self.shape: Callable[[list[bytes], list[bytes]], tuple[list[bytes], list[bytes]]] = lambda good, bad: (
            good,
            bad,
        )
        self.ends: Callable[[int], str] = lambda number: "completed"
        """How the batch of that number (from 0) ends."""
        self.fail: Callable[[str, str], int | None] = lambda method, path: None
        self.files: dict[str, dict[str, Any]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[str, str]] = []
        self.asked: list[str] = []
        """custom_id of every line of every batch that was begun."""
        self._lock = threading.RLock()
        handler = type("Handler", (Handler,), {"provider": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # what is asked over HTTP

    def handle(self, method: str, path: str, query: dict[str, list[str]], raw: bytes, kind: str) -> tuple[int, Any]:
        with self._lock:
            self.log.append((method, path))
            status = self.fail(method, path)
            if status is not None:
                return status, {"error": {"message": f"scripted {status}", "type": "x", "code": None, "param": None}}
            parts = path.removeprefix("/v1/").split("/")
            match method, parts:
                case "POST", ["chat", "completions"]:
                    line = self.answer(json.loads(raw))
                    return line["response"]["status_code"], line["response"]["body"]
                case "POST", ["files"]:
                    return 200, self._upload(raw, kind)
                case "GET", ["files"]:
                    return 200, page([public(one) for one in self.files.values()], query)
                case "GET", ["files", id, "content"] if id in self.files:
                    return 200, self.files[id]["content"]
                case "DELETE", ["files", id] if id in self.files:
                    del self.files[id]
                    return 200, {"id": id, "object": "file", "deleted": True}
                case "POST", ["batches"]:
                    return 200, self._begin(json.loads(raw))
                case "GET", ["batches"]:
                    return 200, page([public(one) for one in self.batches.values()], query)
                case "GET", ["batches", id] if id in self.batches:
                    return 200, public(self._look(id))
            return 404, {"error": {"message": f"no {path}", "type": "x", "code": None, "param": None}}

    def _upload(self, raw: bytes, kind: str) -> dict[str, Any]:
        message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + raw)
        parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
        assert parts["purpose"].get_payload(decode=True) == b"batch"
        return public(self._file(parts["file"].get_filename(), parts["file"].get_payload(decode=True)))

    def _file(self, name: str, content: bytes) -> dict[str, Any]:
        id = f"file-{len(self.log)}-{len(self.files)}"
        self.files[id] = {
            "id": id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": "batch",
            "status": "processed",
            "content": content,
        }
        return self.files[id]

    def _begin(self, wanted: dict[str, Any]) -> dict[str, Any]:
        lines = [json.loads(line) for line in self.files[wanted["input_file_id"]]["content"].splitlines()]
        ids = [line["custom_id"] for line in lines]
        assert len(set(ids)) == len(ids) <= 50_000
        assert all(line["method"] == "POST" and line["url"] == wanted["endpoint"] for line in lines)
        self.asked += ids
        number = len(self.batches)
        batch = {
            "id": f"batch_{number}",
            "object": "batch",
            "endpoint": wanted["endpoint"],
            "completion_window": wanted["completion_window"],
            "input_file_id": wanted["input_file_id"],
            "metadata": wanted.get("metadata"),
            "created_at": int(time.time()),
            "status": "validating",
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
            "lines": lines,
            "looks": self.slowness,
            "number": number,
        }
        self.batches[batch["id"]] = batch
        return public(batch)

    def _look(self, id: str) -> dict[str, Any]:
        batch = self.batches[id]
        batch["looks"] -= 1
        if batch["looks"] <= 0 and batch["status"] in ("validating", "in_progress"):
            self._end(batch)
        elif batch["status"] == "validating":
            batch["status"] = "in_progress"
        return batch

    def _end(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.ends(batch["number"])
        if batch["status"] == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": "token_limit_exceeded", "message": "too much"}]}
            return
        good, bad = [], []
        for number, line in enumerate(batch["lines"]):
            told = {"id": f"req_{number}", "custom_id": line["custom_id"], **self.answer(line["body"])}
            fine = told["response"] and told["response"]["status_code"] == 200
            (good if fine else bad).append(json.dumps(told, ensure_ascii=False).encode() + b"\n")
        good, bad = self.shape(good, bad)
        if good:
            batch["output_file_id"] = self._file("output.jsonl", b"".join(good))["id"]
        if bad:
            batch["error_file_id"] = self._file("errors.jsonl", b"".join(bad))["id"]
        batch["request_counts"] |= {"completed": len(good), "failed": len(bad)}


HIDDEN = {"content", "lines", "looks", "number"}


def public(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name not in HIDDEN}


def page(found: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
    """Newest first, two at a time, so that whoever looks has to turn pages."""
    newest = found[::-1]
    ids = [one["id"] for one in newest]
    after = query.get("after", [""])[0]
    start = ids.index(after) + 1 if after in ids else 0
    data = newest[start : start + 2]
    return {"object": "list", "data": data, "has_more": start + 2 < len(newest)}


class Handler(BaseHTTPRequestHandler):
    provider: FakeProvider
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding") == "chunked":
            raw = self._chunks()
        status, body = self.provider.handle(
            self.command, url.path, parse_qs(url.query), raw, self.headers.get("content-type", "")
        )
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def _chunks(self) -> bytes:
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    do_GET = do_POST = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the provider keeps its own log."""


# -- what its model says


def number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")


def model(body: dict[str, Any]) -> dict[str, Any]:
    """The same answer to the same question, however it is asked; now and then one that has to be asked again."""
    said = body["messages"][-1]["content"]
    if body.get("logprobs"):
        top = [{"token": word, "logprob": -(number(said + word) % 90) / 10} for word in ("positive", "neutral", "neg")]
        return says("x", "length", logprobs={"content": [{"top_logprobs": top}]})
    if "response_format" in body and body["messages"][-2]["role"] == "assistant":
        return says('{"tags": []}')
    if "response_format" in body:
        if number(said) % 3 == 0:
            return says("Sure!")
        lines = re.findall(r"^\[(\d+)\] (?:likes|dislikes|喜欢|不喜欢) ?(.+?): ", said, re.MULTILINE)
        return says(json.dumps({"tags": [{"evidence": int(one), "name": name} for one, name in lines]}))
    likes = re.search(r"^(?:likes |喜欢)(.+)$", said, re.MULTILINE)
    if likes is None or (body["seed"] == 0 and number(said) % 2):
        return says("No.")
    return says(f"A fan of {likes[1]}." if said.startswith("Facts") else f"喜欢{likes[1]}。")


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    opened = FakeProvider(model)
    yield opened
    opened.close()


FEW = ("lin", "otis")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...], Path], None]:
    """Lays a home with the sample's films and some of its people."""
    made: dict[tuple[str, ...], Path] = {}

    def lay(people: tuple[str, ...], home: Path) -> None:
        if people not in made:
            made[people] = tmp_path_factory.mktemp("filled")
            with Rapport(Settings(home=made[people], llm="none", embedder="hashing", domain="film")) as rapport:
                rapport.store.add_items(films())
                rapport.store.add_events([one for one in events() if one.user in people])
                assert rapport.background
        shutil.copytree(made[people], home)

    return lay


@contextmanager
def opened(home: Path, spec: str) -> Iterator[Rapport]:
    chosen = Settings(home=home, llm=spec, embedder="hashing", domain="film", timeout_s=5)
    with Rapport(chosen) as rapport:
        rapport.__dict__["index"] = ExactStore(HashingEmbedder().dimension)  # spares Chroma's start
        yield rapport


@pytest.fixture
def homes(tmp_path: Path, provider: FakeProvider, filled) -> Iterator[Callable[..., Rapport]]:
    """Opens a home with the sample in it, and the provider's model."""
    with ExitStack() as stack:

        def open_home(name: str = "home", people: tuple[str, ...] = FEW, spec: str | None = None) -> Rapport:
            if not (tmp_path / name).exists():
                filled(people, tmp_path / name)
            return stack.enter_context(opened(tmp_path / name, spec or f"openai:{provider.url}#m"))

        yield open_home


def written(rapport: Rapport) -> dict[str, Profile]:
    """Everybody's profile without what differs between two ways to the same answers: the time it took."""
    found = {user: rapport.store.profile(user) for user in rapport.store.users()}
    return {
        user: replace(one, provenance=replace(one.provenance, ms=0.0)) for user, one in found.items() if one is not None
    }


@dataclass
class Direct:
    """What direct calls to the same model make of some people, and how many calls that takes."""

    profiles: dict[str, Profile]
    calls: int


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory, filled) -> Callable[..., Direct]:
    @cache
    def run(people: tuple[str, ...] = FEW) -> Direct:
        provider = FakeProvider(model)
        home = tmp_path_factory.mktemp("direct") / "home"
        filled(people, home)
        with opened(home, f"openai:{provider.url}#m") as rapport:
            assert tag(rapport, Order(workers=4)).failures == ()
            profiles = written(rapport)
        provider.close()
        return Direct(profiles, len(provider.log))

    return run


def batched(rapport: Rapport, **order: Any) -> Report:
    return tag_by_batches(rapport, Order(workers=2, **order), poll_s=0.0)


# -- the whole way


def test_the_samples_people_get_the_same_profiles_as_by_direct_calls(homes, direct, provider):
    people = tuple(sorted({one.user for one in events()}))
    expected, calls = direct(people).profiles, direct(people).calls
    rapport = homes(people=people)
    report = batched(rapport)
    assert (report.people, report.tagged, report.remaining, report.failures) == (12, 12, 0, ())
    assert report.stopped == ""
    assert written(rapport) == expected
    assert sum(one.persona_by == "model" for one in expected.values()) > 8
    # Several rounds, none of them asking anything twice, and the same sentence of two people once.
    assert 3 <= len(provider.batches) <= 8
    assert max(Counter(provider.asked).values()) == 1
    assert len(provider.asked) < calls
    assert not [entry for entry in provider.log if entry[1].endswith("completions")]
    # Every answer is in the log of calls once, whatever the number of rounds; the sentences of a review are one call.
    logged = Counter((call.prompt, call.user) for call in rapport.store.calls(1000))
    assert max(count for (prompt, _), count in logged.items() if prompt.startswith("sentiment")) == 1
    assert sum(count for (prompt, _), count in logged.items() if prompt.startswith("persona")) < 30
    # Nothing of anybody stays there, or in the journal.
    assert provider.files == {}
    assert [rapport.store.export_user(user).get("answers", []) for user in people] == [[]] * 12


def test_the_second_run_has_nothing_to_do(homes, provider):
    rapport = homes()
    batched(rapport)
    sent = len(provider.log)
    report = batched(rapport)
    assert (report.tagged, report.unchanged) == (0, 2)
    assert len(provider.log) == sent


def test_a_request_is_what_the_direct_model_would_send(provider, tmp_path):
    """Compared on the wire, in every form that a profile uses."""
    sent = []
    provider.answer = lambda body: sent.append(body) or model(body)
    chat = [Message("system", "s"), Message("user", "likes crime \ud800")]
    schema = {"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}}}
    llm = OpenAI("m", provider.url)
    outbox = Outbox(Budget())
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        twin = Deferring("m", llm.context, True, store, "ann", outbox, set())
        for one in (llm, twin):
            for ask in (
                lambda one=one: one.generate([chat], max_tokens=90, temperature=0.7, seed=2),
                lambda one=one: one.generate([chat], schema=schema, max_tokens=600),
                lambda one=one: one.choose([chat], ["positive", "neutral", "negative"]),
            ):
                try:
                    ask()
                except Deferred:
                    assert one is twin
    outbox.parts[0].file.seek(0)
    lines = [json.loads(line) for line in outbox.parts[0].file]
    assert [line["body"] for line in lines] == sent
    assert len(sent) == 3
    assert {tuple(line) for line in lines} == {("custom_id", "method", "url", "body")}
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    llm.close()
    outbox.close()


def test_openais_own_models_are_asked_in_their_newest_dialect(homes, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    rapport = homes(spec="openai:gpt-x")
    file = rapport.settings.home / "requests.jsonl"
    tag_by_files(rapport, Order(users=["lin"]), write=file)
    bodies = [json.loads(line)["body"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert all("max_tokens" not in body and body["max_completion_tokens"] for body in bodies)


# -- kills


class Killed(BaseException):
    """The process ends here."""


STEPS = [
    (rounds.Ledger, "keep"),
    (Provider, "upload"),
    (Provider, "create"),
    (Provider, "status"),
    (Provider, "delete"),
    (Provider, "find"),
    (Provider, "uploads"),
    (Collector, "take"),
    (Store, "keep_answers"),
]
"""All that changes something there or here, and what is done between."""


def deadly(monkeypatch: pytest.MonkeyPatch, dies: Callable[[str, int], bool]) -> None:
    """Ends the process right before or right after the steps for which `dies(name and side, how often so far)`."""
    counts: Counter[str] = Counter()

    def step(name: str) -> None:
        counts[name] += 1
        if dies(name, counts[name]):
            raise Killed

    for owner, method in STEPS:
        real = getattr(owner, method)

        def dangerous(*args, real=real, name=f"{owner.__name__}.{method}"):
            step(f"before {name}")
            done = real(*args)
            step(f"after {name}")
            return done

        monkeypatch.setattr(owner, method, dangerous)


def usual(side: str, method: str, nth: int) -> bool:
    """Whether this kill is tried in every run of the tests: the others are their neighbours."""
    return nth == 1 and (side == "before" or method in ("create", "upload"))


KILLS = [
    pytest.param(f"{side} {owner.__name__}.{method}", nth, marks=[] if usual(side, method, nth) else [pytest.mark.long])
    for owner, method in STEPS
    if method not in ("find", "uploads")
    for side in ("before", "after")
    for nth in (1, 2)
]


@pytest.mark.parametrize(("where", "nth"), KILLS)
def test_a_killed_process_submits_nothing_twice_and_loses_nothing(homes, direct, provider, monkeypatch, where, nth):
    expected = direct(("otis",)).profiles
    died = []

    def dies(name: str, times: int) -> bool:
        if not died and (name, times) == (where, nth):
            died.append(name)
            return True
        return False

    deadly(monkeypatch, dies)
    with pytest.raises(Killed):
        batched(homes(people=("otis",)))
    rapport = homes()
    report = batched(rapport)
    assert died
    assert written(rapport) == expected
    assert report.remaining == 0
    assert max(Counter(provider.asked).values()) == 1
    assert provider.files == {}


@pytest.mark.long
def test_killed_at_every_step_one_after_the_other(homes, direct, provider, monkeypatch):
    """A process that gets one step further each time comes to its end, and has asked everything once."""
    expected = direct().profiles
    alive = 0
    steps = count()
    deadly(monkeypatch, lambda name, times: next(steps) >= alive)
    for alive in range(3, 4000):  # noqa: B007 - the closure above reads it
        steps = count()
        try:
            batched(homes())
        except Killed:
            continue
        break
    assert alive > 10
    assert written(homes()) == expected
    assert max(Counter(provider.asked).values()) == 1
    assert provider.files == {}


def test_a_batch_whose_creation_was_not_heard_of_is_found_again(homes, direct, provider):
    """The provider began the batch, and its answer was lost."""
    expected = direct().profiles
    lost = []

    def fail(method: str, path: str) -> int | None:
        if (method, path) == ("POST", "/v1/batches") and not lost:
            file = next(iter(provider.files.values()))
            name = file["filename"].removesuffix(".jsonl")
            provider._begin(
                {
                    "input_file_id": file["id"],
                    "endpoint": "/v1/chat/completions",
                    "completion_window": "24h",
                    "metadata": {"rapport": name},
                }
            )
            lost.append(name)
            return 500
        return None

    provider.fail = fail
    rapport = homes()
    batched(rapport)
    assert lost
    assert written(rapport) == expected
    assert max(Counter(provider.asked).values()) == 1


def test_batches_in_flight_are_collected_for_all_whom_they_are_about(homes, provider, monkeypatch):
    """The next command may mean other people; what was paid for is kept all the same."""
    deadly(monkeypatch, lambda name, times: name == "before Provider.status")
    with pytest.raises(Killed):
        batched(homes())
    monkeypatch.undo()
    first = set(provider.asked)
    assert batched(homes(), users=["lin"]).unchanged >= 0
    batched(homes())
    assert len(provider.batches) > 2
    assert first
    assert max(Counter(provider.asked).values()) == 1


def test_somebody_forgotten_meanwhile_is_not_written_down_again(homes, provider):
    rapport = homes()
    forgotten = []

    def fail(method: str, path: str) -> None:
        if method == "GET" and path.startswith("/v1/batches/") and not forgotten:
            forgotten.append(rapport.forget("otis"))

    provider.fail = fail
    report = batched(rapport)
    assert forgotten
    assert sorted(written(rapport)) == ["lin"]
    assert not rapport.store.has_user("otis")
    assert rapport.store.answer("otis", next(iter(provider.asked))) is None
    assert all(rapport.store.answer("otis", one) is None for one in provider.asked)
    assert report.remaining == 0


def test_two_processes_do_not_ask_the_same(homes, provider):
    with rounds._alone(homes()), pytest.raises(StoreBusy, match="another process"):
        batched(homes())
    assert provider.log == []


# -- what a provider may do


def shuffled(good: list[bytes], bad: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    return sorted(good, key=lambda line: number(line.decode())), bad


def doubled(good: list[bytes], bad: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    failed = [
        json.dumps({"custom_id": json.loads(line)["custom_id"], **refuses(500)}).encode() + b"\n" for line in good
    ]
    return good + good[::-1], failed


def cut(good: list[bytes], bad: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    if len(good) < 5:
        return good, bad
    return [*good[:-2], good[-1], good[-2][: len(good[-2]) // 2]], bad


def strange(good: list[bytes], bad: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    junk = [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b'{"custom_id": 7}\n',
        b"\xff\xfe\n",
        b"[" * 90_000 + b"\n",
        b'{"custom_id": "no"}\n',
    ]
    line = {"custom_id": "f" * 40, **says("somebody else's")}
    return [*junk, json.dumps(line).encode() + b"\n", *good], bad


def plain_text(good: list[bytes], bad: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """As older vLLM: the completion stands where the response with its status is."""
    lines = [json.loads(line) for line in good]
    return [json.dumps(line | {"response": line["response"]["body"]}).encode() + b"\n" for line in lines], bad


def all_at_once(good: list[bytes], bad: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    return strange(*doubled(*shuffled(good, bad)))


SHAPES = [
    all_at_once,
    cut,
    plain_text,
    *(pytest.param(one, marks=pytest.mark.long) for one in (shuffled, doubled, strange)),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_the_files_look_like_the_profiles_are_the_same(homes, direct, provider, shape):
    expected = direct().profiles
    provider.shape = shape
    rapport = homes()
    report = batched(rapport)
    assert written(rapport) == expected
    assert report.failures == ()
    assert provider.files == {}
    assert max(Counter(provider.asked).values()) == (2 if shape is cut else 1)


def test_what_a_batch_could_not_do_is_asked_again_and_nothing_else(homes, direct, provider):
    expected = direct().profiles
    seen: Counter[str] = Counter()

    def flaky(body: dict[str, Any]) -> dict[str, Any]:
        asked = batchfile.request_id(body)
        seen[asked] += 1
        return refuses(500) if number(asked) % 4 == 0 and seen[asked] == 1 else model(body)

    provider.answer = flaky
    rapport = homes()
    batched(rapport)
    assert written(rapport) == expected
    assert {seen[one] for one in seen if number(one) % 4 == 0} == {2}
    assert {seen[one] for one in seen if number(one) % 4} == {1}


def test_a_batch_that_expires_half_way_goes_on_in_the_next(homes, direct, provider):
    expected = direct().profiles
    provider.ends = lambda number: "expired" if number == 0 else "completed"

    def half(body: dict[str, Any]) -> dict[str, Any]:
        return EXPIRED if len(provider.batches) == 1 and number(batchfile.request_id(body)) % 2 else model(body)

    provider.answer = half
    rapport = homes()
    assert batched(rapport).failures == ()
    assert written(rapport) == expected
    assert max(Counter(provider.asked).values()) == 2


def test_a_person_whose_request_never_succeeds_fails_alone(homes, direct, provider):
    expected = direct().profiles
    poison = ""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        nonlocal poison
        if "response_format" in body and not poison:
            poison = batchfile.request_id(body)
        return refuses(500, "boom") if batchfile.request_id(body) == poison else model(body)

    provider.answer = answer
    rapport = homes()
    report = batched(rapport)
    (failure,) = report.failures
    assert (failure.reason, failure.attempts) == ("Refused", 3)
    assert "boom" in failure.message
    assert Counter(provider.asked)[poison] == batchfile.TRIES
    assert written(rapport) == {user: one for user, one in expected.items() if user != failure.user}


def test_a_refused_request_is_not_paid_for_again(homes, provider):
    provider.answer = lambda body: refuses(400, "too long") if "response_format" in body else model(body)
    report = batched(homes())
    assert {one.reason for one in report.failures} == {"Refused"}
    assert max(Counter(provider.asked).values()) == 1
    # Asked for again, the model is asked again.
    provider.answer = model
    again = batched(homes(), retry_failed=True)
    assert (again.failures, again.tagged) == ((), len(report.failures))


def test_a_model_that_refuses_everything_is_nobodys_fault(homes, direct, provider):
    expected = direct().profiles
    provider.answer = lambda body: refuses(404, "no such model")
    report = batched(homes())
    assert "refuses every request: no such model" in report.stopped
    assert (report.failures, report.remaining) == ((), 2)
    assert len(provider.batches) == 1
    provider.answer = model
    rapport = homes()
    assert batched(rapport).failures == ()
    assert written(rapport) == expected


def test_a_refusal_before_the_first_answer_counts_when_that_comes(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        store.add_events([one for one in events() if one.user == "otis"])
        collector = Collector({"a": ["otis"], "b": ["otis"]}, store, Budget(), set(), trusted=False)
        collector.take(read_lines([json.dumps({"custom_id": "a", **refuses(400, "too long")}).encode()]))
        assert collector.all_refused
        assert store.answer("otis", "a") is None
        collector.take(read_lines([json.dumps({"custom_id": "b", **says("x")}).encode()]))
        assert not collector.all_refused
        assert "too long" in (store.answer("otis", "a") or "")
        assert "choices" in (store.answer("otis", "b") or "")


def test_a_parameter_that_the_model_does_not_take_is_left_out_of_the_next_batch(homes, direct, provider):
    expected = direct().profiles

    def picky(body: dict[str, Any]) -> dict[str, Any]:
        for name in ("temperature", "max_tokens"):
            if name in body:
                return refuses(400, f"no {name}", param=name, code="unsupported_parameter")
        return model(body)

    provider.answer = picky
    rapport = homes()
    assert batched(rapport).failures == ()
    assert written(rapport) == expected
    # Two batches to learn, and the next command knows.
    provider.asked.clear()
    rapport.store.add_events([one for one in events() if one.user == "mara"])
    batched(rapport)
    assert max(Counter(provider.asked).values()) == 1
    assert provider.answer is picky


def test_a_model_without_log_probabilities_is_asked_to_pick(homes, provider):
    def mute(body: dict[str, Any]) -> dict[str, Any]:
        if body.get("logprobs"):
            return says("positive", "length")
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        if "answer" in schema.get("properties", {}):
            return says('{"answer": "neutral"}')
        return model(body)

    provider.answer = mute
    with homes("direct") as rapport:
        tag(rapport, Order(workers=1))
        expected = written(rapport)
    rapport = homes()
    assert batched(rapport).failures == ()
    assert written(rapport) == expected


def test_a_provider_that_is_away_for_a_while_is_waited_for(homes, direct, provider):
    expected = direct().profiles
    seen: Counter[tuple[str, str]] = Counter()

    def fail(method: str, path: str) -> int | None:
        seen[method, path] += 1
        return 503 if seen[method, path] <= 2 else None

    provider.fail = fail
    rapport = homes()
    batched(rapport)
    assert written(rapport) == expected
    assert max(Counter(provider.asked).values()) == 1


def test_a_provider_that_stays_away_stops_the_run_and_the_next_one_goes_on(homes, direct, provider):
    expected = direct().profiles
    provider.fail = lambda method, path: 503 if path.startswith("/v1/batches/") else None
    report = batched(homes())
    assert "scripted 503" in report.stopped
    assert report.remaining == 2
    provider.fail = lambda method, path: None
    rapport = homes()
    assert batched(rapport).stopped == ""
    assert written(rapport) == expected
    assert max(Counter(provider.asked).values()) == 1


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
def test_a_wrong_key_stops_the_run(homes, provider, path):
    provider.fail = lambda method, asked: 401 if asked == path else None
    report = batched(homes())
    assert "scripted 401" in report.stopped
    assert (report.tagged, report.remaining) == (0, 2)
    assert provider.batches == {}


def test_batches_that_are_turned_down_end_the_run_after_two(homes, provider):
    provider.ends = lambda number: "failed"
    report = batched(homes())
    assert "too much" in report.stopped
    assert len(provider.batches) == 2
    assert provider.files == {}


def test_answers_that_expired_at_the_provider_are_asked_for_again(homes, direct, provider):
    expected = direct().profiles
    gone = []

    def fail(method: str, path: str) -> int | None:
        if path.endswith("/content") and not gone:
            gone.append(path)
            return 404
        return None

    provider.fail = fail
    rapport = homes()
    batched(rapport)
    assert gone
    assert written(rapport) == expected


def test_files_that_cannot_be_deleted_do_not_stop_anything(homes, direct, provider):
    expected = direct().profiles
    provider.fail = lambda method, path: 405 if method == "DELETE" else None
    rapport = homes()
    lines: list[str] = []
    tag_by_batches(rapport, Order(workers=2), tell=lines.append, poll_s=0.0)
    assert written(rapport) == expected
    assert [line for line in lines if "stays at the provider" in line]


# -- money


def test_what_was_collected_is_counted(homes, provider):
    budget = Budget(Price(1.0, 2.0))
    report = batched(homes(), budget=budget)
    answered = len(provider.asked)
    assert (report.prompt_tokens, report.completion_tokens) == (11 * answered, 7 * answered)
    assert report.cost == pytest.approx((11 + 14) * answered / 1e6)


def test_what_the_budget_has_no_room_for_is_not_sent(homes, provider):
    budget = Budget(Price(1.0, 1.0), Limits(tokens=700))
    report = batched(homes(people=("otis",)), budget=budget)
    assert "limit" in report.stopped
    assert report.remaining == 1
    assert 0 < budget.spent.prompt_tokens + budget.spent.completion_tokens <= 700
    assert provider.asked
    # With more money the same command goes on where it was.
    assert batched(homes()).remaining == 0
    assert max(Counter(provider.asked).values()) == 1


def test_a_budget_for_nothing_sends_nothing(homes, provider):
    report = batched(homes(), budget=Budget(limits=Limits(tokens=1)))
    assert "limit" in report.stopped
    assert provider.log == []


# -- files


def vllm(requests: Path, answers: Path) -> None:
    """Does what `vllm run-batch -i … -o …` does."""
    with answers.open("w", encoding="utf-8") as out:
        for raw in requests.read_text(encoding="utf-8").splitlines():
            line = json.loads(raw)
            done = {"id": "vllm-1", "custom_id": line["custom_id"], **model(line["body"])}
            out.write(json.dumps(done, ensure_ascii=False) + "\n")


def test_by_files_alone_the_profiles_are_the_same(homes, direct, provider, tmp_path):
    expected = direct().profiles
    sent = len(provider.log)
    rapport = homes()
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    report = tag_by_files(rapport, Order(), write=requests)
    rounds_ = 1
    while report.remaining:
        vllm(requests, answers)
        report = tag_by_files(rapport, Order(), write=requests, collect=[answers])
        rounds_ += 1
        assert rounds_ < 10
    assert rounds_ > 3
    lines: list[str] = []
    tag_by_files(rapport, Order(), write=requests, tell=lines.append)
    assert [line for line in lines if "nothing is left to be asked" in line]
    assert written(rapport) == expected
    assert len(provider.log) == sent


def test_requests_too_many_for_one_file_are_split(homes, monkeypatch, tmp_path, provider, direct):
    expected = direct().profiles
    monkeypatch.setattr(Outbox, "__init__", _small(Outbox.__init__))
    rapport = homes()
    requests = tmp_path / "requests.jsonl"
    tag_by_files(rapport, Order(), write=requests)
    files = sorted(tmp_path.glob("requests*.jsonl"))
    sizes = [len(file.read_text(encoding="utf-8").splitlines()) for file in files]
    assert len(files) > 2
    assert max(sizes) <= 10
    batched(rapport)
    assert written(rapport) == expected
    assert max(Counter(provider.asked).values()) == 1


def _small(real):
    return lambda self, budget: real(self, budget, most_requests=10, most_bytes=30_000)


def test_a_file_has_no_more_bytes_than_it_may(monkeypatch):
    outbox = Outbox(Budget(), most_bytes=1000)
    for seed in range(20):
        outbox.add("ann", wire.question("m", [Message("user", "x" * 100)], 999, max_tokens=1, seed=seed))
    assert len(outbox) == 20
    for part in outbox.parts:
        part.file.seek(0)
        assert 0 < len(part.file.read()) == part.bytes <= 1000
    outbox.close()


def test_files_and_batches_do_not_mix(homes, provider, monkeypatch, tmp_path):
    deadly(monkeypatch, lambda name, times: name == "before Provider.status")
    with pytest.raises(Killed):
        batched(homes())
    with pytest.raises(UsageError, match="at the provider"):
        tag_by_files(homes(), Order(), write=tmp_path / "requests.jsonl")


@pytest.mark.parametrize("spec", ["none", "builtin"])
def test_batches_are_for_models_behind_an_api(homes, spec):
    with pytest.raises(UsageError, match="openai:MODEL"):
        batched(homes(spec=spec))


def test_a_file_that_is_not_there_is_named(homes, tmp_path):
    with pytest.raises(SetupError, match=r"nowhere\.jsonl"):
        tag_by_files(homes(), Order(), collect=[tmp_path / "nowhere.jsonl"])
    with pytest.raises(SetupError, match="cannot be written"):
        tag_by_files(homes(), Order(), write=tmp_path / "no" / "folder.jsonl")


# -- single lines

LINES = {
    "openai": (says("x"), "answer"),
    "openai refused": (refuses(400, "no"), "refused"),
    "openai parameter": (refuses(400, "no", param="temperature"), "parameter"),
    "openai 429": (refuses(429), "failed"),
    "openai 500": (refuses(500), "failed"),
    "expired": (EXPIRED, "unsent"),
    "cancelled": ({"response": None, "error": {"code": "batch_cancelled", "message": "x"}}, "unsent"),
    "timeout": ({"response": None, "error": {"code": "request_timeout", "message": "x"}}, "failed"),
    "vllm": ({"response": says("x")["response"], "error": None}, "answer"),
    "vllm old": ({"response": says("x")["response"]["body"], "error": None}, "answer"),
    "vllm refused, in words": (
        {"response": {"status_code": 400, "request_id": "r", "body": None}, "error": "no"},
        "refused",
    ),
    "vllm refused, as an object": (
        {"response": {"status_code": 404, "body": None}, "error": {"error": {"message": "no", "code": 404}}},
        "refused",
    ),
    "nothing": ({"response": None, "error": None}, "failed"),
    "odd types": ({"response": [1], "error": 7}, "failed"),
    "odd status": ({"response": {"status_code": "200"}, "error": None}, "failed"),
    "no choices": ({"response": {"status_code": 200, "body": {"choices": []}}, "error": None}, "failed"),
    "no text": (says(None), "failed"),  # type: ignore[arg-type]
    "a refusal": (says(None, message={"refusal": "I cannot."}), "answer"),  # type: ignore[arg-type]
    "cut off at once": (says("", "length"), "answer"),
}


@pytest.mark.parametrize(("line", "kind"), LINES.values(), ids=LINES.keys())
def test_every_line_has_its_meaning(line, kind):
    (found,) = read_lines([json.dumps({"id": "1", "custom_id": "a", **line}).encode()])
    assert found is not None
    assert (found.id, found.kind) == ("a", kind)


def test_a_line_separator_inside_a_string_ends_no_line(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_bytes(json.dumps({"custom_id": "a", **says("one\u2028two")}, ensure_ascii=False).encode() + b"\n")
    (found,) = rounds._lines_of(file)
    assert found is not None
    assert found.body["choices"][0]["message"]["content"] == "one\u2028two"


def test_a_refusal_of_the_model_reaches_the_job_as_one(tmp_path):
    chat = [Message("user", "x")]
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        store.add_events([one for one in events() if one.user == "otis"])
        outbox = Outbox(Budget())
        llm = Deferring("m", 999, True, store, "otis", outbox, set())
        with pytest.raises(Deferred):
            llm.generate([chat])
        ((asked, users),) = outbox.askers.items()
        assert users == ["otis"]
        line = {"custom_id": asked, **says(None, message={"refusal": "I cannot."})}  # type: ignore[arg-type]
        collector = Collector(outbox.askers, store, Budget(), set())
        collector.take(read_lines([json.dumps(line).encode()]))
        with pytest.raises(CallRefused, match="I cannot"):
            Journal(llm, store, "otis").generate([chat])
        with pytest.raises(Refused):
            llm.choose([chat], ["a", "a"])
        assert llm.choose([], ["a"]) == []
        assert llm.choose([chat], []) == [[]]
        outbox.close()


def test_an_id_is_short_enough_and_the_same_everywhere():
    body = wire.question("m", [Message("user", "x")], 999, max_tokens=1)
    assert json.loads(request_line(body))["custom_id"] == batchfile.request_id(body)
    assert batchfile.request_id(body) == "6beeae1d92736180156baea78320eeef3c90acf0"
