"""A GGUF model in a process of its own: a native abort costs the requests in flight and nothing else.

Starts the process, restarts it when it ends, and speaks to it in frames. Loads neither llama.cpp nor numpy itself, and
keeps nothing of what was asked.
"""

from __future__ import annotations

import io
import itertools
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agent
from agent.errors import LLMError, RapportError, Refused, SetupError, TimedOut, Unavailable
from agent.llm.base import Chat, Completion, Schema
from agent.llm.frames import Frames
from agent.llm.worker import OPENING

if TYPE_CHECKING:
    from agent.llm.background import Background
    from agent.llm.scheduler import Cancel, Terms, Usage

_GRACE_S = 1.0
"""How much longer than its deadline a request is waited for: the process should have said itself that it is over."""
_STUCK_S = 60.0
"""How much longer the process may be silent about that request before it counts as stuck and is killed. One step of a
large model on a slow machine takes its time."""
_GIVE_UP = 4
"""Deaths in a row without one answer after which the process is left dead for _REST_S."""
_REST_S = 60.0
_FIRST_PAUSE_S = 0.2
_REAPED_S = 5.0
_LAST_WORDS = 4096  # bytes
_ERRORS: dict[str, type[LLMError]] = {kind.__name__: kind for kind in (Unavailable, TimedOut, Refused)}
_REBUILD = "pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python"
_ADVICE = {
    "SIGILL": f"this build of llama.cpp does not fit this processor: {_REBUILD}",
    "SIGKILL": "most likely it took more memory than there is: use a smaller model or a smaller context",
}

Body = dict[str, Any]


class Isolated:
    """The model file `path`, ready to chat, in a process of its own. Any thread may call any method.

    `context`, `threads`, `gpu_layers` and `name` are LlamaCpp's. `timeout_s`: the longest wait for one call whose terms
    name none, restarts of the process included; what is asked in the background may take its time. When the process
    ends, the requests in flight end in Unavailable and the next one starts it again. Raises SetupError when the model
    cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int = 4096,
        threads: int | None = None,
        gpu_layers: int | None = None,
        name: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        order = {
            "path": str(path.absolute()),
            "context": context,
            "threads": threads,
            "gpu_layers": gpu_layers,
            "name": name,
        }
        self._keeper = keeper = _Keeper(order)
        # Whoever forgets to close it leaves no process behind: neither at the end of the program nor before.
        self._finish = weakref.finalize(self, keeper.close)
        self._timeout_s = timeout_s
        try:
            about = keeper.open()
        except BaseException:
            self._finish()
            raise
        self.name: str = about["name"]
        self.capable: bool = about["capable"]
        self.context: int = about["context"]
        self.gpu: bool = about["gpu"]

    def count_tokens(self, text: str) -> int:
        return self._ask({"do": "count", "text": text})["count"]

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        terms: Terms | None = None,
    ) -> list[Completion]:
        body = {
            "do": "generate",
            "chats": [_rows(chat) for chat in chats],
            "schema": schema,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
        }
        return [Completion(**one) for one in self._ask(body, terms)["completions"]]

    def stream(
        self,
        chat: Chat,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        terms: Terms | None = None,
    ) -> Iterator[str]:
        body = {
            "do": "stream",
            "chat": _rows(chat),
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
        }
        with self._asked(body, terms) as call:
            while "piece" in (frame := call.next()):
                yield frame["piece"]

    def choose(self, chats: Sequence[Chat], choices: Sequence[str], *, terms: Terms | None = None) -> list[list[float]]:
        body = {"do": "choose", "chats": [_rows(chat) for chat in chats], "choices": list(choices)}
        return self._ask(body, terms)["scores"]

    def in_background(self) -> Background:
        """This model for work that nobody waits for: its requests stand still while any other one is computed."""
        from agent.llm.background import Background

        return Background(self)

    def clear(self) -> None:
        """Drop the prompts that the process keeps; where none is running there is nothing to drop."""
        self._keeper.ask_running({"do": "clear"}, self._timeout_s)

    def usage(self) -> Usage:
        """What the process that is running now has done; nothing where none is."""
        from agent.llm.scheduler import Usage

        answer = self._keeper.ask_running({"do": "usage"}, self._timeout_s)
        return Usage(**answer["usage"]) if answer else Usage()

    def peak_memory(self) -> int:
        """Bytes that the process which is running now held at most; 0 where none is, or the system does not tell."""
        answer = self._keeper.ask_running({"do": "usage"}, self._timeout_s)
        return answer["peak_memory"] if answer else 0

    def close(self) -> None:
        """End the process; requests in flight end in Unavailable, later ones raise LLMError."""
        self._finish()

    def _ask(self, body: Body, terms: Terms | None = None) -> Body:
        with self._asked(body, terms) as call:
            return call.next()

    @contextmanager
    def _asked(self, body: Body, terms: Terms | None) -> Iterator[_Call]:
        background = terms is not None and terms.background
        timeout_s = terms.timeout_s if terms else None
        if not background:
            timeout_s = self._timeout_s if timeout_s is None else timeout_s
        with self._keeper.asked(body, background, timeout_s) as call, call.under(terms and terms.cancel):
            yield call


@dataclass(eq=False, slots=True)
class _Call:
    """A request at a process, and what has come back for it."""

    process: _Process
    number: int
    deadline: float | None
    frames: queue.SimpleQueue[Body | LLMError] = field(default_factory=queue.SimpleQueue)
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when the process has nothing more to say about it."""

    @contextmanager
    def under(self, cancel: Cancel | None) -> Iterator[None]:
        """While `cancel` can end it."""
        if cancel is None:
            yield
            return
        cancel.subscribe(self.cancel)
        try:
            yield
        finally:
            cancel.unsubscribe(self.cancel)

    def cancel(self) -> None:
        self.process.cancel(self)

    def next(self) -> Body:
        """The next frame; raises what the process raised, or TimedOut."""
        try:
            frame = self.frames.get(timeout=_left(self.deadline, _GRACE_S))
        except queue.Empty:
            self.process.watch(self)
            raise TimedOut("no answer within the time allowed") from None
        if isinstance(frame, LLMError):
            raise frame
        return frame


