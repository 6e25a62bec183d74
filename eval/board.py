"""What a board is: cases that systems are shown, labels that only the scorer opens, measures, figures to match.

A system is handed what `Case.shown` holds and nothing else; labels live in another object, which the runner opens after
the last answer is in. Nothing here knows a data set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from agent.ask import Ask
from eval.compare import Measure

Kind = Literal["baseline", "rapport"]
Many = Callable[[Sequence[Any]], Sequence[Any] | NDArray[Any]]
"""What every case shows -> an answer to each, in order."""
One = Callable[[Any, Ask], "Answered"]
"""What one case shows, and a model to ask -> the answer."""


@dataclass(frozen=True, slots=True)
class Case:
    id: str
    shown: Any
    """All that a system learns of the case."""
    unit: str = ""
    """What the bootstrap draws, e.g. a dialogue with several cases; "" = the case itself."""
    slices: tuple[tuple[str, str], ...] = ()
    """(kind, value) of the slices that it belongs to, e.g. ("history", "0-50")."""


@dataclass(frozen=True, slots=True)
class Labels:
    """case id -> the right answer. Only `score` opens it."""

    of: Mapping[str, Any]

    def rotated(self, cases: Sequence[Case]) -> Labels:
        """Every case with the label of the one half of all cases further on: what a score is worth by chance.

        Half way rather than the next one, because neighbours are often of the same person.
        """
        ids = [case.id for case in cases]
        step = max(1, len(ids) // 2)
        return Labels({id: self.of[ids[(at + step) % len(ids)]] for at, id in enumerate(ids)})


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer of a model: JSON-ready, so that a run that was stopped goes on where it was."""

    answer: Any
    prompts: tuple[str, ...] = ()
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    invalid: tuple[str, ...] = ()
    """Kinds of what was wrong with it; it counts nevertheless, filled as in production."""


@dataclass(frozen=True, slots=True)
class System:
    """`many` answers all cases at once, `one` asks a model case by case; exactly one of them is given."""

    name: str
    kind: Kind
    many: Many | None = None
    one: One | None = None
    expected: Mapping[str, float] = field(default_factory=dict)
    """measure -> the figure that the protocol was measured with; to match it proves the protocol."""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A row of a paper, on these data; nothing of it was run here."""

    name: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bar:
    system: str
    measure: str
    at_least: float
    over: str = ""
    """A baseline that the paired interval must lie above."""


@dataclass(frozen=True, slots=True)
class Part:
    """One data set of a board."""

    name: str
    cases: tuple[Case, ...]
    labels: Labels
    systems: tuple[System, ...]
    measures: tuple[Measure, ...]
    counts: Mapping[str, tuple[int, int]]
    """what was counted -> (found, expected)."""
    bars: tuple[Bar, ...] = ()
    published: tuple[Published, ...] = ()
    tolerance: float = 0.002
    """How near an expected figure a baseline must come."""
    few: int = 1000
    """Cases that a model is asked, evenly spread; fewer with --limit."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Board:
    """A board of the scoreboard. `load` reads the files under the data folder. Raises SetupError when one is absent."""

    name: str
    version: int
    title: str
    protocol: str
    files: tuple[str, ...]
    load: Callable[[Path], Sequence[Part]]
