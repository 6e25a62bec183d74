"""A model that does its work and writes down what it was asked, so that another way of asking can be timed on it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agent.llm.base import LLM, Chat, Completion, Message, Schema
from agent.llm.wrapped import Wrapped


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt: an answer of up to `max_tokens`, or the likelihood of `choices`."""

    chat: tuple[Message, ...]
    max_tokens: int = 1
    temperature: float = 0.0
    seed: int = 0
    schema: Schema | None = None
    choices: tuple[str, ...] = ()


class Recording(Wrapped[LLM]):
    """`llm`, whose questions are kept in `asked`, in the order in which they were put."""

    def __init__(self, llm: LLM, asked: list[Asked] | None = None) -> None:
        super().__init__(llm)
        self._writing = threading.Lock()
        self.asked: list[Asked] = [] if asked is None else asked

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        self._note(Asked(tuple(chat), max_tokens, temperature, seed, schema) for chat in chats)
        return super().generate(chats, schema=schema, max_tokens=max_tokens, temperature=temperature, seed=seed)

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        self._note([Asked(tuple(chat), max_tokens, temperature, seed)])
        return super().stream(chat, max_tokens=max_tokens, temperature=temperature, seed=seed)

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        self._note(Asked(tuple(chat), choices=tuple(choices)) for chat in chats)
        return super().choose(chats, choices)

    def _note(self, asked: Iterable[Asked]) -> None:
        with self._writing:
            self.asked.extend(asked)
