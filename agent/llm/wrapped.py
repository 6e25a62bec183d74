"""A model seen through something that stands before it: the base of meters, journals, recordings and views."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Generic, Self, TypeVar

from agent.llm.base import LLM, Chat, Completion, Schema

Model = TypeVar("Model", bound=LLM)


class Wrapped(Generic[Model]):
    """`llm`, passed through; a subclass says what it does otherwise. Closing it closes nothing: `llm` has an owner."""

    def __init__(self, llm: Model) -> None:
        self.llm = llm

    @property
    def name(self) -> str:
        return self.llm.name

    @property
    def capable(self) -> bool:
        return self.llm.capable

    @property
    def context(self) -> int:
        return self.llm.context

    def count_tokens(self, text: str) -> int:
        return self.llm.count_tokens(text)

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        return self.llm.generate(chats, schema=schema, max_tokens=max_tokens, temperature=temperature, seed=seed)

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        return self.llm.stream(chat, max_tokens=max_tokens, temperature=temperature, seed=seed)

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        return self.llm.choose(chats, choices)

    def in_background(self) -> LLM:
        """The same wrapping, with all that it holds, around `llm` in the background."""
        return self._around(self.llm.in_background())

    def clear(self) -> None:
        self.llm.clear()

    def close(self) -> None:
        """Nothing: the model is its owner's to close."""

    def _around(self, llm: LLM) -> LLM:
        twin: Wrapped[LLM] = copy(self)  # type: ignore[assignment]
        twin.llm = llm
        return twin


class Unasked(Wrapped[LLM]):
    """`llm` by name and measure, which is never asked: every answer is empty, every choice undecided."""

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        return [Completion("", "stop", 0, 0, 0.0) for _ in chats]

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        yield self.generate([chat], max_tokens=max_tokens, temperature=temperature, seed=seed)[0].text

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        return [[-math.log(len(choices))] * len(choices) for _ in chats]

    def in_background(self) -> Self:
        return self

    def clear(self) -> None:
        """Nothing was kept: nothing was asked."""
