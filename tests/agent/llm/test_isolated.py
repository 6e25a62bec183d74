"""A model in a process of its own: what the process may do wrong, and what its user may do to it.

Most tests drive a process that only speaks the frames and misbehaves on demand; those marked `model` the real one.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from agent.errors import LLMError, Refused, SetupError, TimedOut, Unavailable
from agent.llm import isolated
from agent.llm.base import Message
from agent.llm.isolated import Isolated
from agent.llm.scheduler import Cancel, Terms, common

FAKE = '''
"""Answers with the last message of a chat; some messages are orders."""
import os, signal, sys
from agent.llm.frames import Frames

frames = Frames(open(0, "rb"), open(os.dup(1), "wb", buffering=0))
order = frames.receive()
how = order["name"]
if how.startswith("SIG"):
    os.kill(os.getpid(), getattr(signal, how))
if how == "prints":
    os.write(1, b"loading the model, please wait ...")
if how == "fails":
    frames.send({"id": 0, "error": ["SetupError", "no chat template"]})
    sys.exit()
frames.send({"id": 0, "about": {"name": how, "capable": False, "context": order["context"], "gpu": False}})
cancelled = []
clears = 0
while True:
    try:
        body = frames.receive()
    except EOFError:
        sys.exit()
    number, do = body["id"], body["do"]
    if do == "cancel":
        cancelled.append(number)
        frames.send({"id": number, "error": ["Unavailable", "cancelled"]})
        continue
    if do == "count":
        frames.send({"id": number, "count": {"cancelled": len(cancelled), "pid": os.getpid()}[body["text"]]})
        continue
    if do == "clear":
        clears += 1
        frames.send({"id": number, "cleared": True})
        continue
    if do == "usage":
        frames.send({"id": number, "usage": {"prompt_tokens": clears}, "peak_memory": 5})
        continue
    text = body["chat"][-1][1] if do == "stream" else body["chats"][0][-1][1]
    if text == "abort":
        os.write(2, b"ggml.c:42: GGML_ASSERT(false) failed\\n")
        os.abort()
    if text == "print":
        os.write(1, b"llama.cpp says hello")
    if text == "refuse":
        frames.send({"id": number, "error": ["Refused", "too long"]})
    if text in ("silence", "print"):
        continue
    if text == "terms":
        text = f"{body['background']} {body['timeout_s']}"
    if do == "stream":
        for piece in text:
            frames.send({"id": number, "piece": piece})
        if text != "endless":
            frames.send({"id": number, "end": True})
    else:
        one = {"text": text, "finish": "stop", "prompt_tokens": 1, "completion_tokens": 1, "ms": 0.0}
        frames.send({"id": number, "completions": [one]})
'''


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Opens a model whose process is FAKE."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(isolated, "_command", lambda: [sys.executable, str(script)])
    opened = []

    def start(name="fake", timeout_s=None):
        opened.append(Isolated(tmp_path / "model.gguf", name=name, timeout_s=timeout_s))
        return opened[-1]

    yield start
    for llm in opened:
        llm.close()


def chat(text):
    return [Message("user", text)]


def ask(llm, text):
    return llm.generate([chat(text)])[0].text


class Asking(threading.Thread):
    """Asks in a thread of its own; what came of it is in `answer` or `error`."""

    def __init__(self, llm, text):
        super().__init__()
        self._llm, self._text = llm, text
        self.answer = ""
        self.error: Exception | None = None
        self.start()

    def run(self):
        try:
            self.answer = ask(self._llm, self._text)
        except LLMError as error:
            self.error = error


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen within ten seconds")


def waiting(llm):
    return len(llm._keeper._process._calls)


def pid_of(llm):
    return llm._keeper._process._popen.pid


def is_alive(pid):
    """A zombie, whose parent is gone, is dead."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(found.stdout.strip()) and not found.stdout.strip().startswith("Z")


# -- opening


