"""How the next token is picked from a model's logits; knows tokens and grammars, no text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agent.llm.decoder import Logits, Tokens

if TYPE_CHECKING:
    from agent.llm.forced import Forcer, Grammar

_LIKELIEST = (256, 4096)
_MIN_P = 0.1
_SELF_DELIMITING = (b"}", b"]", b'"')

Candidates = NDArray[np.intp]


class Pick:
    """Greedy at temperature 0, else sampled; with a `grammar`, only what it allows, and what `forcer` finds in it.

    Sampling leaves out tokens less than a tenth as likely as the likeliest (min-p, Nguyen et al. 2024): the long
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
        forcer: Forcer | None = None,
    ) -> None:
        self._ends = ends
        self._piece = piece
        self._temperature = temperature
        self._random = np.random.default_rng(seed)
        self._grammar = grammar
        self._forcer = forcer
        self._last = b""

    def pick(self, logits: Logits) -> int | None:
        token = self._greedy(logits) if self._temperature <= 0 else self._sampled(logits)
        if token is None or token in self._ends:
            return None
        if self._grammar:
            self._grammar.accept(token)
            self._last = self._piece(token)
        return token

    def forced(self) -> Tokens:
        """What must come next under the grammar, without asking the model; accepted by the grammar already."""
        if self._grammar is None or self._forcer is None:
            return ()
        tokens = self._forcer.forced(self._grammar)
        if tokens:
            self._last = self._piece(tokens[-1])
        return tokens

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
        if len(self._allowed(np.array([best]))):
            return best
        for candidates in _likeliest(logits):
            allowed = self._allowed(candidates)
            if len(allowed):
                return int(allowed[logits[allowed].argmax()])
        return None

    def _sampled(self, logits: Logits) -> int | None:
        for candidates in _likeliest(logits):
            allowed = self._allowed(candidates)
            if not len(allowed):
                continue
            least = logits[allowed].max() + self._temperature * math.log(_MIN_P)
            if len(candidates) == len(logits) or logits[candidates].min() < least:
                return self._drawn(logits, allowed)
        return None

    def _drawn(self, logits: Logits, candidates: Candidates) -> int:
        scaled = logits[candidates].astype(np.float64) / self._temperature
        likelihood = np.exp(scaled - scaled.max())
        likelihood[likelihood < _MIN_P] = 0.0
        return int(self._random.choice(candidates, p=likelihood / likelihood.sum()))

    def _allowed(self, candidates: Candidates) -> Candidates:
        return candidates if self._grammar is None else candidates[self._grammar.allowed(candidates)]


def _likeliest(logits: Logits) -> Iterator[Candidates]:
    """Ever more of the likeliest tokens, each time in the order of their numbers; at last all.

    A grammar judges each token on its own, so asking about the likeliest first gives what masking the whole vocabulary
    gives, for a small part of the price.
    """
    for few in _LIKELIEST:
        if few < len(logits):
            yield np.sort(np.argpartition(logits, -few)[-few:])
    yield np.arange(len(logits))
