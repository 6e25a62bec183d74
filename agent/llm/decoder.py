"""What the scheduler needs of a language model's context; knows no model and no library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One token to compute: where it stands, in which sequence, and whether its logits are wanted."""

    token: int
    position: int
    sequence: int
    wanted: bool


class Decoder(Protocol):
    """A transformer's context: `cells` tokens of memory in all, shared by numbered sequences."""

    @property
    def cells(self) -> int: ...

    @property
    def batch(self) -> int:
        """The most rows that one `decode` takes."""
        ...

    @property
    def outputs(self) -> int:
        """The most wanted rows that one `decode` takes."""
        ...

    def decode(self, rows: Sequence[Row]) -> list[Logits]:
        """Compute `rows`; the logits of the wanted ones, in order, which hold until the next call."""
        ...

    def copy(self, source: int, into: int, length: int) -> None:
        """Make the first `length` tokens of `source` the beginning of `into` as well, without taking cells."""
        ...

    def cut(self, sequence: int, length: int) -> None:
        """Forget what `sequence` holds beyond its first `length` tokens."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None: ...
