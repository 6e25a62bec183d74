"""The OpenAI backend over a real socket against a server that answers badly; its log proves the attempts."""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import openai
import pytest

from agent.errors import LLMError, Refused, SetupError, TimedOut, Unavailable
from agent.llm import openai_wire as wire
from agent.llm.base import Message
from agent.llm.openai import OpenAI

CHAT = [Message("system", "Answer in JSON."), Message("user", "What do I like?")]
SCHEMA = {"type": "object", "properties": {"tag": {"type": "string", "maxLength": 9, "title": "Tag"}}}
PATIENCE_S = 0.6

Reply = Callable[[socket.socket], None]


def http(body: bytes | str, status: int = 200, **headers: str) -> Reply:
    raw = body.encode() if isinstance(body, str) else body
    lines = {"content-type": "application/json", "content-length": str(len(raw)), "connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"HTTP/1.1 {status} Something\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return lambda connection: connection.sendall(head.encode() + b"\r\n" + raw)


def says(content: str | None, finish: str = "stop", **message: object) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return http(json.dumps({"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}))


def events(*data: str | bytes, pause_s: float = 0.0, then: Reply | None = None) -> Reply:
    def send(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for piece in data:
            raw = piece if isinstance(piece, bytes) else f"data: {piece}\n\n".encode()
            connection.sendall(raw)
            time.sleep(pause_s)
        if then:
            then(connection)

    return send


def delta(content: str | None, finish: str | None = None) -> str:
    return json.dumps({"choices": [{"delta": {"content": content}, "finish_reason": finish}]}, ensure_ascii=False)


def silence(connection: socket.socket) -> None:
    time.sleep(PATIENCE_S * 2)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def trickle(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
    for _ in range(100):
        connection.sendall(b" ")
        time.sleep(PATIENCE_S / 10)


def huge(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
    for _ in range(wire.LARGEST_ANSWER // 65536 + 2):
        connection.sendall(b" " * 65536)


def error(status: int, code: str | None = None, param: str | None = None, **headers: str) -> Reply:
    body = {"error": {"message": f"no {status}", "type": "x", "code": code, "param": param}}
    return http(json.dumps(body), status, **headers)


class Server:
    """Plays `script`, one reply per request, the last one for ever; `log` holds the bodies of the requests."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.log: list[dict] = []
        self.gone = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            length = 0
            while (line := lines.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = json.loads(lines.read(length))
            with self._lock:
                reply = self.script[min(len(self.log), len(self.script) - 1)]
                self.log.append(body)
            try:
                reply(connection)
            except OSError:
                self.gone.set()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server():
    opened = Server()
    yield opened
    opened.close()


@pytest.fixture
def llm(server, monkeypatch):
    monkeypatch.setattr(wire, "PAUSE_S", 0.01)
    opened = OpenAI("m", server.url, api_key="k", timeout_s=PATIENCE_S)
    yield opened
    opened.close()


def ask(llm: OpenAI) -> str:
    return llm.generate([CHAT], schema=SCHEMA, max_tokens=20)[0].text


def listen(llm: OpenAI) -> str:
    return "".join(llm.stream(CHAT, max_tokens=20))


FAULTS = {
    "F3 429 without a header": ([error(429)], Unavailable, 2),
    "429 no money left": ([error(429, code="insufficient_quota")], Refused, 1),
    "F4 500": ([error(500)], Unavailable, 2),
    "F5 502 HTML": ([http("<html>Bad gateway</html>", 502, content_type="text/html")], Unavailable, 2),
    "200 HTML": ([http("<html>Log in</html>", content_type="text/html")], Unavailable, 2),
    "F6 503": ([error(503)], Unavailable, 2),
    "408": ([error(408)], Unavailable, 2),
    "F7 silence": ([silence], TimedOut, 1),
    "F9 headers then silence": ([events(then=silence)], TimedOut, 1),
    "F10 trickle": ([trickle], TimedOut, 1),
    "reset": ([reset], Unavailable, 2),
    "empty body": ([http("")], Unavailable, 2),
    "no object": ([http("[]")], Unavailable, 2),
    "F13 error object": ([http('{"error": {"message": "overloaded"}}')], Unavailable, 2),
    "no choices": ([http('{"choices": []}')], Unavailable, 2),
    "choices of nonsense": ([http('{"choices": [7]}')], Unavailable, 2),
    "no message": ([http('{"choices": [{}]}')], Unavailable, 1),
    "null content": ([says(None)], Unavailable, 1),
    "F16 truncated envelope": ([http('{"choices": [{"message": {"cont')], Unavailable, 2),
    "deep": ([http("[" * 100_000)], Unavailable, 2),
    "F22 huge": ([huge], Unavailable, 2),
    "F24 refusal": ([says(None, refusal="I cannot help with that.")], Refused, 1),
    "content filter": ([says("Well", finish="content_filter")], Refused, 1),
    "F25 tool": ([says(None, finish="tool_calls", tool_calls=[{"function": {"name": "rm"}}])], Refused, 1),
    "400": ([error(400, code="context_length_exceeded")], Refused, 1),
    "401": ([error(401)], Refused, 1),
    "403": ([error(403)], Refused, 1),
    "404": ([error(404)], Refused, 1),
    "413": ([error(413)], Refused, 1),
    "422": ([error(422)], Refused, 1),
}


@pytest.mark.parametrize(("script", "raised", "attempts"), FAULTS.values(), ids=FAULTS.keys())
def test_every_fault_has_its_error_and_a_bounded_number_of_attempts(llm, server, script, raised, attempts):
    server.script = script
    with pytest.raises(raised) as caught:
        ask(llm)
    assert type(caught.value) is raised
    assert len(server.log) == attempts


ANSWERS = {
    "F6 503 then good": ([error(503), says('{"tag": "jazz"}')], '{"tag": "jazz"}'),
    "F1 Retry-After seconds": ([error(429, retry_after="0.1"), says("ok")], "ok"),
    "F14 empty": ([says("")], ""),
    "F15 null and length": ([says(None, finish="length")], ""),
    "F16 truncated JSON": ([says('{"tag": "ja', finish="length")], '{"tag": "ja'),
    "F17 fences and prose": ([says('Sure!\n```json\n{"tag": "jazz"}\n```')], 'Sure!\n```json\n{"tag": "jazz"}\n```'),
    "F23 invalid UTF-8": (
        [http(b'{"choices": [{"message": {"content": "caf\xe9 \xe5\xa5\xbd"}}]}')],
        "caf\ufffd 好",
    ),
    "lone surrogate": ([http('{"choices": [{"message": {"content": "a\\ud800b"}}]}')], "a?b"),
    "no usage, odd types": ([http('{"choices": [{"message": {"content": "x"}}], "usage": "lots"}')], "x"),
}


@pytest.mark.parametrize(("script", "text"), ANSWERS.values(), ids=ANSWERS.keys())
def test_what_can_be_read_is_handed_on_as_it_is(llm, server, script, text):
    server.script = script
    (completion,) = llm.generate([CHAT], schema=SCHEMA)
    assert completion.text == text
    assert completion.prompt_tokens > 0
    assert len(server.log) == len(script)


def test_cut_off_is_told_from_finished(llm, server):
    server.script = [says("a b c", finish="length"), says("a b c")]
    assert llm.generate([CHAT])[0].finish == "length"
    assert llm.generate([CHAT])[0].finish == "stop"


def test_usage_is_the_providers(llm, server):
    server.script = [says("jazz")]
    (completion,) = llm.generate([CHAT])
    assert (completion.prompt_tokens, completion.completion_tokens) == (11, 7)


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(hours=-3), timedelta(days=2)], ids=str)
def test_a_date_to_retry_after_is_read_by_the_servers_clock(llm, server, skew):
    now = datetime.now(UTC) + skew
    wait = error(429, retry_after=format_datetime(now, usegmt=True), date=format_datetime(now, usegmt=True))
    server.script = [wait, says("ok")]
    assert ask(llm) == "ok"


@pytest.mark.parametrize("dated", [False, True], ids=["seconds", "date"])
def test_a_wait_beyond_the_deadline_is_not_waited(llm, server, dated):
    said = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True) if dated else "60"
    server.script = [error(429, retry_after=said), says("too late")]
    with pytest.raises(Unavailable):
        ask(llm)
    assert len(server.log) == 1


@pytest.mark.parametrize(("said", "seconds"), [("2", 2.0), ("-5", 0.0), ("nan", 0.01), ("soon", 0.01), ("", 0.01)])
def test_retry_after_is_read_defensively(monkeypatch, said, seconds):
    monkeypatch.setattr(wire, "PAUSE_S", 0.01)
    request = httpx2.Request("POST", "http://m/v1")
    response = httpx2.Response(429, headers={"retry-after": said}, request=request)
    assert wire.retry_after_s(openai.RateLimitError("x", response=response, body=None)) == seconds


def test_nobody_there_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    llm = OpenAI("m", f"http://127.0.0.1:{port}/v1", timeout_s=PATIENCE_S)
    with pytest.raises(Unavailable):
        ask(llm)
    llm.close()


def test_many_chats_go_side_by_side_but_not_too_many(server):
    counting, busy, busiest = threading.Lock(), 0, 0

    def slowly(connection: socket.socket) -> None:
        nonlocal busy, busiest
        with counting:
            busy += 1
            busiest = max(busiest, busy)
        time.sleep(0.05)
        # Before the answer: whoever has it may send the next question before this thread goes on.
        with counting:
            busy -= 1
        says("ok")(connection)

    server.script = [slowly]
    llm = OpenAI("m", server.url, timeout_s=5, concurrency=3)
    chats = [[Message("user", f"question {n}")] for n in range(12)]
    assert [one.text for one in llm.generate(chats)] == ["ok"] * 12
    assert busiest == 3
    assert sorted(body["messages"][0]["content"] for body in server.log) == sorted(chat[0].content for chat in chats)
    llm.close()


def test_a_schema_is_sent_in_the_strict_dialect(llm, server):
    server.script = [says("{}")]
    ask(llm)
    (body,) = server.log
    assert body["response_format"]["json_schema"] == {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"tag": {"type": "string"}},
            "required": ["tag"],
            "additionalProperties": False,
        },
    }
    assert body["max_tokens"] == 20


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {"oneOf": []}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        {"type": "array", "items": {"not": {}}},
        {"anyOf": [7]},
    ],
)
def test_a_schema_that_strict_mode_has_no_word_for_is_refused_unsent(llm, server, schema):
    with pytest.raises(Refused):
        llm.generate([CHAT], schema=schema)
    assert server.log == []


def test_a_parameter_that_the_model_does_not_take_is_left_out_from_then_on(llm, server):
    server.script = [error(400, param="temperature"), error(400, param="max_tokens"), says("ok")]
    assert ask(llm) == "ok"
    assert ask(llm) == "ok"
    assert len(server.log) == 4
    assert "temperature" not in server.log[-1]
    assert server.log[-1]["max_completion_tokens"] == 20
    assert "max_tokens" not in server.log[-1]


def test_requests_side_by_side_that_meet_the_same_refusal_are_all_sent_again(server):
    met = threading.Barrier(2)

    def refuse(connection: socket.socket) -> None:
        met.wait(5)
        error(400, param="temperature")(connection)

    server.script = [refuse, refuse, says("ok")]
    llm = OpenAI("m", server.url, timeout_s=5, concurrency=2)
    assert [one.text for one in llm.generate([CHAT, CHAT])] == ["ok", "ok"]
    assert len(server.log) == 4
    llm.close()


# -- streams

SPLIT = f"data: {delta('好的', 'stop')}\n\n".encode()
CUT = SPLIT.index("好".encode()) + 1
STREAMS = {
    "good": ([events(delta("Hel"), delta("lo"), delta(None, "stop"), "[DONE]")], "Hello"),
    "F12 no [DONE]": ([events(delta("Hello"), delta(None, "stop"))], "Hello"),
    "F23 character split across chunks": ([events(SPLIT[:CUT], SPLIT[CUT:], pause_s=0.05)], "好的"),
    "comments and usage": ([events(b": keep-alive\n\n", '{"choices": [], "usage": {}}', delta("x", "stop"))], "x"),
    "503 before the first token": ([error(503), events(delta("x", "stop"))], "x"),
}


@pytest.mark.parametrize(("script", "text"), STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_is_joined_to_its_text(llm, server, script, text):
    server.script = script
    assert listen(llm) == text


BROKEN_STREAMS = {
    "F11 reset": (events(delta("Hel"), then=reset), Unavailable),
    "F12 ends without an end": (events(delta("Hel")), Unavailable),
    "F13 error object": (events(delta("Hel"), '{"error": {"message": "overloaded"}}'), Unavailable),
    "garbage": (events("{nope"), Unavailable),
    "F9 silence": (events(delta("Hel"), then=silence), TimedOut),
    "F10 too slow": (events(*[delta("x")] * 30, pause_s=PATIENCE_S / 10), TimedOut),
    "F24 refusal": (events('{"choices": [{"delta": {"refusal": "no"}}]}'), Refused),
    "F22 huge": (events(*[delta("x" * 65536)] * (wire.LARGEST_ANSWER // 65536 + 2)), Unavailable),
}


@pytest.mark.parametrize(("reply", "raised"), BROKEN_STREAMS.values(), ids=BROKEN_STREAMS.keys())
def test_a_stream_that_breaks_is_not_begun_again(llm, server, reply, raised):
    server.script = [reply]
    with pytest.raises(raised) as caught:
        listen(llm)
    assert type(caught.value) is raised
    assert len(server.log) == 1


def test_closing_a_stream_hangs_up(llm, server):
    server.script = [events(*[delta("x" * 10_000)] * 2000, pause_s=0.001)]
    stream = llm.stream(CHAT)
    assert next(stream)
    stream.close()
    assert server.gone.wait(5)


# -- choosing


def likely(**tokens: float) -> Reply:
    top = [{"token": token, "logprob": math.log(share)} for token, share in tokens.items()]
    choice = {"message": {"content": "x"}, "finish_reason": "length"}
    return http(json.dumps({"choices": [choice | {"logprobs": {"content": [{"top_logprobs": top}]}}]}))


def test_choices_are_scored_by_their_first_tokens(llm, server):
    server.script = [likely(Pos=0.6, positive=0.1, Neg=0.2, The=0.05)]
    ((positive, negative, mixed),) = llm.choose([CHAT], ["Positive", "Negative", "Mixed"])
    assert math.exp(positive - negative) == pytest.approx(3.0)
    assert math.exp(mixed - negative) == pytest.approx(0.25)
    assert server.log[0]["top_logprobs"] == 20
    assert server.log[0]["max_tokens"] == 1


def test_a_word_that_only_begins_like_a_letter_is_not_that_letter(llm, server):
    server.script = [likely(A=0.1, Apple=0.8, B=0.1)]
    ((first, second),) = llm.choose([CHAT], ["A", "B"])
    assert first == pytest.approx(second)


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": []}, {"content": [{"top_logprobs": [{"token": 3}, 7]}]}, "x"], ids=repr
)
def test_without_log_probabilities_the_model_picks_from_an_enum(llm, server, logprobs):
    choice = {"message": {"content": "Positive"}, "logprobs": logprobs}
    server.script = [http(json.dumps({"choices": [choice]})), says('{"answer": "Negative"}')]
    ((positive, negative, mixed),) = llm.choose([CHAT], ["Positive", "Negative", "Mixed"])
    assert math.exp(negative) == pytest.approx(0.9)
    assert math.exp(positive) == pytest.approx(math.exp(mixed)) == pytest.approx(0.05)
    assert server.log[1]["response_format"]["json_schema"]["schema"]["properties"] == {
        "answer": {"enum": ["Positive", "Negative", "Mixed"]}
    }


def test_a_provider_without_log_probabilities_is_asked_for_a_pick_at_once_from_then_on(llm, server):
    server.script = [says("Positive"), says('{"answer": "Negative"}')]
    first, second = (llm.choose([CHAT], ["Positive", "Negative"]) for _ in range(2))
    assert first == second
    assert ["logprobs" in body for body in server.log] == [True, False, False]


def test_a_model_that_refuses_log_probabilities_picks(llm, server):
    server.script = [error(400, param="logprobs"), says("Positive"), says('{"answer": "Negative"}')]
    ((positive, negative),) = llm.choose([CHAT], ["Positive", "Negative"])
    assert negative > positive
    assert [{"logprobs", "top_logprobs"} & set(body) for body in server.log[1:]] == [set(), set()]


@pytest.mark.parametrize("said", ["I would rather not say.", '{"answer": 3}', "[1]", ""])
def test_a_pick_of_nothing_offered_is_refused(llm, server, said):
    server.script = [says(said)]
    with pytest.raises(Refused, match="none of the choices"):
        llm.choose([CHAT], ["Positive", "Negative"])


@pytest.mark.parametrize("choices", [["a", "a"], ["a", ""]])
def test_choices_must_differ(llm, server, choices):
    with pytest.raises(Refused):
        llm.choose([CHAT], choices)
    assert server.log == []


# -- keys and vendor errors


def test_a_key_is_demanded_where_one_is_needed(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SetupError, match="OPENAI_API_KEY"):
        OpenAI("gpt-x")
    OpenAI("local", "http://127.0.0.1:9/v1").close()


def exported(module) -> set[type[Exception]]:
    # A copy, and type() rather than isinstance, which would make the SDK import everything that it defers.
    members = list(vars(module).values())
    return {
        value
        for value in members
        if type(value) is type and issubclass(value, Exception) and not issubclass(value, Warning)
        if not value.__name__.startswith("_")
    }


def test_every_exception_of_the_sdk_has_a_meaning_of_its_own():
    table = wire.error_table()
    vendors = exported(openai) | exported(httpx2)
    assert len(vendors) > 30
    for vendor in vendors - {openai.OpenAIError}:
        nearest = next((base for base in vendor.__mro__ if base in table), None)
        assert nearest is not None, f"{vendor} is not mapped"
        assert nearest is not openai.OpenAIError, f"{vendor} is mapped by accident"
        assert issubclass(table[nearest], LLMError)


@pytest.mark.parametrize("vendor", [httpx2.ReadError, httpx2.InvalidURL, httpx2.CookieConflict, openai.OpenAIError])
def test_no_vendor_exception_gets_through(vendor):
    with pytest.raises(LLMError) as caught, wire.vendor_errors():
        raise vendor("x")
    assert isinstance(caught.value.__cause__, vendor)