def test_it_says_what_it_is(start):
    llm = start("Small")
    assert (llm.name, llm.capable, llm.context, llm.gpu) == ("Small", False, 4096, False)
    assert ask(llm, "hello") == "hello"
    assert "".join(llm.stream(chat("hello"))) == "hello"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SIGILL", "SIGILL.*does not fit this processor.*pip install"),
        ("SIGKILL", "SIGKILL.*smaller model"),
        ("SIGSEGV", "cannot be opened.*SIGSEGV"),
        ("prints", "sent what cannot be read"),
        ("fails", "^no chat template$"),
    ],
)
def test_a_model_that_cannot_be_opened_is_a_setup_error(start, name, message):
    with pytest.raises(SetupError, match=message):
        start(name)


def test_a_process_that_cannot_be_started_is_a_setup_error(start, monkeypatch):
    monkeypatch.setattr(isolated, "_command", lambda: ["/nonexistent/python"])
    with pytest.raises(SetupError, match="cannot be started"):
        start()


# -- a process that dies


def test_an_abort_ends_all_in_flight_at_once_and_the_next_request_starts_anew(start):
    llm = start()
    first = llm.count_tokens("pid")
    silent = [Asking(llm, "silence") for _ in range(5)]
    stream = llm.stream(chat("endless"))
    assert next(stream) == "e"
    wait_for(lambda: waiting(llm) == 6)
    with pytest.raises(Unavailable, match=r"ended: SIGABRT \(ggml.c:42: GGML_ASSERT\(false\) failed\)"):
        ask(llm, "abort")
    for one in silent:
        one.join(60)
        assert isinstance(one.error, Unavailable)
        assert "SIGABRT" in str(one.error)
    with pytest.raises(Unavailable, match="SIGABRT"):
        list(stream)
    assert ask(llm, "hello") == "hello"
    assert llm.count_tokens("pid") != first


def test_a_process_killed_between_requests_is_not_noticed(start):
    llm = start()
    for _ in range(3):
        os.kill(pid_of(llm), signal.SIGKILL)
        assert not wait_for(lambda: not is_alive(pid_of(llm)))
        assert ask(llm, "hello") == "hello"


def test_many_threads_meet_a_dead_process_and_start_one(start):
    llm = start()
    with pytest.raises(Unavailable):
        ask(llm, "abort")
    threads = [Asking(llm, f"hello {n}") for n in range(16)]
    for thread in threads:
        thread.join(20)
    assert [thread.answer for thread in threads] == [f"hello {n}" for n in range(16)]
    assert llm._keeper._deaths == 1


def test_after_several_deaths_in_a_row_it_is_left_alone(start, monkeypatch):
    monkeypatch.setattr(isolated, "_FIRST_PAUSE_S", 0.0)
    llm = start()
    for _ in range(3):
        with pytest.raises(Unavailable, match="SIGABRT"):
            ask(llm, "abort")
    assert ask(llm, "hello") == "hello"  # one answer, and the count begins anew
    for _ in range(4):
        with pytest.raises(Unavailable, match="ended: SIGABRT"):
            ask(llm, "abort")
    for _ in range(2):
        with pytest.raises(Unavailable, match="4th time in a row without one answer: see `rapport doctor`"):
            ask(llm, "hello")
    monkeypatch.setattr(llm._keeper, "_not_before", 0.0)  # a while later
    assert ask(llm, "hello") == "hello"


def test_what_cannot_be_read_ends_the_process(start):
    llm = start()
    with pytest.raises(Unavailable, match="sent what cannot be read"):
        ask(llm, "print")
    assert ask(llm, "hello") == "hello"


def test_a_file_that_is_gone_when_it_is_opened_again_is_no_setup_error(start, monkeypatch):
    llm = start()
    monkeypatch.setitem(llm._keeper._order, "name", "fails")
    with pytest.raises(Unavailable, match="SIGABRT"):
        ask(llm, "abort")
    with pytest.raises(Unavailable, match="no chat template"):
        ask(llm, "hello")


# -- deadlines and cancelling


