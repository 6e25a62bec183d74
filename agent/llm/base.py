"""The protocol that every language model is behind. Batch first: persona tagging and reranking are batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant"]
Schema = dict[str, Any]
"""A JSON schema: an object, all properties required, flat, bounded arrays, additionalProperties false."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str
    """Data: whatever it holds, it never becomes a control token."""


Chat = Sequence[Message]


@dataclass(frozen=True, slots=True)
class Completion:
    text: str
    finish: Literal["stop", "length"]
    """length = cut off at the token limit."""
    prompt_tokens: int
    completion_tokens: int
    ms: float


class LLM(Protocol):
    """A chat model: chats in, one completion each, in the same order.

    Every method raises LLMError (Unavailable, TimedOut, Refused) and nothing of the vendor's.
    """

    @property
    def name(self) -> str:
        """What answers carry in their provenance, e.g. "SmolLM2-135M-Instruct.f16-1a2b3c4d"."""
        ...

    @property
    def capable(self) -> bool:
        """True when the model can be trusted with long lists and free structure (roughly: 3B parameters and more)."""
        ...

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may take together."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` as data, by the model's own tokenizer; an upper estimate where there is none at hand."""
        ...

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        """One completion per chat. With `schema`, decoding is constrained to it; if that cannot be done: Refused.

        A chat whose prompt plus `max_tokens` does not fit into `context` raises Refused before anything is computed.
        """
        ...

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        """The completion in pieces as they come; closing the iterator frees the model."""
        ...

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        """Per chat, the natural-log probability of each of `choices` as the whole beginning of the answer.

        Normalised over `choices` (exp sums to 1). One prompt pass, no decoding. [chats, choices].
        """
        ...

    def in_background(self) -> LLM:
        """The same model for work that nobody waits for: its requests give way to all others.

        The model itself where there is no such thing. Closing the view closes nothing.
        """
        ...

    def clear(self) -> None:
        """Drop whatever is kept of earlier prompts: somebody asked to be forgotten."""
        ...

    def close(self) -> None:
        """Free the model; using it afterwards is an error."""
        ...
