"""What an adapter changes: the same people and the same reviews, before and after, in one table.

Before is the model without its adapter: smollm2 for builtin, else what stands before the plus sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.settings import load
from agent.wiring import open_rapport
from eval import writing
from eval.boards import board
from eval.runner import Run
from eval.runner import run as measured

READING = "board-g"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What both are measured on."""

    home: Path | None
    users: int
    data: Path | None
    """Reviews are read where the folder of data sets is named."""
    results: Path
    limit: int | None
    """Reviews of each set."""


def without(llm: str) -> str:
    """The spec of the same model without its adapter. Raises UsageError where it has none.

    >>> without("builtin"), without("builtin+mine"), without("gguf:/m/a.gguf+mine")
    ('smollm2', 'builtin', 'gguf:/m/a.gguf')
    """
    base, plus, _ = llm.rpartition("+")
    if llm == "builtin":
        return "smollm2"
    if not plus or llm.startswith(("openai:", "none")):
        raise UsageError(f"{llm!r} has no adapter: builtin, or a model that runs here with +NAME")
    return base


def run(llm: str | None, how: Measurement) -> dict[str, Any]:
    """Before first, so that the home ends with the profiles of the model as it is."""
    after = llm or load(home=how.home).llm
    before = without(after)
    return {"before": one(before, how), "after": one(after, how)}


def one(llm: str, how: Measurement) -> dict[str, Any]:
    """The figures of one model."""
    found: dict[str, Any] = {"llm": llm, "writing": writing.run_on_home(how.home, llm, how.users)}
    if how.data is None:
        return found
    with open_rapport(settings=load(home=how.home, llm=llm)) as rapport:
        found["reading"] = measured(board(READING), Run(how.data, how.results, rapport.llm, how.limit))
    return found


WRITTEN = {
    "personas that pass every check at the first try": "personas_first_try_share",
    "reasons that do": "reasons_first_try_share",
    "people whose persona is the model's": "personas_by_model_share",
    "reasons that are the model's": "reasons_by_model_share",
    "what a persona names that holds of somebody else": "holds_of_others",
    "the same of the template's persona": "template_holds_of_others",
}


def markdown(result: dict[str, Any]) -> str:
    """Before and after, a row a figure; then what each wrote about the same people."""
    before, after = result["before"], result["after"]
    lines = [f"{after['writing']['users']} people", "", f"| what | {before['llm']} | {after['llm']} |", "|---|---|---|"]
    for what, key in WRITTEN.items():
        lines.append(f"| {what} | {before['writing'][key]} | {after['writing'][key]} |")
    for what, figures in read(before, after).items():
        lines.append(f"| {what} | {figures[0]} | {figures[1]} |")
    texts = zip(before["writing"]["examples"], after["writing"]["examples"], strict=False)
    for old, new in texts:
        said = [f"{one['by']}: {one.get('persona') or one.get('reason')}" for one in (old, new)]
        lines += ["", f"- {said[0]}", f"- {said[1]}"]
    return "\n".join(lines)


def read(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Macro-F1 of the reviews that a model read, by set."""
    if "reading" not in after:
        return {}
    sides = [by_part(side["reading"]) for side in (before, after)]
    return {f"reviews: {part}": (sides[0][part], figure) for part, figure in sides[1].items()}


def by_part(record: dict[str, Any]) -> dict[str, float]:
    """The first measure of each of Rapport's rows, by set and row."""
    return {
        f"{part['name']}, {name}": row["metrics"][part["measures"][0]][0]
        for part in record["parts"]
        for name, row in part["systems"].items()
        if row["kind"] == "rapport"
    }
