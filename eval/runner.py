"""Runs a board: systems answer, then labels are opened, and everything is written into one record.

A model is asked case by case and each answer is kept at once, so that a run that was stopped goes on where it was. No
system gets an argument that could carry a label.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent import show
from agent.ask import Ask
from agent.errors import LLMError
from agent.llm.base import LLM
from eval.board import Answered, Board, Case, Labels, Part, System
from eval.compare import DRAWS, Drawn, Measure, Rows, drawn, known, paired, resamples
from eval.data import found, hashes
from eval.metrics import Interval
from eval.results import provenance

DIGITS = 4
FAILED = "no answer"
"""Of a model that could not be asked; the case counts with what the system says without it."""
Progress = Callable[[int, int | None], None]
Noted = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """How a board is run."""

    data: Path | None
    results: Path
    """Folder of what was answered and measured."""
    llm: LLM | None = None
    """Without one the systems that ask a model are left out."""
    limit: int | None = None
    """Cases that a model is asked, at most."""
    seed: int = 0
    draws: int = DRAWS


@dataclass(frozen=True, slots=True)
class Told:
    """A system's answers, in the order of the cases it was asked."""

    system: System
    cases: tuple[Case, ...]
    answers: tuple[Any, ...]
    seconds: float
    each: tuple[Answered, ...] = ()
    ms: tuple[float, ...] = ()


Samples = Sequence[NDArray[np.intp]]


@dataclass(frozen=True, slots=True)
class Scored:
    """A system against the labels, by measure: a row of numbers per case, and the figure on every sample."""

    told: Told
    rows: Mapping[str, Rows]
    drawn: Mapping[str, Drawn]


def run(board: Board, how: Run) -> dict[str, Any]:
    """The record of one board, JSON-ready. Raises SetupError where data are missing."""
    started = time.perf_counter()
    data = found(how.data, board.files)
    files = hashes(data, board.files)
    parts = []
    for part in board.load(data):
        asked = [told(board, part, system, how, files) for system in part.systems if system.many or how.llm]
        parts.append(scored(part, asked, how))
    prompts = sorted({prompt for one in parts for row in one["systems"].values() for prompt in row["prompts"]})
    return {
        "board": board.name,
        "version": board.version,
        "title": board.title,
        "protocol": board.protocol,
        "data": {"files": files},
        "system": {**provenance(), "model": how.llm.name if how.llm else "none", "prompts": prompts, "seed": how.seed},
        "parts": parts,
        "seconds": round(time.perf_counter() - started, 1),
    }


# answering: nothing here has seen a label


def told(board: Board, part: Part, system: System, how: Run, files: Mapping[str, Any]) -> Told:
    started = time.perf_counter()
    if system.many:
        answers = tuple(system.many([case.shown for case in part.cases]))
        return Told(system, part.cases, answers, time.perf_counter() - started)
    assert how.llm is not None
    chosen = spread_over(part.cases, min(how.limit or part.few, part.few))
    path = (
        how.results / "answers" / f"{slug(board.name, part.name, system.name)}-{made_of(board, how.llm, files)}.jsonl"
    )
    with show.progress(f"{board.name} {part.name}: {system.name}") as progress:
        kept = list(asked(system, chosen, how.llm, path, progress))
    each = tuple(one for one, _ in kept)
    ms = tuple(ms for _, ms in kept)
    return Told(system, chosen, tuple(one.answer for one in each), sum(ms) / 1000, each, ms)


