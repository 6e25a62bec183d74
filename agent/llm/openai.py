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

from agent.errors import Refused, SetupError, TimedOut, Unavailable
from agent.llm import openai_wire as wire
from agent.llm.base import Chat, Completion, Schema
from agent.llm.tokens import estimate_prompt, estimate_tokens, refuse_overflow

if TYPE_CHECKING:
    import httpx2

DEFAULT_CONTEXT = 32_768
_ATTEMPTS = 2
_CONNECT_S = 5.0
_GRACE_S = 0.5
"""How much longer than the deadline the caller waits for the thread that asks, which should have noticed by itself."""
_TOP_LOGPROBS = 20  # the most that OpenAI gives
_OPTIONAL = {"temperature", "seed", "max_tokens"}
"""Parameters that some models refuse; they are left out (max_tokens: renamed) once that has happened."""

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
        import openai

        self.name = model
        self.capable = capable
        self.context = context
        self._timeout_s = timeout_s
        self._left_out: set[str] = set()
        timeout = openai.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
        try:
            self._client = openai.OpenAI(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout)
        except openai.OpenAIError as error:
            if base_url is None:
                raise SetupError("models of OpenAI need a key: set the variable OPENAI_API_KEY") from error
            # The SDK insists on a key, servers of one's own do not.
            self._client = openai.OpenAI(api_key="none", base_url=base_url, max_retries=0, timeout=timeout)
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
        extra = {"response_format": wire.response_format(schema)} if schema is not None else {}
        bodies = [self._body(chat, max_tokens, temperature, seed) | extra for chat in chats]
        return self._all([lambda body=body: self._complete(body) for body in bodies])

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        body = self._body(chat, max_tokens, temperature, seed) | {"stream": True}
        deadline = time.monotonic() + self._timeout_s
        # Only opening is retried: what was said cannot be taken back.
        response = self._retried(lambda: self._open(body, deadline), deadline)
        with wire.reading(response, deadline):
            yield from wire.stream_pieces(response.iter_bytes())

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        if not all(choices) or len(set(choices)) < len(choices):
            raise Refused(f"the choices {list(choices)} are not all different and non-empty")
        if not choices:
            return [[] for _ in chats]
        bodies = [self._body(chat, 1, 0.0, 0) for chat in chats]
        return self._all([lambda body=body: self._choose(body, choices) for body in bodies])

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

    def _body(self, chat: Chat, max_tokens: int, temperature: float, seed: int) -> dict[str, Any]:
        refuse_overflow(estimate_prompt(message.content for message in chat), max_tokens, self.context)
        return {
            "model": self.name,
            "messages": [{"role": message.role, "content": wire.sendable(message.content)} for message in chat],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
        }

    def _complete(self, body: dict[str, Any]) -> Completion:
        started = time.perf_counter()
        answer = self._answer(body)
        text = wire.content(answer)
        return Completion(
            text=text,
            finish=wire.finish(answer),
            prompt_tokens=wire.usage(answer, "prompt_tokens")
            or estimate_prompt(message["content"] for message in body["messages"]),
            completion_tokens=wire.usage(answer, "completion_tokens") or estimate_tokens(text),
            ms=(time.perf_counter() - started) * 1000,
        )

    def _choose(self, body: dict[str, Any], choices: Sequence[str]) -> list[float]:
        answer = self._answer(body | {"logprobs": True, "top_logprobs": _TOP_LOGPROBS})
        if scores := wire.scores(answer, choices):
            return scores
        schema = {"type": "object", "properties": {"answer": {"enum": list(choices)}}, "required": ["answer"]}
        room = max(map(estimate_tokens, choices)) + estimate_tokens('{"answer": ""}')
        extra = {"max_tokens": room, "response_format": wire.response_format(schema)}
        return wire.picked(wire.content(self._answer(body | extra)), choices)

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
            try:
                with wire.vendor_errors():
                    # Asked for as a stream and cast to Response, the SDK hands over the response with its body unread.
                    response: Any = self._client.post(
                        "/chat/completions",
                        cast_to=httpx2.Response,
                        body=self._accepted(body),
                        options={"timeout": openai.Timeout(remaining, connect=min(_CONNECT_S, remaining))},
                        stream=True,
                        stream_cls=openai.Stream[Any],
                    )
                    return response
            except Refused as error:
                if not self._leave_out(error.__cause__):
                    raise

    def _accepted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        sent = {name: value for name, value in body.items() if name not in self._left_out}
        if "max_tokens" in self._left_out:
            sent["max_completion_tokens"] = body["max_tokens"]
        return sent

    def _leave_out(self, error: BaseException | None) -> bool:
        """True when the provider refused a parameter that can be done without, which from now on is left out."""
        import openai

        if not isinstance(error, openai.BadRequestError) or error.param not in _OPTIONAL - self._left_out:
            return False
        self._left_out.add(error.param)
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
