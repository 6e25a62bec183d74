"""`rapport eval`: measurements of an opened home, by name; an entry point, because nothing may import eval."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Measure: what the model adds, how often its texts pass the checks, speed.", no_args_is_help=True
)


def _gate(home: Path | None, llm: str | None, users: int) -> dict[str, Any]:
    from eval.gate import run_on_home

    return run_on_home(home, llm, users)


def _writing(home: Path | None, llm: str | None, users: int) -> dict[str, Any]:
    from eval.writing import run_on_home

    return run_on_home(home, llm, users)


def _speed(home: Path | None, llm: str | None, users: int) -> dict[str, Any]:
    from eval.speed import run_on_home

    return run_on_home(home, llm, users)


def _speed_table(result: dict[str, Any]) -> str:
    from eval.speed import markdown

    return markdown(result)


@dataclass(frozen=True, slots=True)
class Task:
    about: str
    run: Callable[[Path | None, str | None, int], dict[str, Any]]
    """(home, model, people) -> the result."""
    table: Callable[[dict[str, Any]], str] | None = None
    """The result for people to read, in Markdown; without one it is printed as JSON."""


TASKS = {
    "gate": Task("does the model's vote improve the order? writes gate.json, which `recommend` reads", _gate),
    "writing": Task("how often personas and reasons of real people pass every check as the model wrote them", _writing),
    "speed": Task("how fast people are tagged, as ratios; 200 people take about ten minutes", _speed, _speed_table),
}
Home = Annotated[Path | None, typer.Option("--home", help="Where the imported data lives.")]
Llm = Annotated[str | None, typer.Option("--llm", help="As for `rapport recommend`.")]


@app.command("list")
def list_() -> None:
    """The measurements, a line each; benchmarks of single parts are python -m eval.bench_import and the like."""
    for name, task in TASKS.items():
        typer.echo(f"{name:<10}{task.about}")
    typer.echo("also: python -m eval.bench_import · python -m eval.bench_vectorstore")


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="One of `rapport eval list`.")],
    users: Annotated[int, typer.Option(help="How many people, evenly spread over all.", min=1)] = 100,
    home: Home = None,
    llm: Llm = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: JSON on stdout, also where there is a table.")
    ] = False,
) -> None:
    """Run one measurement on the imported data; the result is a table or JSON on stdout."""
    if name not in TASKS:
        typer.echo(f"rapport: no measurement is called {name!r}; there are {', '.join(TASKS)}", err=True)
        raise typer.Exit(2)
    task = TASKS[name]
    result = task.run(home, llm, users)
    if task.table and not as_json:
        sys.stdout.write(task.table(result) + "\n")
        return
    json.dump(result, sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")
