"""The report: the newest result of every board as one page, as Markdown tables, and as plots.

Knows records as eval/runner.py writes them; measures nothing. A board that does not pass is printed just as large.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from agent.errors import SetupError
from eval import results
from eval.plots import Dot, Plot, intervals

PAGE = Path(__file__).parent / "report.html.j2"
TRIED = Path(__file__).parent / "tried.yaml"
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A plot of one part of a board."""

    name: str
    plot: Plot


def write(folder: Path) -> list[Path]:
    """report.html, report.md and plots/ from the records in `folder`. Raises SetupError when there are none."""
    newest = results.latest(folder)
    boards = {name: record for name, record in sorted(newest.items()) if "parts" in record}
    if not boards:
        raise SetupError(f"{folder / results.FILE} holds no board yet: `rapport eval run board-b --data DIR` makes one")
    made = []
    plots: dict[str, dict[str, str]] = {}
    for name, record in boards.items():
        for one in drawings(record):
            plots.setdefault(name, {})[one.name] = one.plot.inline()
            stem = "-".join(part for part in (name, one.name) if part)
            made += one.plot.save(folder / "plots" / slug(stem))
    page, table = folder / "report.html", folder / "report.md"
    others = measurements(newest)
    page.write_text(html(boards, plots, others), encoding="utf-8")
    table.write_text(markdown(boards, others), encoding="utf-8")
    return [page, table, *made]


def measurements(newest: Mapping[str, Record]) -> dict[str, Record]:
    """What was measured beside the boards, e.g. speed."""
    return {name: record for name, record in sorted(newest.items()) if "parts" not in record}


def tried(record: Record) -> list[str]:
    """What was tried to reach the bars of a board or measurement, where one is missed or was not run."""
    missed = [one for one in bars_of(record) if not one["met"]] if "parts" in record else "missed" in told(record)
    return list(yaml.safe_load(TRIED.read_text(encoding="utf-8")).get(record["board"], ())) if missed else []


def drawings(record: Record) -> Iterator[Drawn]:
    """One plot per part: its first measure."""
    for part in record["parts"]:
        measure = part["measures"][0]
        dots = [
            Dot(name, row["kind"], *row["metrics"][measure])
            for name, row in part["systems"].items()
            if measure in row["metrics"]
        ]
        dots += [
            Dot(name, "published", figures[measure], figures[measure], figures[measure])
            for name, figures in part["published"].items()
            if measure in figures
        ]
        bar = next((one["bar"] for one in part["bars"] if one["measure"] == measure), None)
        if dots:
            yield Drawn(part["name"], intervals(dots, measure, bar))


def slug(name: str) -> str:
    return "".join(char if char.isalnum() or char == "-" else "-" for char in name.casefold())


# the page


