"""A local model seen from work that nobody waits for: the same model, whose requests give way to all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from agent.llm.base import LLM, Chat, Completion, Schema
from agent.llm.scheduler import Terms


class TakesTerms(LLM, Protocol):
    """A language model that can be told how urgent a call is."""

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        terms: Terms | None = None,
    ) -> list[Completion]: ...

    def stream(
        self,
        chat: Chat,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        terms: Terms | None = None,
    ) -> Iterator[str]: ...

    def choose(
        self, chats: Sequence[Chat], choices: Sequence[str], *, terms: Terms | None = None
    ) -> list[list[float]]: ...

    def clear(self) -> None: ...


class Background:
    """`llm` in the background, whatever else the terms of a call say. Closing it closes nothing."""

    def __init__(self, llm: TakesTerms) -> None:
        self._llm = llm

    @property
    def name(self) -> str:
        return self._llm.name

    @property
    def capable(self) -> bool:
        return self._llm.capable

    @property
    def context(self) -> int:
        return self._llm.context

    def count_tokens(self, text: str) -> int:
        return self._llm.count_tokens(text)

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
        return self._llm.generate(
            chats,
            schema=schema,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            terms=_in_background(terms),
        )

    def stream(
        self,
        chat: Chat,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        terms: Terms | None = None,
    ) -> Iterator[str]:
        return self._llm.stream(
            chat, max_tokens=max_tokens, temperature=temperature, seed=seed, terms=_in_background(terms)
        )

    def choose(self, chats: Sequence[Chat], choices: Sequence[str], *, terms: Terms | None = None) -> list[list[float]]:
        return self._llm.choose(chats, choices, terms=_in_background(terms))

    def in_background(self) -> Background:
        return self

    def clear(self) -> None:
        self._llm.clear()

    def close(self) -> None:
        """Nothing: the model belongs to whoever opened it."""


def _in_background(terms: Terms | None) -> Terms:
    return replace(terms or Terms(), background=True)
