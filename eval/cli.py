"""`rapport eval`: measurements by name, of an opened home or of the data folder; nothing may import eval but this."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.errors import UsageError

app = typer.Typer(
    help="Measure: ranking, what the model adds, how often its texts pass the checks, speed.", no_args_is_help=True
)


@dataclass(frozen=True, slots=True)
class On:
    """What a measurement runs on, as the command line named it."""

    users: int
    home: Path | None = None
    llm: str | None = None
    data: Path | None = None
    """The folder of data sets."""


@dataclass(frozen=True, slots=True)
class Task:
    about: str
    run: Callable[[On], dict[str, Any]]
    table: Callable[[dict[str, Any]], str] | None = None
    """The result for people to read, in Markdown; without one it is printed as JSON."""


def _gate(on: On) -> dict[str, Any]:
    from eval.gate import run_on_home

    return run_on_home(on.home, on.llm, on.users)


def _writing(on: On) -> dict[str, Any]:
    from eval.writing import run_on_home

    return run_on_home(on.home, on.llm, on.users)


def _speed(on: On) -> dict[str, Any]:
    from eval.speed import run_on_home

    return run_on_home(on.home, on.llm, on.users)


def _speed_table(result: dict[str, Any]) -> str:
    from eval.speed import markdown

    return markdown(result)


def _board_a(on: On) -> dict[str, Any]:
    from eval.board_a import run

    if on.data is None:
        raise UsageError("board-a runs on the data folder: name it with --data")
    return run(on.data)


def _board_a_table(result: dict[str, Any]) -> str:
    from eval.board_a import markdown

    return markdown(result)


def _redial(on: On) -> dict[str, Any]:
    from eval.redial import run_on_data

    return run_on_data(on.data / "redial" if on.data else None, on.llm, on.users)


def _redial_table(result: dict[str, Any]) -> str:
    from eval.redial import markdown

    return markdown(result)


def _fusion(on: On) -> dict[str, Any]:
    from eval.fusion import run

    return run(on.data, on.home, on.users)


def _replay(on: On) -> dict[str, Any]:
    from eval.replay import run

    return run(on.home)


TASKS = {
    "gate": Task("does the model's vote improve the order? writes gate.json, which `recommend` reads", _gate),
    "writing": Task("how often personas and reasons of real people pass every check as the model wrote them", _writing),
    "speed": Task("how fast people are tagged, as ratios", _speed, _speed_table),
    "board-a": Task(
        "ranking on MovieLens latest-small, every unseen film ranked; needs --data", _board_a, _board_a_table
    ),
    "fusion": Task(
        "how much everybody's histories count; with --data on MovieLens, else on the home, which keeps it", _fusion
    ),
    "replay": Task("what other ways to explore would have earned, from the log of the home", _replay),
    "redial": Task(
        "are titles found and opinions understood in real dialogues? needs --data; --users = dialogues",
        _redial,
        _redial_table,
    ),
}
Home = Annotated[Path | None, typer.Option("--home", help="Where the imported data lives.")]
Llm = Annotated[str | None, typer.Option("--llm", help="As for `rapport recommend`.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="The folder of data sets, e.g. with movielens-latest-small/.")
]


@app.command("list")
def list_() -> None:
    """The measurements, a line each; benchmarks of single parts are python -m eval.bench_import and the like."""
    wide = max(map(len, TASKS))
    for name, task in TASKS.items():
        typer.echo(f"{name:<{wide}}  {task.about}")
    typer.echo("also: python -m eval.bench_import · python -m eval.bench_vectorstore · python -m eval.bench_recommend")


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="One of `rapport eval list`.")],
    users: Annotated[int, typer.Option(help="How many people, evenly spread over all.", min=1)] = 100,
    home: Home = None,
    llm: Llm = None,
    data: Data = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: JSON on stdout, also where there is a table.")
    ] = False,
) -> None:
    """Run one measurement; the result is a table or JSON on stdout."""
    if name not in TASKS:
        typer.echo(f"rapport: no measurement is called {name!r}; there are {', '.join(TASKS)}", err=True)
        raise typer.Exit(2)
    task = TASKS[name]
    result = task.run(On(users, home, llm, data))
    if task.table and not as_json:
        sys.stdout.write(task.table(result) + "\n")
        return
    json.dump(result, sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")