def html(boards: Mapping[str, Record], plots: Mapping[str, Mapping[str, str]], others: Mapping[str, Record]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    page = Environment(
        loader=FileSystemLoader(PAGE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters.update(figure=figure, spread=spread, signed=signed, paragraphs=paragraphs)
    template = page.get_template(PAGE.name)
    return template.render(
        boards=boards,
        plots=plots,
        others=others,
        tried={name: tried(record) for name, record in (*boards.items(), *others.items())},
        bars=[one for record in boards.values() for one in bars_of(record)],
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def bars_of(record: Record) -> Iterator[dict[str, Any]]:
    for part in record["parts"]:
        for one in part["bars"]:
            yield {"board": record["board"], "title": record["title"], "part": part["name"], **one}


# Markdown


def markdown(boards: Mapping[str, Record], others: Mapping[str, Record]) -> str:
    """Bars first, then every board, then what was measured beside them."""
    lines = ["| board | measure | bar | Rapport | |", "|---|---|---|---|---|"]
    for record in boards.values():
        for one in bars_of(record):
            where = record["title"] + (f" ({one['part']})" if len(record["parts"]) > 1 else "")
            cells = [where, one["measure"], figure(one["bar"]), figure(one["figure"]), verdict(one)]
            lines.append(f"| {' | '.join(cells)} |")
    parts = [
        *((markdown_of(record), record) for record in boards.values()),
        *((f"### {name}\n\n{record['system']['commit']}\n\n{told(record)}", record) for name, record in others.items()),
    ]
    return "\n".join([*lines, "", *("\n".join([text, *tries(record)]) + "\n" for text, record in parts)])


def tries(record: Record) -> list[str]:
    return [f"- tried: {one}" for one in tried(record)]


def told(record: Record) -> str:
    """What was measured beside the boards: its table, else all of it."""
    if record.get("table"):
        return str(record["table"])
    return f"```json\n{json.dumps(record['result'], ensure_ascii=False, indent=2)}\n```"


def paragraphs(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Markdown of tables and lines, for the page: ("table", rows of cells, the head first) or ("text", one cell)."""
    for kind, lines in groupby(text.splitlines(), key=lambda line: "table" if line.startswith("|") else "text"):
        if kind == "table":
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            yield kind, [row for row in rows if any(cell.strip("-") for cell in row)]
        else:
            yield from ((kind, [[line]]) for line in lines if line)


def verdict(bar: Mapping[str, Any]) -> str:
    if bar["figure"] is None:
        return "not run"
    said = "met" if bar["met"] else f"missed by {figure(bar['short_by'])}" if bar["short_by"] else "missed"
    if bar["difference"] is not None:
        said += f"; minus {bar['over']}: {signed(bar['difference'])}"
    return said


def markdown_of(record: Record) -> str:
    """One board: a table per part, what was reproduced, the bars."""
    system = record["system"]
    lines = [f"### {record['title']}", "", f"{record['protocol']}; model {system['model']}; {system['commit']}", ""]
    for part in record["parts"]:
        lines += [f"**{part['name']}**, {part['cases']} cases", ""]
        lines += table_of(part)
        same = [one for one in part["reproduced"] if not one["matches"]]
        lines += [
            "",
            f"Figures of the protocol matched: {len(part['reproduced']) - len(same)}/{len(part['reproduced'])}.",
        ]
        lines += [
            f"- {one['system']}, {one['measure']}: {figure(one['found'])} here, {figure(one['expected'])} there"
            for one in same
        ]
        lines += [
            f"- bar {one['measure']} {figure(one['bar'])}, {one['system']}: {figure(one['figure'])}, {verdict(one)}"
            for one in part["bars"]
        ]
        lines += [
            f"- {what}: {one['found']} of {one['expected']} expected"
            for what, one in part["counts"].items()
            if one["found"] != one["expected"]
        ]
        lines += [f"- {note}" for note in part["notes"]] + [""]
    return "\n".join(lines).rstrip()


def table_of(part: Record) -> list[str]:
    names = part["measures"]
    lines = [f"| | n | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for name, figures in part["published"].items():
        lines.append(f"| {name} (published) | | {' | '.join(figure(figures.get(one)) for one in names)} |")
    for name, row in part["systems"].items():
        strong = "**" if row["kind"] == "rapport" else ""
        cells = [spread(row["metrics"][one]) if one in row["metrics"] else "" for one in names]
        lines.append(f"| {strong}{name}{strong} | {row['n']} | {' | '.join(cells)} |")
    return lines


def figure(value: float | None) -> str:
    """Three to four digits, as scoreboards print them: .0844, 72.6."""
    if value is None:
        return ""
    if abs(value) >= 10:
        return f"{value:.1f}" if value != int(value) else f"{value:.0f}"
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.4f}"


def spread(values: Sequence[float]) -> str:
    """A figure and its interval; the figure alone where there is none."""
    mean, low, high = values
    return figure(mean) if low == high == mean else f"{figure(mean)} [{figure(low)}, {figure(high)}]"


def signed(values: Sequence[float]) -> str:
    """A difference and its interval."""
    digits = 2 if max(map(abs, values)) >= 1 else 4
    mean, low, high = (
        f"{one:+.{digits}f}".replace("0.", ".", 1) if abs(one) < 1 else f"{one:+.{digits}f}" for one in values
    )
    return f"{mean} [{low}, {high}]"