class _Keeper:
    """Has one process at a time, and another when that one has ended."""

    def __init__(self, order: Body) -> None:
        self._order = order
        self._closing = threading.Event()
        self._starting = threading.RLock()  # guards what follows; re-entrant, because a finalizer may run anywhere
        self._process: _Process | None = None
        self._mourned: _Process | None = None
        self._deaths = 0
        self._not_before = 0.0

    def open(self) -> Body:
        """What the model says of itself. Raises SetupError."""
        try:
            return self._running(None).about(None)
        except Unavailable as error:
            raise SetupError(f"the model {self._order['path']!r} cannot be opened: {error}") from error

    @contextmanager
    def asked(self, body: Body, background: bool, timeout_s: float | None) -> Iterator[_Call]:
        """Ask, on a process that is started if none is running; whoever leaves early cancels.

        In the background the seconds count from when the process computes, so that only it can measure them.
        """
        deadline = None if background else _deadline(timeout_s)
        call = None
        while call is None:
            process = self._running(deadline)
            try:
                process.about(_left(deadline))
            except SetupError as error:  # it could be opened before
                raise Unavailable(str(error)) from error
            left = timeout_s if background else _left(deadline)
            call = process.begin({**body, "background": background, "timeout_s": left}, deadline)
        try:
            yield call
        finally:
            call.cancel()

    def ask_running(self, body: Body, timeout_s: float | None) -> Body | None:
        """The answer of the process that is running now; None where there is none, or it ends meanwhile."""
        process = self._process
        if process is None or not process.is_open():
            return None
        call = process.begin({**body, "background": False, "timeout_s": timeout_s}, _deadline(timeout_s))
        try:
            return call.next() if call else None
        except Unavailable:
            if process.has_ended():
                return None
            raise

    def close(self) -> None:
        self._closing.set()
        with self._starting:
            if self._process:
                self._process.close("the model was closed")

    def _running(self, deadline: float | None) -> _Process:
        timeout = _left(deadline)
        if not self._starting.acquire(timeout=-1 if timeout is None else timeout):
            raise TimedOut("the model was still being started")
        try:
            if self._process is None or self._process.has_ended():
                if self._process and not self._closing.is_set():
                    self._pause(self._process, deadline)
                if self._closing.is_set():
                    raise Refused("the model is closed")
                self._process = _Process(self._order)
            return self._process
        except OSError as error:
            raise Unavailable(f"the model's process cannot be started: {error}") from error
        finally:
            self._starting.release()

    def _pause(self, dead: _Process, deadline: float | None) -> None:
        """After several deaths in a row wait a little; after too many, raise."""
        if dead is not self._mourned:
            self._mourned = dead
            self._deaths = 1 if dead.answered else self._deaths + 1
            pause = _FIRST_PAUSE_S * 2 ** (self._deaths - 2) if self._deaths > 1 else 0.0
            self._not_before = time.monotonic() + (pause if self._deaths < _GIVE_UP else _REST_S)
        wait = self._not_before - time.monotonic()
        if wait <= 0:
            return
        if self._deaths >= _GIVE_UP:
            raise Unavailable(
                f"{dead.reason}; that was the {self._deaths}th time in a row without one answer: see `rapport doctor`"
            )
        timeout = _left(deadline)
        self._closing.wait(wait if timeout is None else min(wait, timeout))


