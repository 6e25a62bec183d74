"""The process that holds a local model for another process: requests come in and answers go out as frames.

Started by agent.llm.isolated and by nobody else. The engine is LlamaCpp; here is only what a process of its own takes:
its streams, a thread for every request in progress, and an end when the other side is gone.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from agent.errors import RapportError, TimedOut
from agent.llm.base import Chat, Message
from agent.llm.frames import Frames

if TYPE_CHECKING:
    from agent.llm.llamacpp import LlamaCpp
    from agent.llm.scheduler import Cancel, Terms

OPENING = 0
"""The number of the request that opens the model."""
_IN_PROGRESS = 64
"""Requests of each kind that have a thread: many more than are decoded together; the others wait for one."""
_AT_ONCE = 4096
"""Characters that are tokenised in the thread that reads, because changing threads costs more; longer texts elsewhere,
because cancellations wait behind them."""

Body = dict[str, Any]


class Worker:
    """Serves one model until the other side closes its stream."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._cancels: dict[int, Cancel] = {}
        # Two pools: background requests that wait for each other must not hold up those that somebody waits for.
        self._urgent = ThreadPoolExecutor(_IN_PROGRESS, thread_name_prefix="urgent")
        self._background = ThreadPoolExecutor(_IN_PROGRESS, thread_name_prefix="background")
        self._llm: LlamaCpp
        self._methods: dict[str, Callable[[Body, Terms], Body]] = {
            "count": self._count,
            "generate": self._generate,
            "stream": self._stream,
            "choose": self._choose,
            "clear": self._clear,
            "usage": self._usage,
        }

    def run(self) -> None:
        """Open the model that the first frame names, say what it is, and serve it."""
        order = self._frames.receive()
        reader = threading.Thread(target=self._read, name="reader", daemon=True)
        # Before the model is loaded, so that a load does not outlive whom it is for.
        reader.start()
        try:
            self._llm = llm = _opened(order)
        except RapportError as error:
            self._send({"id": OPENING, "error": _told(error)})
            return
        about = {"name": llm.name, "capable": llm.capable, "context": llm.context, "gpu": llm.gpu}
        self._send({"id": OPENING, "about": about})
        reader.join()

    # -- in the thread that reads

    def _read(self) -> None:
        try:
            while True:
                self._take(self._frames.receive())
        except EOFError:
            # Also in the middle of a decode: nothing here is worth finishing for nobody.
            _end_at_once(0)
        except BaseException:  # noqa: BLE001 - it is printed, and nothing can be served without this thread
            _end_at_once(1)

    def _take(self, body: Body) -> None:
        from agent.llm.scheduler import Cancel

        number = body["id"]
        if body["do"] == "cancel":
            if cancel := self._cancels.get(number):
                cancel.set()
            return
        self._cancels[number] = Cancel()
        arrived = time.monotonic()
        if body["do"] == "count" and len(body["text"]) <= _AT_ONCE:
            self._serve(body, arrived)
        else:
            pool = self._background if body["background"] else self._urgent
            pool.submit(self._serve, body, arrived)

    # -- in the threads of the requests

    def _serve(self, body: Body, arrived: float) -> None:
        number = body["id"]
        try:
            answer = self._methods[body["do"]](body, self._terms(body, arrived))
        except RapportError as error:
            answer = {"error": _told(error)}
        except Exception as error:  # noqa: BLE001 - whatever broke, the one who waits must be told
            answer = {"error": ["Unavailable", f"the model failed: {error!r}"]}
        del self._cancels[number]
        self._send({"id": number, **answer})

    def _terms(self, body: Body, arrived: float) -> Terms:
        from agent.llm.scheduler import Terms

        timeout_s = body["timeout_s"]
        if timeout_s is not None and (timeout_s := timeout_s - (time.monotonic() - arrived)) <= 0:
            raise TimedOut("the deadline passed before there was a thread for the request")
        return Terms(background=body["background"], timeout_s=timeout_s, cancel=self._cancels[body["id"]])

    def _count(self, body: Body, _: Terms) -> Body:
        return {"count": self._llm.count_tokens(body["text"])}

    def _generate(self, body: Body, terms: Terms) -> Body:
        done = self._llm.generate(
            [_chat(one) for one in body["chats"]],
            schema=body["schema"],
            max_tokens=body["max_tokens"],
            temperature=body["temperature"],
            seed=body["seed"],
            terms=terms,
        )
        return {"completions": [asdict(one) for one in done]}

    def _stream(self, body: Body, terms: Terms) -> Body:
        pieces = self._llm.stream(
            _chat(body["chat"]),
            max_tokens=body["max_tokens"],
            temperature=body["temperature"],
            seed=body["seed"],
            terms=terms,
        )
        for piece in pieces:
            self._send({"id": body["id"], "piece": piece})
        return {"end": True}

    def _choose(self, body: Body, terms: Terms) -> Body:
        return {"scores": self._llm.choose([_chat(one) for one in body["chats"]], body["choices"], terms=terms)}

    def _clear(self, body: Body, _: Terms) -> Body:
        self._llm.clear()
        return {"cleared": True}

    def _usage(self, body: Body, _: Terms) -> Body:
        return {"usage": asdict(self._llm.usage()), "peak_memory": peak_memory()}

    def _send(self, answer: Body) -> None:
        try:
            self._frames.send(answer)
        except OSError:
            _end_at_once(0)  # nobody is there any more


def main() -> None:
    # Ctrl-C in a terminal reaches the whole group; what it means is decided by the process that people see.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _no_core_file()
    try:
        Worker(Frames(*_streams())).run()
    except BaseException:  # noqa: BLE001 - it is printed
        _end_at_once(1)
    _end_at_once(0)


def peak_memory() -> int:
    """Bytes that this process held at most; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _opened(order: Body) -> LlamaCpp:
    from agent.llm.llamacpp import LlamaCpp

    return LlamaCpp(
        Path(order["path"]),
        context=order["context"],
        threads=order["threads"],
        gpu_layers=order["gpu_layers"],
        name=order["name"],
    )


def _streams() -> tuple[BinaryIO, BinaryIO]:
    """What came as standard input and output, out of reach of native code that prints: that goes to standard error."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return open(source, "rb"), io.FileIO(sink, "wb")


def _no_core_file() -> None:
    """A core file would hold people's prompts, and take seconds to write."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _chat(rows: list[list[Any]]) -> Chat:
    return [Message(role, content) for role, content in rows]


def _told(error: RapportError) -> list[str]:
    return [type(error).__name__, str(error)]


def _end_at_once(code: int) -> NoReturn:
    """Without waiting for threads in native code; an exception that is being handled goes to standard error."""
    if code:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
