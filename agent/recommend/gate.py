"""Where a model's vote counts: a file of measurements, read when a list is reranked.

Knows names of models and lengths of histories; knows no item. `eval` writes the file, nothing here measures.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field, ValidationError

from agent.errors import SetupError

BUCKETS: Final = ((0, 5), (6, 20), (21, 100), (101, None))
"""Lengths of history (events) that are measured apart, both ends included."""
UNMEASURED_CAPABLE: Final = 0.3
"""Weight of a capable model that nobody has measured: enough to matter, too little to overturn retrieval."""
UNMEASURED_SMALL: Final = 0.0
"""A small model's order is about as good as chance until it is shown to be better (SCOREBOARD, board H)."""
LEAST_REACHABLE: Final = 10
"""With fewer users on whom reranking can do anything at all, a bootstrap interval is too narrow to be believed."""


class Bucket(BaseModel, frozen=True, extra="forbid"):
    """What reranking did for people with histories of one length."""

    at_least: int = Field(ge=0)
    at_most: int | None = None
    weight: float = Field(ge=0, le=1)
    """The weight that was best on other people than those it is reported on."""
    delta: float
    """NDCG@10 with the model's vote minus without, mean over users."""
    low: float
    high: float
    """Its paired 95 % bootstrap interval."""
    users: int = Field(ge=0)
    """On whom delta was measured."""
    reachable: int = Field(ge=0)
    """Those of them whose hidden item was among the candidates at all: only there a reranker can do anything."""

    @property
    def shown(self) -> bool:
        """Whether the model's vote is shown to help."""
        return self.low > 0 and self.reachable >= LEAST_REACHABLE

    def holds(self, events: int) -> bool:
        return self.at_least <= events and (self.at_most is None or events <= self.at_most)


class Measurement(BaseModel, frozen=True, extra="forbid"):
    """One run of `rapport eval run gate`."""

    model: str
    prompt: str
    """Prompt id, e.g. "rerank.en@1-8c1f02aa"."""
    data: str
    """Which data and protocol, in words."""
    measured_at: datetime
    buckets: tuple[Bucket, ...]


class Gate(BaseModel, frozen=True, extra="forbid"):
    """All that was measured, the newest of each model last."""

    measurements: tuple[Measurement, ...] = ()

    def weight(self, model: str, events: int, *, capable: bool = False) -> float:
        """The weight of `model`'s vote for a person with `events` events, 0 (retrieval order stays) to 1."""
        measured = self._measured(model)
        if measured is None:
            return UNMEASURED_CAPABLE if capable else UNMEASURED_SMALL
        return next((one.weight for one in measured.buckets if one.holds(events) and one.shown), 0.0)

    def note(self, model: str, events: int, *, capable: bool = False) -> str:
        """Why that weight, in words for the provenance."""
        measured, weight = self._measured(model), self.weight(model, events, capable=capable)
        if measured is None:
            return f"rerank weight {weight:g}: {model} is unmeasured here"
        why = "shown to help" if weight else "not shown to help"
        return f"rerank weight {weight:g}: {why} at {events} events, measured {measured.measured_at:%Y-%m-%d}"

    def prompt(self, model: str) -> str:
        """Id of the prompt that `model` was measured with; "" for one that is not measured."""
        measured = self._measured(model)
        return measured.prompt if measured else ""

    def with_measurement(self, new: Measurement) -> Gate:
        """The gate with `new` in the place of what was known about the same model."""
        others = tuple(one for one in self.measurements if one.model != new.model)
        return Gate(measurements=(*others, new))

    def _measured(self, model: str) -> Measurement | None:
        return next((one for one in self.measurements if one.model == model), None)


def load(path: Path) -> Gate:
    """The gate at `path`; an empty one where there is no file. Raises SetupError when the file is not one of ours."""
    if not path.exists():
        return Gate()
    try:
        return Gate.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise SetupError(f"{path} is not a gate file ({problem}): delete it, or measure again") from error


def save(gate: Gate, path: Path) -> None:
    """Write the gate whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(gate.model_dump_json(indent=2) + "\n")
    os.replace(draft, path)
