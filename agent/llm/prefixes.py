"""Beginnings of prompts that stay computed, so that requests which begin alike do not compute them again.

Knows tokens and a decoder's sequences; knows nothing of requests. The prefixes have the first sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.llm.decoder import Decoder, Tokens

KEPT = 4
"""Prefixes that are held: about the number of prompts that take turns in a pipeline."""
WORTH_KEEPING = 16
"""Tokens; a shorter common beginning is cheaper to compute than to manage."""


@dataclass(eq=False, slots=True)
class Prefix:
    """Tokens that stay computed; while it has users, they are not shortened."""

    sequence: int
    tokens: Tokens = ()
    users: int = 0
    used_at: int = 0
    dropped: bool = False
    """To be forgotten when its last user ends, and not to be used by more."""


class Prefixes:
    """The prefixes that `decoder` holds; the least recently used make room."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._all = [Prefix(sequence) for sequence in range(KEPT)]
        self._ticks = 0

    @property
    def cells(self) -> int:
        """What they take."""
        return sum(len(prefix.tokens) for prefix in self._all)

    def longest(self, tokens: Tokens) -> tuple[Prefix | None, int]:
        """The prefix that has most in common with the beginning of `tokens`, and how much."""
        usable = ((common(prefix.tokens, tokens), prefix) for prefix in self._all if not prefix.dropped)
        have, best = max(usable, key=lambda found: found[0], default=(0, None))
        return (best, have) if have else (None, 0)

    def lend(self, prefix: Prefix, sequence: int, length: int) -> None:
        """Begin `sequence` with the first `length` tokens of `prefix`, which has a user more."""
        self._decoder.copy(prefix.sequence, sequence, length)
        prefix.users += 1
        self._touch(prefix)

    def give_back(self, prefix: Prefix) -> None:
        """`prefix` has a user less."""
        prefix.users -= 1
        if prefix.dropped and not prefix.users:
            self.cut(prefix, 0)
            prefix.dropped = False

    def keep(self, prefix: Prefix, sequence: int, tokens: Tokens) -> None:
        """Hold `tokens`, with which `sequence` begins, in `prefix`, which must hold a beginning of them or nothing."""
        self._decoder.copy(sequence, prefix.sequence, len(tokens))
        prefix.tokens = tokens
        self._touch(prefix)

    def cut(self, prefix: Prefix, length: int) -> None:
        """Forget what `prefix` holds beyond its first `length` tokens."""
        self._decoder.cut(prefix.sequence, length)
        prefix.tokens = prefix.tokens[:length]

    def idle(self) -> list[Prefix]:
        """Those without users, the least recently used first."""
        return sorted((prefix for prefix in self._all if not prefix.users), key=lambda prefix: prefix.used_at)

    def drop(self) -> None:
        """Forget all that is held: what is idle now, the rest when its last user ends."""
        for prefix in self._all:
            if prefix.users:
                prefix.dropped = True
            else:
                self.cut(prefix, 0)

    def _touch(self, prefix: Prefix) -> None:
        self._ticks += 1
        prefix.used_at = self._ticks


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading tokens two sequences share."""
    shorter = min(len(one), len(other))
    return next((n for n in range(shorter) if one[n] != other[n]), shorter)
