"""What a model answered in a job that is not finished, written down at once, so that no call is paid for twice.

Stands between a profile and its model. Knows neither prompts nor jobs; the store keeps what it writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, TypeVar

from agent.errors import CallFailed, CallRefused, CallUnavailable, LLMError, Refused, Unavailable
from agent.history.store import Store
from agent.llm.base import LLM, Chat, Completion, Schema
from agent.llm.wrapped import Wrapped

FORMAT = 1
"""Of what is written down; answers of another format are not found."""

Answer = TypeVar("Answer")


class Journal(Wrapped[LLM]):
    """`llm` for one person's job: what it answered before is read from `store`, what it answers is kept there.

    An LLMError becomes a CallFailed, so that no profile is written by template because the model failed:
    CallUnavailable where waiting helps, CallRefused where it does not; `reason` names the LLMError.
    """

    def __init__(self, llm: LLM, store: Store, user: str) -> None:
        super().__init__(llm)
        self._store = store
        self._user = user

    def count_tokens(self, text: str) -> int:
        with calls_failed():
            return super().count_tokens(text)

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        how = {"schema": schema, "max_tokens": max_tokens, "temperature": temperature, "seed": seed}

        def ask(missing: Sequence[Chat]) -> list[Completion]:
            return self.llm.generate(missing, schema=schema, max_tokens=max_tokens, temperature=temperature, seed=seed)

        return self._answered(chats, {"method": "generate", **how}, ask, written, read)

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        """The completion in one piece: nobody watches a job."""
        yield self.generate([chat], max_tokens=max_tokens, temperature=temperature, seed=seed)[0].text

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        def ask(missing: Sequence[Chat]) -> list[list[float]]:
            return self.llm.choose(missing, choices)

        return self._answered(chats, {"method": "choose", "choices": list(choices)}, ask, json.dumps, json.loads)

    def _answered(
        self,
        chats: Sequence[Chat],
        how: dict[str, Any],
        ask: Callable[[Sequence[Chat]], Sequence[Answer]],
        write: Callable[[Answer], str],
        parse: Callable[[str], Answer],
    ) -> list[Answer]:
        asked = {key(self.name, chat, how): chat for chat in chats}
        kept = self._store.answers_to(self._user, asked)
        missing = [one for one in asked if one not in kept]
        if missing:
            with calls_failed():
                answers = ask([asked[one] for one in missing])
            fresh = {one: write(answer) for one, answer in zip(missing, answers, strict=True)}
            self._store.keep_answers({(self._user, one): body for one, body in fresh.items()})
            kept |= fresh
        return [parse(kept[key(self.name, chat, how)]) for chat in chats]


def key(model: str, chat: Chat, how: dict[str, Any]) -> str:
    """The same for the same question to the same model, on every machine."""
    asked = [FORMAT, model, [[message.role, message.content] for message in chat], how]
    return blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=20).hexdigest()


def written(done: Completion) -> str:
    kept = {
        "text": done.text,
        "finish": done.finish,
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "ms": done.ms,
    }
    return json.dumps(kept)


def read(body: str) -> Completion:
    return Completion(**json.loads(body))


@contextmanager
def calls_failed() -> Iterator[None]:
    """Turns an LLMError into the CallFailed that it means."""
    try:
        yield
    except LLMError as error:
        raise failure(error)(str(error), type(error).__name__) from error


def failure(error: LLMError) -> type[CallFailed]:
    if isinstance(error, Unavailable):
        return CallUnavailable
    return CallRefused if isinstance(error, Refused) else CallFailed
