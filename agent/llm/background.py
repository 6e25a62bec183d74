"""A local model seen from work that nobody waits for: the same model, whose requests give way to all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from agent.llm.base import LLM, Chat, Completion, Schema
from agent.llm.scheduler import Terms
from agent.llm.wrapped import Wrapped


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


class Background(Wrapped[TakesTerms]):
    """`llm` in the background, whatever else the terms of a call say."""

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
        return self.llm.generate(
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
        return self.llm.stream(
            chat, max_tokens=max_tokens, temperature=temperature, seed=seed, terms=_in_background(terms)
        )

    def choose(self, chats: Sequence[Chat], choices: Sequence[str], *, terms: Terms | None = None) -> list[list[float]]:
        return self.llm.choose(chats, choices, terms=_in_background(terms))

    def in_background(self) -> Background:
        return self


def _in_background(terms: Terms | None) -> Terms:
    return replace(terms or Terms(), background=True)
