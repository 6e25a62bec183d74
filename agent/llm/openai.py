"""A model behind an OpenAI-compatible API: hosted, vLLM, llama-server, Ollama; sends and retries, reads nothing itself.

One retry layer (the SDK's own is off) under one deadline per request. What comes back is read by `openai_wire`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Any, TypeVar

from agent.errors import Refused, TimedOut, Unavailable
from agent.llm import openai_wire as wire
from agent.llm.base import Chat, Completion, Schema
from agent.llm.tokens import estimate_tokens

if TYPE_CHECKING:
    import httpx2

DEFAULT_CONTEXT = 32_768
_ATTEMPTS = 2
_GRACE_S = 0.5
"""How much longer than the deadline the caller waits for the thread that asks, which should have noticed by itself."""

Result = TypeVar("Result")


class OpenAI:
    """The chat model `model` at `base_url`, by default OpenAI's own.

    `api_key`: by default the variable OPENAI_API_KEY; servers of your own usually need none. `timeout_s`: for one
    request from sending to the last byte, retry included. `concurrency`: requests in flight at a time. `context`:
    tokens of prompt and answer together; counted by estimate, so the provider may still refuse what passed here.
    `capable`: whether the model can be trusted with long lists.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        concurrency: int = 4,
        *,
        context: int = DEFAULT_CONTEXT,
        capable: bool = True,
    ) -> None:
        self.name = model
        self.capable = capable
        self.context = context
        self._timeout_s = timeout_s
        self._left_out = set(() if base_url else wire.OPENAIS_OWN)
        self._client = wire.client(base_url, api_key, timeout_s)
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="openai")

    def count_tokens(self, text: str) -> int:
        return estimate_tokens(text)

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        bodies = [
            wire.question(
                self.name,
                chat,
                self.context,
                schema=schema,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            )
            for chat in chats
        ]
        return self._all([lambda body=body: self._complete(body) for body in bodies])

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        body = wire.question(self.name, chat, self.context, max_tokens=max_tokens, temperature=temperature, seed=seed)
        body["stream"] = True
        deadline = time.monotonic() + self._timeout_s
        # Only opening is retried: what was said cannot be taken back.
        response = self._retried(lambda: self._open(body, deadline), deadline)
        with wire.reading(response, deadline):
            yield from wire.stream_pieces(response.iter_bytes())

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        wire.refuse_choices(choices)
        if not choices:
            return [[] for _ in chats]
        bodies = [wire.question(self.name, chat, self.context, max_tokens=1) for chat in chats]
        return self._all(
            [lambda body=body: wire.choose(body, choices, self._answer, self._left_out) for body in bodies]
        )

    def in_background(self) -> OpenAI:
        """The same client without precedence for anybody: providers know no such thing."""
        return _View(self)

    def clear(self) -> None:
        """Nothing is kept here; what the provider keeps is a matter of its contract."""

    def close(self) -> None:
        """Close the connections; requests that wait are Refused, those in flight end in Unavailable."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    # -- many questions

    def _all(self, questions: Sequence[Callable[[], Result]]) -> list[Result]:
        """Ask at most `concurrency` at a time; the first failure ends what has not begun."""
        asked = [self._begin(question) for question in questions]
        try:
            return [self._wait(started, future) for started, future in asked]
        finally:
            for _, future in asked:
                future.cancel()

    def _begin(self, question: Callable[[], Result]) -> tuple[threading.Event, Future[Result]]:
        started = threading.Event()

        def run() -> Result:
            started.set()
            return question()

        try:
            future = self._pool.submit(run)
        except RuntimeError as error:
            raise Refused("the model is closed") from error
        future.add_done_callback(lambda _: started.set())
        return started, future

    def _wait(self, started: threading.Event, future: Future[Result]) -> Result:
        started.wait()
        try:
            return future.result(timeout=self._timeout_s + _GRACE_S)
        except FutureTimeout as error:
            # A look-up of a name, or headers that trickle in, can hold a thread beyond every timeout of the SDK.
            raise TimedOut(f"no answer within {self._timeout_s:g} s") from error
        except CancelledError as error:
            raise Refused("the model is closed") from error

    # -- one question

    def _complete(self, body: dict[str, Any]) -> Completion:
        started = time.perf_counter()
        answer = self._answer(body)
        return wire.completion(answer, body, (time.perf_counter() - started) * 1000)

    def _answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + self._timeout_s

        def attempt() -> dict[str, Any]:
            response = self._open(body, deadline)
            with wire.reading(response, deadline):
                return wire.parsed(response.iter_bytes())

        return self._retried(attempt, deadline)

    def _open(self, body: Mapping[str, Any], deadline: float) -> httpx2.Response:
        """Send `body`; the response when its headers have come."""
        import httpx2
        import openai

        while True:
            if self._client.is_closed():
                raise Refused("the model is closed")
            remaining = max(deadline - time.monotonic(), 0.001)
            sent = wire.accepted(body, self._left_out)
            try:
                with wire.vendor_errors():
                    # Asked for as a stream and cast to Response, the SDK hands over the response with its body unread.
                    response: Any = self._client.post(
                        "/chat/completions",
                        cast_to=httpx2.Response,
                        body=sent,
                        options={"timeout": openai.Timeout(remaining, connect=min(wire.CONNECT_S, remaining))},
                        stream=True,
                        stream_cls=openai.Stream[Any],
                    )
                    return response
            except Refused as error:
                if not self._leave_out(error.__cause__, sent):
                    raise

    def _leave_out(self, error: BaseException | None, sent: Mapping[str, Any]) -> bool:
        """True when the provider refused a parameter that can be done without, which from now on is left out.

        Judged by what was sent: of requests side by side, another may have met the same refusal first.
        """
        import openai

        refused = error.param if isinstance(error, openai.BadRequestError) else None
        if refused not in wire.OPTIONAL.intersection(sent):
            return False
        self._left_out.add(refused)
        return True

    def _retried(self, attempt: Callable[[], Result], deadline: float) -> Result:
        for _ in range(_ATTEMPTS - 1):
            try:
                return attempt()
            except Unavailable as error:
                pause = wire.retry_after_s(error.__cause__)
                if time.monotonic() + pause >= deadline:
                    raise
                time.sleep(pause)
        return attempt()


class _View(OpenAI):
    """A model that belongs to somebody else."""

    def __init__(self, llm: OpenAI) -> None:
        vars(self).update(vars(llm))

    def close(self) -> None:
        """Nothing: it belongs to whoever opened it."""
