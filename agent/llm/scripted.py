"""Models that are functions: one that answers what a function says, and the one that is not there.

Stands beside the real ones: for tests, for demonstrations, and for running on templates alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from agent.errors import Unavailable
from agent.llm.base import Chat, Completion, Message, Schema
from agent.llm.tokens import estimate_prompt, estimate_tokens, refuse_overflow

_CHARACTERS_PER_TOKEN = 4
_STREAM_PIECE = 8  # characters


@dataclass(frozen=True, slots=True)
class Call:
    """What a scripted model was asked."""

    method: Literal["generate", "stream", "choose"]
    chat: tuple[Message, ...]
    schema: Schema | None = None
    choices: tuple[str, ...] = ()
    max_tokens: int = 0
    temperature: float = 0.0
    seed: int = 0


class Scripted:
    """A model whose answer is `reply(chat)`.

    `reply` returns the text, which is cut at `max_tokens` (four characters each) as a real model's would be, or a
    whole `Completion`, which is passed on untouched; what it raises is raised. It does not see the schema: a script
    that answers badly is the point. `choose(chat, choices)` returns any scores, higher is likelier, which are
    normalised as log-probabilities; without it every choice is equally likely. `calls` remembers every question.
    """

    def __init__(
        self,
        reply: Callable[[Chat], str | Completion],
        choose: Callable[[Chat, Sequence[str]], Sequence[float]] | None = None,
        name: str = "scripted",
        *,
        capable: bool = False,
        context: int = 4096,
    ) -> None:
        self.name = name
        self.capable = capable
        self.context = context
        self.calls: list[Call] = []
        self._reply = reply
        self._choose = choose

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
        for chat in chats:
            self._check(chat, max_tokens)
        completions = []
        for chat in chats:
            self.calls.append(Call("generate", tuple(chat), schema, (), max_tokens, temperature, seed))
            completions.append(self._complete(chat, max_tokens))
        return completions

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        self._check(chat, max_tokens)
        self.calls.append(Call("stream", tuple(chat), None, (), max_tokens, temperature, seed))
        text = self._complete(chat, max_tokens).text
        yield from (text[start : start + _STREAM_PIECE] for start in range(0, len(text), _STREAM_PIECE))

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        for chat in chats:
            self._check(chat, 1)
        rows = []
        for chat in chats:
            self.calls.append(Call("choose", tuple(chat), None, tuple(choices)))
            scores = self._choose(chat, choices) if self._choose else [0.0] * len(choices)
            rows.append(normalised(scores))
        return rows

    def in_background(self) -> Scripted:
        return self

    def clear(self) -> None:
        """Nothing is kept but `calls`, which are the test's own."""

    def close(self) -> None:
        """Nothing to free."""

    def _check(self, chat: Chat, max_tokens: int) -> None:
        refuse_overflow(estimate_prompt(message.content for message in chat), max_tokens, self.context)

    def _complete(self, chat: Chat, max_tokens: int) -> Completion:
        reply = self._reply(chat)
        if isinstance(reply, Completion):
            return reply
        text = reply[: max_tokens * _CHARACTERS_PER_TOKEN]
        return Completion(
            text=text,
            finish="stop" if text == reply else "length",
            prompt_tokens=estimate_prompt(message.content for message in chat),
            completion_tokens=-(-len(text) // _CHARACTERS_PER_TOKEN),
            ms=0.0,
        )


class NoModel:
    """The model of the spec `none`: whatever it is asked it is unavailable, so that callers answer by template."""

    name = "none"
    capable = False
    context = 0

    def count_tokens(self, text: str) -> int:
        _no_model()

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        _no_model()

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        _no_model()

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        _no_model()

    def in_background(self) -> NoModel:
        return self

    def clear(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing to free."""


def normalised(scores: Sequence[float]) -> list[float]:
    """`scores` shifted so that their exponentials sum to 1; the choice between nothing is empty.

    >>> [round(math.exp(score), 2) for score in normalised([0.0, math.log(3)])]
    [0.25, 0.75]
    """
    if not scores:
        return []
    top = max(scores)
    total = top + math.log(sum(math.exp(score - top) for score in scores))
    return [score - total for score in scores]


def _no_model() -> NoReturn:
    raise Unavailable("no model is configured: templates answer")
