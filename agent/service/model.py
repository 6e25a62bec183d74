"""The model as a request sees it: it gives up when the request's time is over, and stops when nobody waits any more.

The terms of a request travel with its thread, so the core needs no parameter for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from agent.errors import CallUnavailable, TimedOut, Unavailable
from agent.llm.background import TakesTerms
from agent.llm.base import LLM, Chat, Completion, Schema
from agent.llm.isolated import Isolated
from agent.llm.scheduler import Cancel, Terms
from agent.llm.wrapped import Wrapped

Count = Callable[[str, str, int, int], None]
"""(method, outcome, prompt tokens, completion tokens) of a call."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one request may keep a model busy."""

    until: float
    """time.monotonic() after which the model is not asked any more."""
    cancel: Cancel = field(default_factory=Cancel)
    """Set when nobody waits for the answer."""
    background: bool = False
    """Nobody waits in the first place: a model that runs here goes on only while nobody else asks it."""

    @property
    def left_s(self) -> float:
        return self.until - time.monotonic()


_PATIENCE: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def patience(terms: Patience) -> Iterator[None]:
    """What is asked of a model inside the block, in this thread, is asked on these terms."""
    token = _PATIENCE.set(terms)
    try:
        yield
    finally:
        _PATIENCE.reset(token)


def still_wanted() -> None:
    """Raises CallUnavailable when nobody waits any more for what this thread does."""
    now = _PATIENCE.get()
    if now is not None and now.cancel.is_set:
        raise CallUnavailable("nobody waits for this answer any more", "Unavailable")


class Patient(Wrapped[LLM]):
    """`llm` on the terms of the request that asks. Closing it closes `llm`.

    When the time is over it raises TimedOut, and templates answer; when nobody waits it raises CallUnavailable, which
    no template hides, so that nothing is written down for a caller who has gone.
    """

    def __init__(self, llm: LLM, count: Count = lambda *call: None) -> None:
        super().__init__(llm)
        self._count = count

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        with self._asked("generate") as told:
            if (terms := self._terms()) is None:
                done = self.llm.generate(chats, schema=schema, **options)
            else:
                done = self._local.generate(chats, schema=schema, terms=terms, **options)
            told.append((sum(one.prompt_tokens for one in done), sum(one.completion_tokens for one in done)))
            return done

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        with self._asked("stream"):
            if (terms := self._terms()) is None:
                yield from self.llm.stream(chat, **options)
            else:
                yield from self._local.stream(chat, terms=terms, **options)

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        with self._asked("choose"):
            if (terms := self._terms()) is None:
                return self.llm.choose(chats, choices)
            return self._local.choose(chats, choices, terms=terms)

    def close(self) -> None:
        self.llm.close()

    @property
    def _local(self) -> TakesTerms:
        return cast(TakesTerms, self.llm)

    def _terms(self) -> Terms | None:
        """What a model that runs here is told; None where there is nobody to tell it to."""
        now = _PATIENCE.get()
        if now is None or not isinstance(self.llm, Isolated):
            return None
        return Terms(now.background, max(0.05, now.left_s), now.cancel)

    @contextmanager
    def _asked(self, method: str) -> Iterator[list[tuple[int, int]]]:
        now = _PATIENCE.get()
        told: list[tuple[int, int]] = []
        outcome = "ok"
        try:
            still_wanted()
            if now is not None and now.left_s <= 0:
                raise TimedOut("the request's time for models is over")
            yield told
        except GeneratorExit:
            outcome = "cancelled"
            raise
        except Unavailable as error:
            outcome = type(error).__name__
            still_wanted()
            raise
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            prompt, completion = told[0] if told else (0, 0)
            self._count(method, outcome, prompt, completion)
