"""How the next token is picked from a model's logits; knows tokens and grammars, no text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from agent.llm.scheduler import Logits

if TYPE_CHECKING:
    from agent.llm.native import Grammar

_LIKELIEST = 256
_MIN_P = 0.05
_SELF_DELIMITING = (b"}", b"]", b'"')

Choice = Callable[[Logits], int]


class Pick:
    """Greedy at temperature 0, else sampled; with a `grammar`, only what it allows.

    Sampling leaves out tokens less than 0.05 times as likely as the likeliest (min-p, Nguyen et al. 2024): the long
    tail of a small model is noise. The same seed and logits give the same tokens.
    """

    def __init__(
        self,
        *,
        ends: frozenset[int],
        piece: Callable[[int], bytes],
        temperature: float,
        seed: int,
        grammar: Grammar | None = None,
    ) -> None:
        self._ends = ends
        self._piece = piece
        self._temperature = temperature
        self._random = np.random.default_rng(seed)
        self._grammar = grammar
        self._last = b""

    def pick(self, logits: Logits) -> int | None:
        token = self._greedy(logits) if self._temperature <= 0 else self._sampled(logits)
        if token is None or token in self._ends:
            return None
        if self._grammar:
            self._grammar.accept(token)
            self._last = self._piece(token)
        return token

    def complete(self) -> bool:
        """True after a bracket or quote with which the grammar ends, so that no step is spent on the end token."""
        if self._grammar is None or not self._ends or not self._last.endswith(_SELF_DELIMITING):
            return False
        return bool(self._grammar.allowed(np.array([min(self._ends)]))[0])

    def close(self) -> None:
        if self._grammar:
            self._grammar.close()

    def _greedy(self, logits: Logits) -> int | None:
        best = int(logits.argmax())
        if self._grammar is None:
            return best
        # A grammar judges each token on its own, so asking about the likeliest first gives what masking the whole
        # vocabulary gives, for a small part of the price.
        if self._grammar.allowed(np.array([best]))[0]:
            return best
        few = min(_LIKELIEST, len(logits) - 1)
        for candidates in (np.argpartition(-logits, few)[:few], np.arange(len(logits))):
            candidates = candidates[self._grammar.allowed(candidates)]
            if len(candidates):
                return int(candidates[logits[candidates].argmax()])
        return None

    def _sampled(self, logits: Logits) -> int | None:
        candidates = np.arange(len(logits))
        if self._grammar:
            candidates = candidates[self._grammar.allowed(candidates)]
            if not len(candidates):
                return None
        scaled = logits[candidates].astype(np.float64) / self._temperature
        likelihood = np.exp(scaled - scaled.max())
        likelihood[likelihood < _MIN_P] = 0.0
        return int(self._random.choice(candidates, p=likelihood / likelihood.sum()))
