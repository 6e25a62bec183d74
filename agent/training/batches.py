"""Examples as tokens, packed so that what several prompts begin with is computed once.

The examples of a pack share the tokens that all of them begin with (instruction and sample answers: most of a prompt).
Each sees these and itself, never its neighbours, at the positions that it would have alone, so that loss and gradients
are those of the examples one by one. Nothing is padded.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.llm.base import Chat
from agent.training.examples import Example

PACK_TOKENS = 1600
PACK_EXAMPLES = 16


class Tokeniser(Protocol):
    """The engine's own tokenisation."""

    def prompt_tokens(self, chat: Chat) -> tuple[int, ...]:
        """What the model reads for a chat."""
        ...

    def answer_tokens(self, text: str, *, ended: bool) -> tuple[int, ...]:
        """What the model writes for an answer, with the token that ends it if `ended`."""
        ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """One example as the model meets it."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    kind: str
    """Name of the prompt: a pack holds one kind."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Several examples in one row of tokens."""

    tokens: tuple[int, ...]
    shared: int
    """How many of them all examples begin with."""
    own: tuple[int, ...]
    """How many more each example has, in turn."""
    wanted: tuple[int, ...]
    """Places after which an answer's token comes."""
    answers: tuple[int, ...]
    """Those tokens."""


def tokens_of(example: Example, tokeniser: Tokeniser) -> Tokens:
    """An answer that is chosen is not ended: only its own tokens are scored when the model answers."""
    prompt = tokeniser.prompt_tokens(example.chat())
    return Tokens(prompt, tokeniser.answer_tokens(example.answer, ended=not example.options), example.prompt)


def pack(examples: Sequence[Tokens]) -> Pack:
    """One pack of examples of one kind."""
    shortest = min(len(one.prompt) for one in examples)
    first = examples[0].prompt
    # At least one token of each prompt is its own: the one after which its answer comes.
    same = next(
        (at for at in range(shortest - 1) if any(one.prompt[at] != first[at] for one in examples)), shortest - 1
    )
    tokens, own = list(first[:same]), list[int]()
    wanted, answers = [], []
    for one in examples:
        answer_from = len(tokens) + len(one.prompt) - same
        wanted += range(answer_from - 1, answer_from - 1 + len(one.answer))
        answers += one.answer
        # The last token of an answer is never read.
        mine = (*one.prompt[same:], *one.answer)[:-1]
        tokens += mine
        own.append(len(mine))
    return Pack(tuple(tokens), same, tuple(own), tuple(wanted), tuple(answers))


def packs(
    examples: Sequence[Tokens], seed: int, *, tokens: int = PACK_TOKENS, most: int = PACK_EXAMPLES
) -> Iterator[Pack]:
    """All examples once, in an order of chance; packs of one kind each, the kinds mixed."""
    rng = random.Random(f"packs {seed}")
    by_kind: dict[str, list[Tokens]] = {}
    for one in examples:
        by_kind.setdefault(one.kind, []).append(one)
    groups: list[list[Tokens]] = []
    for kind in sorted(by_kind):
        mine = by_kind[kind]
        rng.shuffle(mine)
        same = shared_by_all(mine)
        room, group = tokens - same, list[Tokens]()
        for one in mine:
            own = len(one.prompt) + len(one.answer) - same
            if group and (own > room or len(group) == most):
                groups.append(group)
                room, group = tokens - same, []
            group.append(one)
            room -= own
        groups.append(group)
    rng.shuffle(groups)
    return (pack(group) for group in groups)


def shared_by_all(examples: Sequence[Tokens]) -> int:
    """How many tokens all prompts begin with."""
    least, greatest = min(one.prompt for one in examples), max(one.prompt for one in examples)
    return next((at for at, (a, b) in enumerate(zip(least, greatest, strict=False)) if a != b), len(least))
