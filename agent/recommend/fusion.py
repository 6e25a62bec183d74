"""How much everybody's histories count beside what is known of the person: a file of measurements.

Knows lengths of histories and weights; knows no item. `eval` writes the file, nothing here measures.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from agent.errors import SetupError

SHIPPED = Path(__file__).parent / "fusion.json"
"""What `rapport eval run fusion --data …` printed."""


class Share(BaseModel, frozen=True, extra="forbid"):
    """What was measured for histories of one length."""

    at_least: int = Field(ge=0)
    at_most: int | None = None
    weight: float = Field(ge=0)
    """Of the collaborative list in reciprocal-rank fusion; all interest tags together weigh 1."""
    ndcg: float
    """NDCG@10 with a weight chosen in the same way, on people who had no part in the choice."""
    without: float
    """The same at weight 0."""
    low: float
    high: float
    """95 % interval of `ndcg` minus `without`, paired."""
    alone: float
    """NDCG@10 of the collaborative list by itself."""
    cases: int = Field(ge=0)
    curve: tuple[tuple[float, float], ...] = ()
    """(weight, NDCG@10) of each weight that was tried, over all people."""

    def holds(self, items: int) -> bool:
        return self.at_least <= items and (self.at_most is None or items <= self.at_most)


class Fusion(BaseModel, frozen=True, extra="forbid"):
    """One run of `rapport eval run fusion`; without one, content carries everything."""

    data: str = ""
    """Which data and protocol, in words."""
    measured_at: datetime | None = None
    shares: tuple[Share, ...] = ()

    def weight(self, items: int) -> float:
        """The weight for a person whose history holds `items` items."""
        return next((one.weight for one in self.shares if one.holds(items)), 0.0)


def load(path: Path) -> Fusion:
    """A home's own file. Raises SetupError when it is not one of ours."""
    return _read(path)


def shipped() -> Fusion:
    """What was measured on public data: holds where a home has measured nothing."""
    return _read(SHIPPED)


def _read(path: Path) -> Fusion:
    try:
        return Fusion.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise SetupError(f"{path} is not a fusion file ({problem}): delete it, or measure again") from error
