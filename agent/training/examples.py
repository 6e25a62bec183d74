"""What a model is trained on and measured with: a question in the product's own words, and what it should answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.ask import chat_of, template_of
from agent.llm.base import Message
from agent.types import Language

Skill = Literal["wording", "reading", "judging"]
ELSEWHERE = 500_000
"""Added to a seed for other facts than those that are trained on."""


@dataclass(frozen=True, slots=True)
class Example:
    """One question as the product asks it, and the answer."""

    prompt: str
    """Name of the prompt, e.g. "persona"."""
    inputs: Mapping[str, Any]
    answer: str
    options: tuple[str, ...] = ()
    """What the model chooses from by probability; empty where it writes freely."""
    group: str = ""
    """The catalogue or kind that it comes from, for results by group."""
    language: Language = "en"
    problems: Callable[[str], list[str]] | None = field(default=None, compare=False, repr=False)
    """What the product's checks say of another answer; None where it is chosen."""

    def chat(self) -> list[Message]:
        """The very messages that the product sends."""
        return chat_of(template_of(self.prompt, self.language), self.inputs)


@dataclass(frozen=True, slots=True)
class Examples:
    """What to train on, what to stop by, and what is held back to measure with."""

    training: tuple[Example, ...]
    watched: tuple[Example, ...]
    """Other facts in sentences of the plans that are trained on. A model that writes well in its own way finds another
    plan's words less and less likely, so those would stop it too early."""
    held: tuple[Example, ...]
    """Other facts, of kinds of catalogue and in sentences of plans that training never shows."""

    def prompts(self) -> tuple[str, ...]:
        """Ids of the prompts that occur, with version and hash: an adapter is for these."""
        everything = (*self.training, *self.held)
        return tuple(sorted({template_of(one.prompt, one.language).id for one in everything}))


def grams(texts: Iterable[str], n: int) -> Iterator[tuple[str, ...]]:
    """Every run of `n` words of each text, lower case."""
    for text in texts:
        words = text.lower().split()
        yield from zip(*(words[start:] for start in range(n)), strict=False)


def distinct(texts: Sequence[str], n: int) -> float:
    """Different runs of `n` words per run, 0 to 1. Source: distinct-n, Li et al. 2016.

    >>> distinct(["a b a b"], 2)
    0.6666666666666666
    """
    found = list(grams(texts, n))
    return len(set(found)) / len(found) if found else 0.0


def novelty(texts: Sequence[str], known: Sequence[str], n: int = 4) -> float:
    """Share of runs of `n` words in `texts` that occur nowhere in `known`, 0 to 1."""
    seen = set(grams(known, n))
    found = list(grams(texts, n))
    return sum(one not in seen for one in found) / len(found) if found else 0.0


def mixed(parts: Sequence[Sequence[Example]], seed: int) -> tuple[Example, ...]:
    """All examples in an order of chance, the same for the same seed."""
    everything = [one for part in parts for one in part]
    random.Random(f"order {seed}").shuffle(everything)
    return tuple(everything)
