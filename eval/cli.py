"""`rapport eval`: boards and measurements by name, their results kept, and the report of all; nothing may import it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from agent import show
from agent.errors import SetupError, UsageError
from agent.settings import load
from agent.wiring import open_rapport
from eval import results
from eval.boards import BOARDS

app = typer.Typer(
    help="Measure: the scoreboard, what the model adds, how often its texts pass the checks, speed; and report it.",
    no_args_is_help=True,
)


@dataclass(frozen=True, slots=True)
class On:
    """What a measurement runs on, as the command line named it."""

    users: int
    home: Path | None = None
    llm: str | None = None
    data: Path | None = None
    """The folder of data sets."""
    results: Path | None = None
    """Where results are kept; by default under the home."""
    limit: int | None = None

    @property
    def kept(self) -> Path:
        return self.results or load(home=self.home).home / "eval"


@dataclass(frozen=True, slots=True)
class Task:
    about: str
    run: Callable[[On], dict[str, Any]]
    table: Callable[[dict[str, Any]], str] | None = None
    """The result for people to read, in Markdown; without one it is printed as JSON."""


def _gate(on: On) -> dict[str, Any]:
    from eval.gate import run_on_home

    return run_on_home(on.home, on.llm, on.users)


def _gate_each(on: On) -> dict[str, Any]:
    from eval.gate import run_on_home

    return run_on_home(on.home, on.llm, on.users, each=True)


def _writing(on: On) -> dict[str, Any]:
    from eval.writing import run_on_home

    return run_on_home(on.home, on.llm, on.users)


def _speed(on: On) -> dict[str, Any]:
    from eval.speed import run_on_home

    return run_on_home(on.home, on.llm, on.users)


def _speed_table(result: dict[str, Any]) -> str:
    from eval.speed import markdown

    return markdown(result)


def _writing_table(result: dict[str, Any]) -> str:
    from eval.writing import markdown

    return markdown(result)


def _adapter(on: On) -> dict[str, Any]:
    from eval.adapter import Measurement, run

    return run(on.llm, Measurement(on.home, on.users, on.data, on.kept, on.limit))


def _adapter_table(result: dict[str, Any]) -> str:
    from eval.adapter import markdown

    return markdown(result)


def _board_a(on: On) -> dict[str, Any]:
    from eval.board_a import run
    from eval.boards.ranking import record

    if on.data is None:
        raise UsageError("board-a runs on the data folder: name it with --data")
    result = run(on.data)
    return {**record(result, results.provenance()), "whole": result}


def _board_a_table(result: dict[str, Any]) -> str:
    from eval.board_a import markdown

    return markdown(result["whole"])


def _board(name: str) -> Callable[[On], dict[str, Any]]:
    def run(on: On) -> dict[str, Any]:
        from eval.boards import board
        from eval.runner import Run
        from eval.runner import run as measured

        if on.data is None:
            raise UsageError(f"{name} runs on the data folder: name it with --data")
        found = board(name)
        if on.llm in (None, "none"):
            return measured(found, Run(on.data, on.kept))
        with open_rapport(settings=load(home=on.home, llm=on.llm)) as rapport:
            return measured(found, Run(on.data, on.kept, rapport.llm, on.limit))

    return run


def _talk(on: On) -> dict[str, Any]:
    from eval.boards.chat import opened
    from eval.runner import Run
    from eval.runner import run as measured

    if on.data is None:
        raise UsageError("board-d-chat runs on the data folder: name it with --data")
    settings = load(home=on.home, llm=on.llm or "none")
    with open_rapport(settings=settings) as rapport, opened(on.data) as board:
        return measured(board, Run(on.data, on.kept, rapport.llm, on.limit))


def _board_table(result: dict[str, Any]) -> str:
    from eval.report import markdown_of

    return markdown_of(result)


def _redial(on: On) -> dict[str, Any]:
    from eval.redial import run_on_data

    return run_on_data(on.data / "redial" if on.data else None, on.llm, on.users)


def _redial_table(result: dict[str, Any]) -> str:
    from eval.redial import markdown

    return markdown(result)


def _fusion(on: On) -> dict[str, Any]:
    from eval.fusion import run

    return run(on.data, on.home, on.users)


def _cold(on: On) -> dict[str, Any]:
    from eval.cold import run

    if on.data is None:
        raise UsageError("cold runs on the data folder: name it with --data")
    return run(on.data, on.users)


def _cold_table(result: dict[str, Any]) -> str:
    from eval.cold import markdown

    return markdown(result)


def _guesses(on: On) -> dict[str, Any]:
    from eval.guesses import run

    return run(on.home, on.users)


def _guesses_table(result: dict[str, Any]) -> str:
    from eval.guesses import markdown

    return markdown(result)


def _import(on: On) -> dict[str, Any]:
    from eval.bench_import import measure

    return measure(events=500_000, people=600, items=9_000)


def _index(on: On) -> dict[str, Any]:
    from eval.bench_vectorstore import Size, measure

    return measure(Size(items=5_000, texts=400, cache=load(home=on.home).cache))


def _index_table(result: dict[str, Any]) -> str:
    from eval.bench_vectorstore import markdown

    return markdown(result)


def _cost(on: On) -> dict[str, Any]:
    from eval.bench_recommend import measure

    if on.data is None:
        raise UsageError("cost runs on the data folder: name it with --data")
    return measure(on.data, on.users)


def _cost_table(result: dict[str, Any]) -> str:
    from eval.bench_recommend import markdown

    return markdown(result)


def _replay(on: On) -> dict[str, Any]:
    from eval.replay import run

    return run(on.home)


TASKS = {
    "gate": Task("does the model's vote improve the order? writes gate.json, which `recommend` reads", _gate),
    "gate-each": Task("the same for a small model that is asked yes or no of each candidate", _gate_each),
    "writing": Task(
        "how often personas and reasons of real people pass every check as the model wrote them",
        _writing,
        _writing_table,
    ),
    "adapter": Task(
        "the model with its adapter against the same without: texts about people; reviews, with --data",
        _adapter,
        _adapter_table,
    ),
    "speed": Task("how fast people are tagged, as ratios", _speed, _speed_table),
    "board-a": Task(
        "ranking on MovieLens latest-small, every unseen film ranked; needs --data", _board_a, _board_a_table
    ),
    "fusion": Task(
        "how much everybody's histories count; with --data on MovieLens, else on the home, which keeps it", _fusion
    ),
    "cold": Task("people of whom 0 to 10 events are known, and films without any; needs --data", _cold, _cold_table),
    "guesses": Task(
        "do people come to like what a profile guesses? made from half of each history", _guesses, _guesses_table
    ),
    "import": Task("how fast histories are imported: 500,000 invented events", _import),
    "index": Task(
        "what the index finds of what exact search finds, and how fast texts are embedded", _index, _index_table
    ),
    "cost": Task("what a recommendation costs without a model's vote; needs --data", _cost, _cost_table),
    "replay": Task("what other ways to explore would have earned, from the log of the home", _replay),
    "board-d-chat": Task(
        "what a real seeker's messages bring in the conversation itself; needs --data; --limit = dialogues",
        _talk,
        _board_table,
    ),
    "redial": Task(
        "are titles found and opinions understood in real dialogues? needs --data; --users = dialogues",
        _redial,
        _redial_table,
    ),
    **{name: Task(about, _board(name), _board_table) for name, (_, about) in BOARDS.items()},
}
EVERY = "boards"
"""Stands for all the boards, in order."""
Home = Annotated[Path | None, typer.Option("--home", help="Where the imported data lives.")]
Llm = Annotated[str | None, typer.Option("--llm", help="As for `rapport recommend`.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="The folder of data sets, e.g. with movielens-latest-small/.")
]


Results = Annotated[
    Path | None, typer.Option("--results", help="Where results are kept; by default eval/ in the home.")
]


@app.command("list")
def list_() -> None:
    """The measurements, a line each."""
    wide = max(map(len, TASKS))
    for name, task in TASKS.items():
        typer.echo(f"{name:<{wide}}  {task.about}")
    typer.echo(f"{EVERY:<{wide}}  every board, one after the other")


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="One of `rapport eval list`.")],
    users: Annotated[int, typer.Option(help="How many people, evenly spread over all.", min=1)] = 100,
    home: Home = None,
    llm: Llm = None,
    data: Data = None,
    results_at: Results = None,
    limit: Annotated[int | None, typer.Option(help="Cases that a model is asked on a board, at most.", min=1)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: JSON on stdout, also where there is a table.")
    ] = False,
) -> None:
    """Run one measurement, or all boards; the result is a table or JSON on stdout, and kept for the report.

    A board asks no model unless one is named with --llm; what a model has answered is not asked again.
    """
    if name != EVERY and name not in TASKS:
        typer.echo(f"rapport: no measurement is called {name!r}; there are {', '.join([*TASKS, EVERY])}", err=True)
        raise typer.Exit(2)
    on = On(users, home, llm, data, results_at, limit)
    if name == EVERY:
        _every(on, as_json=as_json)
    else:
        _one(name, on, as_json=as_json)


def _every(on: On, *, as_json: bool) -> None:
    """All boards; one whose data are absent is passed over and named, and then the end is not well."""
    passed_over = 0
    for name in ("board-a", *BOARDS):
        try:
            _one(name, on, as_json=as_json)
        except SetupError as error:
            show.err.print(f"{name} was not run: {error}", soft_wrap=True, markup=False)
            passed_over += 1
    if passed_over:
        raise typer.Exit(1)


def _one(name: str, on: On, *, as_json: bool) -> None:
    task = TASKS[name]
    result = task.run(on)
    table = task.table(result) if task.table else ""
    told = {"board": name, "system": results.provenance(), "result": result, "table": table}
    record = result if "parts" in result else told
    kept = results.append(on.kept, {key: value for key, value in record.items() if key != "whole"})
    show.err.print(f"kept in {kept}", soft_wrap=True)
    if table and not as_json:
        sys.stdout.write(table + "\n")
        return
    json.dump(result, sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")


@app.command("report")
def report_(home: Home = None, results_at: Results = None) -> None:
    """The newest result of every board as one page (report.html), tables (report.md) and plots, beside the results."""
    from eval.report import write

    folder = On(1, home, results=results_at).kept
    for path in write(folder):
        typer.echo(path)
