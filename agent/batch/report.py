"""What is told of a batch while it runs and at its end: numbers, no text of a person but their id."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from agent.history.jobs import Failure


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is."""

    total: int
    """People to be tagged in this run."""
    done: int
    """Of those: tagged, found unchanged or failed, by whatever process."""
    tagged: int
    """By this process."""
    failed: int
    tokens: int
    """Of prompts and answers, by this process."""
    seconds: float
    cost: float | None = None
    """US dollars; None when the price is not known."""

    @property
    def rate(self) -> float:
        """People a second, by this process."""
        return self.tagged / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a batch."""

    model: str
    engine: str
    people: int
    """Who were asked for and are known."""
    tagged: int
    """Given a profile by this process."""
    unchanged: int
    """Whose profile was as it should be, or became so by another process."""
    failures: tuple[Failure, ...]
    remaining: int
    """Still to be done: the run was stopped, or waits for the answers to a batch file."""
    unknown: tuple[str, ...]
    """Who were asked for and are not in the history."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost: float | None = None
    """US dollars; None when the price is not known."""
    stopped: str = ""
    """Why the run ended before everything was done, and what to do."""
    notes: tuple[str, ...] = ()
    """What was degraded, in words."""

    @property
    def rate(self) -> float:
        """People tagged a second."""
        return self.tagged / self.seconds if self.seconds > 0 else 0.0

    @property
    def reasons(self) -> dict[str, int]:
        """reason -> how many failed for it, the most frequent first."""
        return dict(Counter(one.reason for one in self.failures).most_common())
