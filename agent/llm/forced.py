"""What a grammar leaves no choice about, as tokens; knows grammars and tokenizers, no schema and no model.

The grammar itself is asked, one character at a time, so there is no second reading of it that could disagree.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, Self

import numpy as np

from agent.llm.decoder import Tokens
from agent.llm.prefixes import common

ASCII = string.printable.strip() + " "
"""The visible characters of ASCII and the space: all that JSON is written with but for what its strings hold."""
_LONGEST = 256  # characters; a schema that refers to itself without an end forces text without an end
_FEW = 8
_TYPICAL = "aetsAT1"  # beginnings of free text


class Grammar(Protocol):
    """A grammar and how far into it an answer is (native.Grammar)."""

    def allowed(self, tokens: np.ndarray) -> np.ndarray: ...

    def accept(self, token: int) -> None: ...

    def clone(self) -> Self: ...

    def close(self) -> None: ...


class Forcer:
    """Finds the tokens that must come next in answers under one grammar.

    `characters`: everything that may stand where the grammar leaves no choice; where it allows others, it must allow
    two of these as well (free text does). `ends`: the tokens that end an answer.

    Text is cut into tokens as it would be before each of the characters that may follow: a token that depends on what
    follows is left to the model. After `: ` it would have to write `true` without the space that belongs to its token
    ` true`, which models rarely see.
    """

    def __init__(
        self,
        *,
        tokenise: Callable[[str], list[int]],
        piece: Callable[[int], bytes],
        characters: Iterable[str],
        ends: frozenset[int],
    ) -> None:
        self._tokenise = tokenise
        self._spelled = {character: tuple(tokenise(character)) for character in sorted(set(characters))}
        # Some tokenizers put a space before every text; their tokens would not fit into the grammar.
        self._usable = bool(ends) and all(
            b"".join(map(piece, tokens)) == character.encode("utf-8", "replace")
            for character, tokens in self._spelled.items()
        )
        self._probes = np.array([min(ends, default=0), *(tokens[0] for tokens in self._spelled.values())])
        self._characters = tuple(self._spelled)

    def forced(self, grammar: Grammar) -> Tokens:
        """The tokens that must come next, which `grammar` has accepted when this returns."""
        if not self._usable:
            return ()
        taken = []
        for token in self._tokens(*self._run(grammar)):
            # llama.cpp aborts the process over a token that is not allowed.
            if not grammar.allowed(np.array([token]))[0]:
                break
            grammar.accept(token)
            taken.append(token)
        return tuple(taken)

    def _run(self, grammar: Grammar) -> tuple[str, Sequence[str]]:
        """The text that must come next, and the characters of which one comes after it."""
        ways = self._ways(grammar)
        if len(ways) != 1:
            return "", ways
        text = ""
        ahead = grammar.clone()
        try:
            while len(ways) == 1 and len(text) < _LONGEST and _accepts(ahead, self._spelled[ways[0]]):
                text += ways[0]
                ways = self._ways(ahead)
        finally:
            ahead.close()
        return text, ways

    def _ways(self, grammar: Grammar) -> Sequence[str]:
        """The characters that may come next; none where the answer may also end."""
        may_end, *allowed = grammar.allowed(self._probes)
        return () if may_end else [one for one, allows in zip(self._characters, allowed, strict=True) if allows]

    def _tokens(self, text: str, ways: Sequence[str]) -> Sequence[int]:
        if not text:
            return []
        cuts = [self._tokenise(text), *(self._tokenise(text + way) for way in _typical(ways))]
        # The common beginning of all is that of the least and the greatest.
        return cuts[0][: common(min(cuts), max(cuts))]


def _accepts(grammar: Grammar, tokens: Tokens) -> bool:
    for token in tokens:
        if not grammar.allowed(np.array([token]))[0]:
            return False
        grammar.accept(token)
    return True


def _typical(ways: Sequence[str]) -> Sequence[str]:
    return ways if len(ways) <= _FEW else [way for way in ways if way in _TYPICAL]