def test_silence_ends_at_the_deadline_and_a_stuck_process_is_killed(start, monkeypatch):
    monkeypatch.setattr(isolated, "_GRACE_S", 0.0)
    llm = start(timeout_s=0.3)
    forever = Terms(background=True)
    other = threading.Thread(
        target=lambda: failures.append(error_of(lambda: llm.choose([chat("silence")], [], terms=forever)))
    )
    failures: list[Exception] = []
    monkeypatch.setattr(isolated, "_STUCK_S", 0.2)
    other.start()
    wait_for(lambda: waiting(llm) == 1)
    os.kill(pid_of(llm), signal.SIGSTOP)  # not even a cancellation is answered
    with pytest.raises(TimedOut):
        ask(llm, "hello")
    other.join(60)
    assert type(failures[0]) is Unavailable
    assert "stuck" in str(failures[0])
    assert ask(llm, "hello") == "hello"


def error_of(question) -> Exception:
    with pytest.raises(LLMError) as caught:
        question()
    return caught.value


def test_a_late_answer_is_given_up_without_killing_anything(start, monkeypatch):
    monkeypatch.setattr(isolated, "_GRACE_S", 0.0)
    llm = start(timeout_s=0.2)
    with pytest.raises(TimedOut):
        ask(llm, "silence")
    assert llm.count_tokens("cancelled") == 1
    assert llm._keeper._deaths == 0


def test_terms_are_passed_on(start):
    llm = start(timeout_s=50)
    background = llm.in_background()
    assert ask(background, "terms") == "True None"
    assert float(ask(llm, "terms").removeprefix("False ")) == pytest.approx(50, abs=5)
    ((own,),) = [llm.generate([chat("terms")], terms=Terms(background=True, timeout_s=7.0))]
    assert own.text == "True 7.0"
    background.close()
    assert ask(background, "hello") == "hello"


def test_a_closed_stream_and_a_set_cancel_are_told_to_the_process(start):
    llm = start()
    stream = llm.stream(chat("endless"))
    assert next(stream) == "e"
    stream.close()  # type: ignore[attr-defined]
    assert llm.count_tokens("cancelled") == 1
    cancel = Cancel()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(Unavailable, match="cancelled"):
        llm.generate([chat("silence")], terms=Terms(cancel=cancel))
    assert llm.count_tokens("cancelled") == 2
    list(llm.stream(chat("hello")))
    assert llm.count_tokens("cancelled") == 2


def test_an_interrupt_cancels_what_was_waited_for(start):
    llm = start()
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        ask(llm, "silence")
    assert llm.count_tokens("cancelled") == 1


def test_errors_keep_their_kind(start):
    with pytest.raises(Refused, match=r"^too long$"):
        ask(start(), "refuse")


def test_a_text_beyond_all_measure_is_refused(start):
    llm = start()
    with pytest.raises(Refused, match="bytes"):
        ask(llm, "x" * (1 << 26))
    assert ask(llm, "hello") == "hello"


# -- ending


def test_closing_ends_the_process_and_those_who_wait(start):
    llm = start()
    one = Asking(llm, "silence")
    wait_for(lambda: waiting(llm) == 1)
    pid = pid_of(llm)
    llm.close()
    one.join(60)
    assert "closed" in str(one.error)
    assert not is_alive(pid)
    for question in (lambda: ask(llm, "hello"), lambda: list(llm.stream(chat("x"))), lambda: llm.count_tokens("pid")):
        with pytest.raises(LLMError, match="closed"):
            question()
    llm.close()


def test_a_model_that_is_forgotten_leaves_no_process(start, tmp_path):
    llm = Isolated(tmp_path / "model.gguf", name="fake")
    background = llm.in_background()
    pid = pid_of(llm)
    del llm
    gc.collect()
    assert ask(background, "hello") == "hello"  # the view keeps it
    del background
    gc.collect()
    wait_for(lambda: not is_alive(pid))