class _Process:
    """One process from its start to its end. Refers to nobody that asks, so that they can be forgotten."""

    def __init__(self, order: Body) -> None:
        self.answered = False
        """Whether it has given one whole answer."""
        self.reason = ""
        """Why it ended; known once it has."""
        self._about: Future[Body] = Future()
        self._lock = threading.RLock()  # guards reason, _calls; re-entrant, because a finalizer may run anywhere
        self._calls: dict[int, _Call] = {}
        self._numbers = itertools.count(OPENING + 1)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            self._popen = subprocess.Popen(
                _command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
                env=_environment(),
            )
        except BaseException:
            self._stderr.close()
            raise
        assert self._popen.stdin
        assert isinstance(self._popen.stdout, io.RawIOBase)
        self._frames = Frames(io.BufferedReader(self._popen.stdout), self._popen.stdin)
        self._reader = threading.Thread(target=self._read, name="llm-reader", daemon=True)
        self._reader.start()
        self._send(order)

    def about(self, timeout: float | None) -> Body:
        """What the model says of itself once it is open. Raises SetupError, Unavailable, TimedOut."""
        try:
            return self._about.result(timeout)
        except FutureTimeout:
            raise TimedOut("the model was still being started") from None

    def is_open(self) -> bool:
        return self._about.done() and not self.has_ended()

    def has_ended(self) -> bool:
        return bool(self.reason)

    def begin(self, body: Body, deadline: float | None) -> _Call | None:
        """Send a request; None when the process has ended without having received it. Raises Refused."""
        call = _Call(self, next(self._numbers), deadline)
        with self._lock:
            if self.reason:
                return None
            self._calls[call.number] = call
        try:
            sent = self._send({"id": call.number, **body})
        except ValueError as error:
            self._calls.pop(call.number, None)
            raise Refused(str(error)) from error
        if not sent:
            self._reader.join()
            return None
        return call

    def cancel(self, call: _Call) -> None:
        if not call.ended.is_set():
            self._send({"id": call.number, "do": "cancel"})

    def watch(self, call: _Call) -> None:
        """See to it that a process which does not even end an overdue request is killed."""

        def wait() -> None:
            if not call.ended.wait(_STUCK_S):
                self._end("the model's process was stuck and was killed")

        threading.Thread(target=wait, name="llm-watch", daemon=True).start()

    def close(self, reason: str) -> None:
        """Kill it: there is nothing that it would have to bring to an end."""
        self._end(reason)
        if threading.current_thread() is not self._reader:
            self._reader.join(_REAPED_S)

    def _send(self, body: Body) -> bool:
        """False when there is nobody to send it to. Raises ValueError when it is too large."""
        try:
            self._frames.send(body)
        except OSError:
            return False
        except ValueError:
            raise
        except BaseException:
            # An interrupt may have torn the frame, and then all that follows it would be garbage.
            self._popen.kill()
            raise
        return True

    # -- in the thread that reads

    def _read(self) -> None:
        fault = ""
        try:
            while True:
                self._take(self._frames.receive())
        except EOFError:
            pass
        except (ValueError, KeyError, TypeError, IndexError):
            fault = "the model's process sent what cannot be read"
            self._popen.kill()
        self._reap()
        self._end(fault or self._obituary())
        self._frames.close()
        self._stderr.close()

    def _take(self, body: Body) -> None:
        number, error = body["id"], body.get("error")
        if number == OPENING:
            self._open(body)
            return
        with self._lock:
            call = self._calls.get(number) if "piece" in body else self._calls.pop(number, None)
        if call is None:
            return
        self.answered |= any(kind in body for kind in ("completions", "end", "scores"))
        if "piece" not in body:
            call.ended.set()  # first: who has the last frame need not cancel
        call.frames.put(_ERRORS.get(error[0], Unavailable)(error[1]) if error else body)

    def _open(self, body: Body) -> None:
        if error := body.get("error"):
            self._end(error[1], SetupError)
            return
        with self._lock:
            if not self.reason:
                self._about.set_result(body["about"])

    def _reap(self) -> None:
        try:
            self._popen.wait(_REAPED_S)
        except subprocess.TimeoutExpired:  # it closed its stream and lives on
            self._popen.kill()
            self._popen.wait()

    def _end(self, reason: str, kind: type[RapportError] = Unavailable) -> None:
        """Tell everybody who waits; the first reason counts. `kind`: what those get who wait for the opening."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
            calls = list(self._calls.values())
            self._calls.clear()
            if not self._about.done():
                self._about.set_exception(kind(reason))
        self._popen.kill()
        for call in calls:
            call.ended.set()
            call.frames.put(Unavailable(reason))

    def _obituary(self) -> str:
        code = self._popen.returncode
        how = _signal_name(-code) if code < 0 else f"exit code {code}"
        words = [f"the model's process ended: {how}"]
        if last := self._last_words():
            words.append(f" ({last})")
        if advice := _ADVICE.get(how):
            words.append(f"; {advice}")
        return "".join(words)

    def _last_words(self) -> str:
        """The last line that it printed, e.g. the assertion of llama.cpp that failed."""
        end = self._stderr.seek(0, io.SEEK_END)
        self._stderr.seek(max(0, end - _LAST_WORDS))
        lines = self._stderr.read().decode("utf-8", "replace").split("\n")
        printed = ["".join(filter(str.isprintable, line)).strip() for line in lines]
        return next((line[:200] for line in reversed(printed) if line), "")


def _command() -> list[str]:
    # Not by multiprocessing, which would import the program's main module once more.
    return [sys.executable, "-P", "-m", "agent.llm.worker"]


def _environment() -> dict[str, str]:
    """Where the process finds the modules that this one has found, wherever it is started."""
    root = str(Path(agent.__file__).parents[1])
    path = [folder for folder in sys.path if folder]
    if root not in path:
        path.insert(0, root)
    # llama.cpp would call a debugger when it aborts, and everybody would wait for it.
    return os.environ | {"PYTHONPATH": os.pathsep.join(path), "GGML_NO_BACKTRACE": "1"}


def _rows(chat: Chat) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in chat]


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _left(deadline: float | None, more_s: float = 0.0) -> float | None:
    return None if deadline is None else max(0.0, deadline + more_s - time.monotonic())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