def asked(
    system: System, cases: Sequence[Case], llm: LLM, path: Path, progress: Progress
) -> Iterator[tuple[Answered, float]]:
    """(answer, milliseconds) of each case: those at `path` from there, the others asked and added to it."""
    known = remembered(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert system.one is not None
    with path.open("a", encoding="utf-8") as kept:
        for done, case in enumerate(cases):
            progress(done, len(cases))
            if case.id in known:
                yield known[case.id]
                continue
            started = time.perf_counter()
            calls: Counter[str] = Counter()
            ask = Ask(llm, lambda call, calls=calls: calls.update(calls=1, prompt=call.prompt_tokens))
            try:
                answer = system.one(case.shown, ask)
            except LLMError as error:
                answer = Answered(None, invalid=(f"{FAILED}: {type(error).__name__}",))
            ms = 1000 * (time.perf_counter() - started)
            answer = replace(answer, calls=calls["calls"])
            kept.write(json.dumps({"id": case.id, "ms": round(ms, 1), **asdict(answer)}, ensure_ascii=False) + "\n")
            kept.flush()
            yield answer, ms


def remembered(path: Path) -> dict[str, tuple[Answered, float]]:
    """What was answered before; a last line that was cut off is as if it were not there."""
    kept: dict[str, tuple[Answered, float]] = {}
    if not path.exists():
        return kept
    whole = path.read_text(encoding="utf-8")
    lines = whole.split("\n")
    if lines[-1]:
        path.write_text("\n".join([*lines[:-1], ""]), encoding="utf-8")
    for line in lines[:-1]:
        row = json.loads(line)
        id, ms = row.pop("id"), row.pop("ms")
        row |= {name: tuple(row[name]) for name in TUPLES}
        kept[id] = Answered(**row), ms
    return kept


TUPLES = ("prompts", "invalid")


def spread_over(cases: Sequence[Case], most: int) -> tuple[Case, ...]:
    """At most that many cases, evenly over all."""
    step = max(1.0, len(cases) / most)
    return tuple(cases[int(at * step)] for at in range(min(most, len(cases))))


def made_of(board: Board, llm: LLM, files: Mapping[str, Any]) -> str:
    """Changes with anything that an answer depends on: model, data, prompts and code."""
    root = Path(__file__).parent.parent
    whole = hashlib.sha256(json.dumps([board.name, board.version, llm.name, files], sort_keys=True).encode())
    code = [path for name in ("agent", "prompts", "eval/boards") for path in (root / name).rglob("*")]
    for path in sorted(path for path in code if path.suffix in (".py", ".j2", ".txt")):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


def slug(*names: str) -> str:
    return "-".join("".join(char if char.isalnum() else "-" for char in name.casefold()) for name in names)[:80]


# scoring: only here are labels opened


def scored(part: Part, asked: Sequence[Told], how: Run) -> dict[str, Any]:
    """Everything that is told of one data set."""
    whole = samples_of(part.cases, how)
    done = []
    for one in asked:
        rows = rows_of(part.measures, one, part.labels)
        samples = whole if len(one.cases) == len(part.cases) else samples_of(one.cases, how)
        done.append(Scored(one, rows, {m.name: drawn(m, rows[m.name], samples) for m in part.measures}))
    systems = {one.told.system.name: line(part, one, done, how) for one in done}
    return {
        "name": part.name,
        "cases": len(part.cases),
        "counts": {what: {"found": is_, "expected": due} for what, (is_, due) in part.counts.items()},
        "measures": [one.name for one in part.measures],
        "systems": systems,
        "published": {one.name: dict(one.figures) for one in part.published},
        "reproduced": list(reproduced(part, systems)),
        "bars": list(bars(part, systems)),
        "notes": list(part.notes),
    }


def rows_of(measures: Sequence[Measure], one: Told, labels: Labels) -> dict[str, Rows]:
    right = [labels.of[case.id] for case in one.cases]
    return {measure.name: measure.rows(one.answers, right) for measure in measures}


def samples_of(cases: Sequence[Case], how: Run) -> Samples:
    return resamples([case.unit or case.id for case in cases], how.draws, how.seed)


def line(part: Part, one: Scored, every: Sequence[Scored], how: Run) -> Noted:
    """One system's row of the table."""
    mine, first = one.told, part.measures[0]
    baselines = [other for other in every if other.told.system.kind == "baseline"]
    minus = {
        other.told.system.name: {
            measure.name: rounded(paired(measure, one.drawn[measure.name], on_same_cases(other, one, measure, how)))
            for measure in part.measures
        }
        for other in baselines
        if mine.system.kind == "rapport"
    }
    rotated = rows_of((first,), mine, part.labels.rotated(part.cases))[first.name]
    return {
        "kind": mine.system.kind,
        "about": mine.system.about,
        "n": len(mine.cases),
        "metrics": {measure.name: rounded(one.drawn[measure.name].interval()) for measure in part.measures},
        "minus": minus,
        "label_permutation": round(first.reduce(known(rotated)), DIGITS),
        "slices": slices(part, one),
        "invalid": dict(Counter(kind for answer in mine.each for kind in answer.invalid)),
        "prompts": sorted({prompt for answer in mine.each for prompt in answer.prompts}),
        "cost": cost(mine),
    }


def on_same_cases(other: Scored, mine: Scored, measure: Measure, how: Run) -> Drawn:
    """The other's figure on the cases that mine was asked."""
    cases = mine.told.cases
    if len(other.told.cases) == len(cases):
        return other.drawn[measure.name]
    place = {case.id: at for at, case in enumerate(other.told.cases)}
    rows = other.rows[measure.name][[place[case.id] for case in cases]]
    return drawn(measure, rows, samples_of(cases, how))


def slices(part: Part, one: Scored) -> dict[str, dict[str, Any]]:
    """kind -> value -> number of cases and every figure there."""
    groups: dict[str, dict[str, list[int]]] = {}
    for at, case in enumerate(one.told.cases):
        for kind, value in case.slices:
            groups.setdefault(kind, {}).setdefault(value, []).append(at)
    return {
        kind: {
            value: {
                "n": len(places),
                **{m.name: round(m.reduce(known(one.rows[m.name][places])), DIGITS) for m in part.measures},
            }
            for value, places in sorted(values.items())
        }
        for kind, values in groups.items()
    }


def cost(one: Told) -> Noted:
    told: Noted = {"seconds": round(one.seconds, 2)}
    if one.each:
        half, most = np.percentile(one.ms, [50, 95])
        told |= {
            "calls": sum(answer.calls for answer in one.each),
            "prompt_tokens": sum(answer.prompt_tokens for answer in one.each),
            "completion_tokens": sum(answer.completion_tokens for answer in one.each),
            "seconds_p50": round(half / 1000, 3),
            "seconds_p95": round(most / 1000, 3),
        }
    return told


def reproduced(part: Part, systems: Mapping[str, Noted]) -> Iterator[Noted]:
    """Every figure that the protocol was measured with, beside the one that was found here."""
    for system in part.systems:
        for measure, due in system.expected.items():
            if system.name in systems:
                is_ = systems[system.name]["metrics"][measure][0]
                near = abs(is_ - due) <= part.tolerance + 1e-9
                yield {"system": system.name, "measure": measure, "expected": due, "found": is_, "matches": near}


def bars(part: Part, systems: Mapping[str, Noted]) -> Iterator[Noted]:
    """What was asked for, and whether it is there: reached, and shown where it must beat a baseline."""
    higher = {measure.name: measure.higher_is_better for measure in part.measures}
    for bar in part.bars:
        ours = systems.get(bar.system)
        told: Noted = {"system": bar.system, "measure": bar.measure, "bar": bar.at_least, "over": bar.over}
        if ours is None:
            yield {**told, "figure": None, "met": False, "short_by": None, "difference": None}
            continue
        figure = ours["metrics"][bar.measure][0]
        short = bar.at_least - figure if higher[bar.measure] else figure - bar.at_least
        difference = ours["minus"][bar.over][bar.measure] if bar.over else None
        met = short <= 0 and (difference is None or difference[1] > 0)
        short_by = round(max(0.0, short), DIGITS)
        yield {**told, "figure": figure, "n": ours["n"], "met": met, "short_by": short_by, "difference": difference}


def rounded(one: Interval) -> list[float]:
    return [round(value, DIGITS) for value in (one.mean, one.low, one.high)]
