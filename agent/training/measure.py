"""How well a served model answers examples that were held back: the same questions before training and after.

Asks through the engine that serves, never through PyTorch. Knows examples; trains nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from agent.grounding.check import plain
from agent.llm.base import LLM
from agent.training.examples import Example, distinct, novelty

MAX_TOKENS = {"persona": 90, "reason": 60}
"""As the product asks: agent/persona/writing.py, agent/recommend/explain.py."""


@dataclass(frozen=True, slots=True)
class Written:
    """Answers to one prompt in free words."""

    prompt: str
    asked: int
    passed: float
    """Share that passes every check of the product at the first try, 0 to 1."""
    distinct: tuple[float, float, float]
    """Different runs of one, two and three words per run."""
    novelty: float
    """Share of runs of four words that no training answer has."""
    recited: float
    """Share that is a training answer word for word."""
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Answers to one prompt by choice."""

    prompt: str
    asked: int
    accuracy: float
    macro_f1: float
    """Mean F1 of the answers that occur, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Measured:
    written: tuple[Written, ...]
    chosen: tuple[Chosen, ...]

    def lines(self) -> list[str]:
        """One line a prompt."""
        return [
            *(
                f"{one.prompt}: {one.passed:.0%} of {one.asked} pass at the first try, "
                f"distinct 1/2/3 {'/'.join(f'{value:.2f}' for value in one.distinct)}, "
                f"{one.novelty:.0%} of four-word runs new, {one.recited:.0%} recited"
                for one in self.written
            ),
            *(
                f"{one.prompt}: accuracy {one.accuracy:.3f}, macro-F1 {one.macro_f1:.3f} of {one.asked}"
                for one in self.chosen
            ),
        ]


def measure(llm: LLM, held: Sequence[Example], training: Sequence[Example], samples: int = 6) -> Measured:
    """What `llm` makes of `held`. `training`: what its answers may repeat. Raises LLMError."""
    by_prompt: defaultdict[str, list[Example]] = defaultdict(list)
    for one in held:
        by_prompt[one.prompt].append(one)
    written, chosen = [], []
    for prompt, mine in sorted(by_prompt.items()):
        if mine[0].options:
            chosen.append(choose(llm, prompt, mine))
        else:
            known = [one.answer for one in training if one.prompt == prompt]
            written.append(write(llm, prompt, mine, known, samples))
    return Measured(tuple(written), tuple(chosen))


def write(llm: LLM, prompt: str, mine: Sequence[Example], known: Sequence[str], samples: int) -> Written:
    done = llm.generate([one.chat() for one in mine], max_tokens=MAX_TOKENS.get(prompt, 120))
    texts = [plain(one.text) for one in done]
    good = sum(
        each.finish != "length" and not (one.problems(text) if one.problems else [])
        for one, each, text in zip(mine, done, texts, strict=True)
    )
    return Written(
        prompt,
        len(mine),
        good / len(mine),
        (distinct(texts, 1), distinct(texts, 2), distinct(texts, 3)),
        novelty(texts, known),
        sum(text in set(known) for text in texts) / len(texts),
        tuple(texts[:samples]),
    )


def choose(llm: LLM, prompt: str, mine: Sequence[Example]) -> Chosen:
    """The likeliest option of each. Options may differ from question to question."""
    by_options: defaultdict[tuple[str, ...], list[Example]] = defaultdict(list)
    for one in mine:
        by_options[one.options].append(one)
    pairs: list[tuple[str, str]] = []
    for options, alike in sorted(by_options.items()):
        for one, row in zip(alike, llm.choose([one.chat() for one in alike], options), strict=True):
            pairs.append((one.answer, options[row.index(max(row))]))
    return Chosen(prompt, len(pairs), sum(a == b for a, b in pairs) / len(pairs), macro_f1(pairs))


def macro_f1(pairs: Sequence[tuple[str, str]]) -> float:
    """Mean over the right answers that occur of F1 = 2 hits / (said + due). `pairs`: (right, said).

    >>> round(macro_f1([("a", "a"), ("a", "b"), ("b", "b")]), 3)
    0.667
    """
    right = sorted({one for one, _ in pairs})
    scores = []
    for answer in right:
        hits = sum(one == said == answer for one, said in pairs)
        scores.append(2 * hits / (sum(one == answer for one, _ in pairs) + sum(said == answer for _, said in pairs)))
    return sum(scores) / len(scores) if scores else 0.0
