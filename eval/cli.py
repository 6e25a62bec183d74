"""`rapport eval`: measurements of an opened home, by name; an entry point, because nothing may import eval."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
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


TASKS: dict[str, tuple[str, Callable[[Path | None, str | None, int], dict[str, Any]]]] = {
    "gate": ("does the model's vote improve the order? writes gate.json, which `recommend` reads", _gate),
    "writing": ("how often personas and reasons of real people pass every check as the model wrote them", _writing),
}
Home = Annotated[Path | None, typer.Option("--home", help="Where the imported data lives.")]
Llm = Annotated[str | None, typer.Option("--llm", help="As for `rapport recommend`.")]


@app.command("list")
def list_() -> None:
    """The measurements, a line each; benchmarks of single parts are python -m eval.bench_import and the like."""
    for name, (about, _) in TASKS.items():
        typer.echo(f"{name:<10}{about}")
    typer.echo("also: python -m eval.bench_import · python -m eval.bench_vectorstore")


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="One of `rapport eval list`.")],
    users: Annotated[int, typer.Option(help="How many people, evenly spread over all.", min=1)] = 100,
    home: Home = None,
    llm: Llm = None,
) -> None:
    """Run one measurement on the imported data; the result is JSON on stdout."""
    if name not in TASKS:
        typer.echo(f"rapport: no measurement is called {name!r}; there are {', '.join(TASKS)}", err=True)
        raise typer.Exit(2)
    json.dump(TASKS[name][1](home, llm, users), sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")