def test_clearing_and_looking_start_no_process(start):
    llm = start()
    llm.clear()
    llm.in_background().clear()
    assert llm.usage().prompt_tokens == 2
    assert llm.peak_memory() == 5
    os.kill(pid := pid_of(llm), signal.SIGKILL)
    wait_for(lambda: not is_alive(pid))
    llm.clear()
    assert llm.usage().prompt_tokens == 0
    assert llm.peak_memory() == 0
    assert pid_of(llm) == pid


# -- the real process

ASK = "Name one colour that a review of a {} may mention."
THINGS = ["jazz record", "zip", "film", "snack", "toy", "table", "phone", "book"]


@pytest.mark.model
def test_the_real_process_survives_what_its_user_does(model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "__init__.py").write_text("raise RuntimeError('another package of this name')")
    llm = Isolated(model_file, context=512, threads=1)
    before = ask(llm, "Name one colour.")
    pid = pid_of(llm)
    os.kill(pid, signal.SIGINT)
    assert ask(llm, "Name one colour.") == before
    assert pid_of(llm) == pid
    assert llm.peak_memory() > 100 << 20
    used = llm.usage()
    assert 0 < used.computed_tokens < used.prompt_tokens
    stream = llm.stream(chat("Tell me a long story."), max_tokens=400)
    assert next(stream)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match="SIGKILL"):
        list(stream)
    assert ask(llm, "Name one colour.") == before
    llm.close()


@pytest.mark.model
def test_a_damaged_file_is_a_setup_error(tmp_path):
    damaged = tmp_path / "model.gguf"
    damaged.write_bytes(b"GGUF" + b"\x00" * 100)
    with pytest.raises(SetupError, match="damaged"):
        Isolated(damaged)


@pytest.mark.model
def test_many_threads_some_of_which_give_up_get_what_one_gets(model, isolated_model):
    chats = [chat(ASK.format(thing)) for thing in THINGS]
    texts = [one.text for one in model.generate(chats, max_tokens=4)]
    gives_up = {n for n in range(64) if n % 10 < 3}
    found: dict[int, str] = {}

    def ask_one(n: int) -> None:
        if n in gives_up:
            stream = isolated_model.stream(chats[n % len(chats)], max_tokens=100)
            next(stream)
            stream.close()
        else:
            (one,) = isolated_model.generate([chats[n % len(chats)]], max_tokens=4)
            found[n] = one.text

    threads = [threading.Thread(target=ask_one, args=[n]) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(found) == 64 - len(gives_up)
    for n, text in found.items():
        assert_same_but_for_ties(model, chats[n % len(chats)], text, texts[n % len(chats)])
    wait_for(lambda: waiting(isolated_model) == 0)


def assert_same_but_for_ties(model, asked, one, other):
    """Floating point differs in the last digits with the size of a batch: of two tokens that are as good as equally
    likely, either may be picked; nothing else may differ."""
    if one != other:
        tokens = [model._data(text) for text in (one, other)]
        beyond = common(*tokens) + 1
        beginnings = [b"".join(map(model._native.piece, some[:beyond])).decode() for some in tokens]
        first, second = model.choose([asked], beginnings)[0]
        assert abs(first - second) < 0.1, (one, other)


PARENT = """
import sys, time
from pathlib import Path
from agent.llm.base import Message
from agent.llm.isolated import Isolated

llm = Isolated(Path(sys.argv[1]), context=512, threads=1)
assert not {"numpy", "llama_cpp"} & set(sys.modules), "only the process needs them"
stream = llm.stream([Message("user", "Tell me a long story.")], max_tokens=400)
next(stream)
print(llm._keeper._process._popen.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.model
def test_a_killed_parent_leaves_no_process(model_file):
    command = [sys.executable, "-c", PARENT, str(model_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    wait_for(lambda: not is_alive(pid))


@pytest.mark.model
def test_a_program_that_ends_without_closing_leaves_no_process_and_says_nothing(model_file):
    program = PARENT.replace("time.sleep(600)", "")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(model_file)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not is_alive(int(done.stdout))
