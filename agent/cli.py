"""The `rapport` command: parse, call, print. stdout is data, stderr is progress and messages.

Exit status: 0 good, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from agent import doctor as examination
from agent import shapes, show
from agent.batch.budget import Budget, estimate
from agent.errors import RapportError, SetupError, UsageError
from agent.history.keys import Key, Keys
from agent.settings import load
from agent.types import Profile
from agent.wiring import DOMAINS, Rapport, open_rapport

INTERRUPTED = 130
"""Exit status after Ctrl-C."""

app = typer.Typer(
    name="rapport",
    help="A recommendation agent that gets to know people: interest tags with receipts, personas, explained lists.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
prompts_app = typer.Typer(help="The exact words that are sent to a model.", no_args_is_help=True)
models_app = typer.Typer(help="Which language model answers.", no_args_is_help=True)
app.add_typer(prompts_app, name="prompts")
app.add_typer(models_app, name="models")
keys_app = typer.Typer(help="Who may use the service: API keys.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

Home = Annotated[
    Path | None, typer.Option("--home", help="Where state lives; default: RAPPORT_HOME or the user's data folder.")
]
Llm = Annotated[
    str | None,
    typer.Option("--llm", help="builtin · gguf:/path · hf:OWNER/REPO:FILE · openai:MODEL · openai:URL#MODEL · none"),
]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON on stdout.")]
Driver = Annotated[
    Literal["auto", "guided", "agent"] | None,
    typer.Option(help="Who leads a turn: guided = a fixed plan, agent = a model with tools; auto = as the model can."),
]
User = Annotated[str, typer.Argument(help="A person's id, as in the imported events.")]
Tongue = Annotated[Literal["en", "zh"] | None, typer.Option("--language", help="en or zh; default: the person's own.")]


def opened(home: Path | None, llm: str | None = None, driver: str | None = None) -> Rapport:
    return open_rapport(settings=load(home=home, llm=llm, driver=driver))


def emit(data: Any) -> None:
    """JSON on stdout, one value, never escaped beyond what JSON needs."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2) + "\n")


@app.command()
def demo(
    llm: Llm = None,
    people: Annotated[int, typer.Option(help="How many of the sample's people to show.", min=1, max=12)] = 12,
    home: Annotated[
        Path | None, typer.Option("--home", help="Keep the demo's state here; default: thrown away.")
    ] = None,
) -> None:
    """The bundled films and people: personas, and recommendations with reasons, offline, in one go."""
    from agent import demo as demonstration

    demonstration.run(llm=llm, people=people, home=home)


@app.command(name="import")
def import_(
    path: Annotated[Path, typer.Argument(help="A file or folder.")],
    format: Annotated[
        str,
        typer.Option("--format", help="auto · movielens · amazon · recbole · lastfm · caserec · csv · jsonl · parquet"),
    ] = "auto",
    map: Annotated[
        str,
        typer.Option("--map", help="Which column is what: user=…,item=…,rating=…,at=…; also scale=10, kind=view."),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report; keep nothing.")] = False,
    rejects: Annotated[Path | None, typer.Option(help="Where refused rows go; default: refused/ in the home.")] = None,
    domain: Annotated[str, typer.Option(help="What one item is called, e.g. film, book, product.")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Bring items and events in. Importing the same file again changes nothing."""
    from agent.history.importing import import_path

    with opened(home) as rapport:
        refused = rejects or rapport.settings.home / "refused" / f"{path.resolve().name or 'all'}.jsonl"
        with show.progress(f"reading {path.name}") as progress:
            report = import_path(
                rapport.store,
                path,
                format=format,
                mapping=pairs(map),
                dry_run=dry_run,
                rejects=None if dry_run else refused,
                progress=lambda rows: progress(rows, None),
            )
        if not dry_run:
            known = domain or next((word for start, word in DOMAINS.items() if report.format.startswith(start)), "")
            if known:
                rapport.store.set_meta("domain", known)
        if as_json:
            emit(shapes.import_report(report))
        else:
            show.import_report(report, dry_run=dry_run, rejects=None if dry_run else refused)
            if not dry_run:
                show.err.print("next: [bold]rapport index[/], then [bold]rapport recommend USER[/]")


def pairs(text: str) -> dict[str, str]:
    """ "user=uid,item=sku" as a mapping."""
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"--map takes name=column pairs such as user=uid,item=sku; {part!r} is none")
        found[name.strip()] = value.strip()
    return found


@app.command()
def index(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="From nothing, beside the old one, then switch.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Embed the catalogue into Chroma, and learn what goes together in everybody's histories; only what changed."""
    with opened(home) as rapport:
        with show.progress("embedding the catalogue") as progress:
            report = rapport.build_index(progress, rebuild=rebuild)
        with show.progress("learning what goes together") as progress:
            trained = rapport.train(progress, anew=rebuild)
    counts = {
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "together": len(trained.items) if trained else 0,
    }
    if as_json:
        emit(counts)
    else:
        show.out.print(" · ".join(f"{count} {name}" for name, count in counts.items()))


@app.command()
def profile(
    user: User,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="From the whole history, not from the last one.")] = False,
    add: Annotated[
        list[str] | None, typer.Option(help="State an interest yourself; with a leading - an aversion.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Take a tag away; it does not come back.")] = None,
    undo: Annotated[list[str] | None, typer.Option(help="Take back what --add or --remove said about a tag.")] = None,
    home: Home = None,
    llm: Llm = None,
    as_json: Json = False,
) -> None:
    """Who this person is as a customer: tags with receipts, persona. Built when missing or stale."""
    with opened(home, llm) as rapport:
        if add or remove or undo:
            edit(rapport, user, add or [], remove or [], undo or [])
        found = rapport.profile(user, rebuild=rebuild)
        if as_json:
            emit(shapes.profile(found))
        else:
            show.profile(found, receipt_titles(rapport, found), receipts=2)
            show.provenance(found.provenance)


def edit(rapport: Rapport, user: str, add: list[str], remove: list[str], undo: list[str]) -> None:
    """Write down what a person says of their tags."""
    known = {tag.name.casefold(): tag for tag in rapport.profile(user).tags}
    for name in add:
        polarity, name = (-1, name[1:].strip()) if name.startswith("-") else (1, name.strip())
        rapport.state(user, name, "add", polarity)
    for name in remove:
        if name.casefold() not in known:
            raise UsageError(f"{user!r} has no tag {name!r}; there are {', '.join(tag.name for tag in known.values())}")
        rapport.state(user, name, "remove")
    for name in undo:
        if not rapport.unstate(user, name):
            raise UsageError(f"nothing was said about a tag {name!r}")


@app.command()
def tag(
    everybody: Annotated[bool, typer.Option("--all", help="Everybody; also the default.")] = False,
    users: Annotated[Path | None, typer.Option(help="A file of people's ids, one a line.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many of them, by id.", min=1)] = None,
    out: Annotated[Path | None, typer.Option(help="Write their profiles to FILE.jsonl, .csv or .parquet.")] = None,
    engine: Annotated[
        Literal["local", "openai", "openai-batch", "ray"] | None,
        typer.Option(help="Who computes; default: local, or openai for a model behind an API."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="People worked on at a time; default: 16.", min=1)] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also those that failed before.")] = False,
    max_cost: Annotated[float | None, typer.Option(help="US dollars that this run may cost.", min=0)] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens that this run may take.", min=0)] = None,
    write: Annotated[Path | None, typer.Option(help="openai-batch: write the requests here; send nothing.")] = None,
    collect: Annotated[list[Path] | None, typer.Option(help="openai-batch: take in the answers of this file.")] = None,
    home: Home = None,
    llm: Llm = None,
    as_json: Json = False,
) -> None:
    """Build or refresh the profile of every person. Stopped at any moment, the same command goes on from there."""
    from agent.batch import output
    from agent.batch.engines import WORKERS, budget_of, engine_of, usual
    from agent.batch.runner import Order, choose

    if everybody and users:
        raise UsageError("--all and --users: one of them")
    if out:
        output.check(out)
    meant = output.ids(users) if users else None
    at_once = workers or WORKERS
    with open_rapport(settings=load(home=home, llm=llm, concurrency=at_once)) as rapport, show.tagging() as progress:
        name = engine or usual(rapport.settings.llm)
        run = engine_of(name, rapport.settings.llm, write, collect or ())
        budget = budget_of(rapport, name, max_cost, max_tokens)
        before = foretelling(rapport, budget)
        report = run(rapport, Order(meant, limit, at_once, retry_failed, budget, before, progress), show.told)
        if out:
            people, _ = choose(rapport.store, meant, limit)
            count = output.write(out, rapport.store.newest_profiles(people))
            show.told(f"{count:,} profiles in {out}")
    if as_json:
        emit(shapes.tag_report(report))
    else:
        show.tag_report(report)
    if report.stopped:
        show.failure(report.stopped)
        raise typer.Exit(1)


def foretelling(rapport: Rapport, budget: Budget | None) -> Callable[[Sequence[str]], None]:
    """What says, before people are tagged, what that is going to take, if it can cost anything."""

    def foretell(people: Sequence[str]) -> None:
        if budget:
            show.estimated(estimate(rapport, people, budget.price), budget.limits)

    return foretell


@app.command()
def recommend(
    user: User,
    n: Annotated[int, typer.Option("-n", help="How many.", min=1, max=200)] = 10,
    words: Annotated[str, typer.Option(help='What is wanted right now, e.g. "slow science fiction".')] = "",
    where: Annotated[list[str] | None, typer.Option(help='A filter, e.g. "year>=1990"; may be repeated.')] = None,
    surprise: Annotated[float, typer.Option(help="0 = familiar, 1 = surprising.", min=0, max=1)] = 0.2,
    new: Annotated[bool, typer.Option("--new", help="Answer for somebody who is not known, too.")] = False,
    language: Tongue = None,
    home: Home = None,
    llm: Llm = None,
    as_json: Json = False,
) -> None:
    """Ranked items, each with a reason and what it rests on."""
    with opened(home, llm) as rapport:
        found = rapport.recommend(
            user, n, words=words, where=where or (), surprise=surprise, language=language, allow_new=new
        )
        if as_json:
            emit(shapes.answer(found))
        else:
            ids = {one.item for each in found.items for one in each.receipts}
            show.answer(found, show.titles_of(rapport.store.items(ids)))
            show.provenance(found.provenance)


@app.command()
def explain(
    user: User,
    item: Annotated[str, typer.Argument(help="An item's id.")],
    home: Home = None,
    llm: Llm = None,
    as_json: Json = False,
) -> None:
    """Why this item would, or would not, suit this person."""
    with opened(home, llm) as rapport:
        found = rapport.explain(user, item)
        if as_json:
            emit(shapes.recommendation(found))
        else:
            titles = show.titles_of(rapport.store.items({one.item for one in found.receipts}))
            show.out.print(show.card(found, titles, ranked=False))


@app.command()
def chat(
    user: Annotated[str, typer.Option(help="Whose conversation it is.")] = "me",
    once: Annotated[str, typer.Option(help="One message instead of a conversation, for scripts.")] = "",
    conversation: Annotated[
        str, typer.Option(help="Go on with this one; default: a new one, with --once one of that name.")
    ] = "",
    n: Annotated[int, typer.Option("-n", help="How many cards at a time.", min=1, max=20)] = 5,
    driver: Driver = None,
    home: Home = None,
    llm: Llm = None,
    as_json: Json = False,
) -> None:
    """The conversation: say what you want, get cards with true reasons, correct what is believed about you."""
    from agent import terminal

    with opened(home, llm, driver) as rapport:
        if once and as_json:
            emit(shapes.reply(rapport.chat.reply(user, conversation or terminal.ONCE, once, n=n)))
        elif once:
            terminal.show_reply(rapport, rapport.chat.reply(user, conversation or terminal.ONCE, once, n=n))
        elif as_json:
            raise UsageError("--json is for one message: give it with --once")
        else:
            terminal.converse(rapport, user, conversation or terminal.new_name(), n)


@app.command()
def train(
    skills: Annotated[list[str], typer.Argument(help="wording, reading, judging; one or several.")],
    name: Annotated[str, typer.Option(help="What --llm calls the adapter: builtin+NAME; default: the skills.")] = "",
    base: Annotated[str, typer.Option(help="builtin, smollm2 or gguf:/path: the model that it is for.")] = "builtin",
    minutes: Annotated[float, typer.Option(help="How long it may take, about.", min=0.1)] = 60.0,
    examples: Annotated[int | None, typer.Option(help="How many of each skill to train on.", min=1)] = None,
    held: Annotated[int | None, typer.Option(help="How many of each to hold back.", min=1)] = None,
    measured: Annotated[int, typer.Option(help="How many of those to ask before and after.", min=0)] = 60,
    seed: Annotated[int, typer.Option(help="Another seed, other examples and another order.")] = 0,
    rank: Annotated[int, typer.Option(help="Size of the adapter.", min=1, max=256)] = 16,
    epochs: Annotated[int, typer.Option(help="How often each example is shown.", min=1)] = 2,
    precision: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option(help="Of the products with the base's weights; bfloat16 pays where the processor computes in it."),
    ] = "float32",
    show_examples: Annotated[int, typer.Option("--show", help="Print so many examples; train nothing.", min=0)] = 0,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what it would take; train nothing.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train an adapter for the model that runs here. Stopped, the same command goes on from the last checkpoint."""
    from agent.training import session
    from agent.training.learning import Recipe

    if find_spec("torch") is None and not show_examples:
        raise SetupError("training needs PyTorch: pip install '.[train]'")
    chosen = session.skills(skills)
    order = session.Order(
        skills=chosen,
        name=name or "-".join(chosen),
        base=base,
        count=show_examples or examples,
        held=held,
        minutes=minutes,
        measured=measured,
        recipe=Recipe(rank=rank, alpha=2.0 * rank, epochs=epochs, seed=seed, precision=precision),
    )
    with opened(home) as rapport:
        if show_examples:
            found = session.gathered(rapport, order)
            show.examples([(one.prompt, one.chat()[-1].content, one.answer) for one in found.training])
        elif estimate:
            show.out.print(str(session.foretell(rapport, order)))
        else:
            with show.training() as progress:
                report = session.train(rapport, order, show.told, progress)
            if as_json:
                emit(session.as_json(report))
            else:
                show.trained(report.before, report.after, f"{base}+{order.name}")


@app.command()
def doctor(home: Home = None, llm: Llm = None, as_json: Json = False) -> None:
    """What is there, what is missing, and the exact command that mends it."""
    with opened(home, llm) as rapport:
        found = examination.examine(rapport)
    if as_json:
        emit([{"what": one.what, "state": one.state, "found": one.found, "mend": one.mend} for one in found])
    else:
        show.findings(found)
    if any(one.state == "missing" for one in found):
        raise typer.Exit(1)


@app.command()
def logs(
    limit: Annotated[int, typer.Option(help="How many of the newest calls.", min=1)] = 20,
    user: Annotated[str | None, typer.Option(help="Only calls about this person.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Every call of a model: when, which prompt, tokens, time, outcome."""
    with opened(home) as rapport:
        found = rapport.store.calls(limit, user)
    if as_json:
        emit([shapes.call(one) for one in found])
    else:
        show.calls(found)


@app.command()
def export(user: User, home: Home = None) -> None:
    """Everything that is stored about a person, as JSON."""
    with opened(home) as rapport:
        rapport.known(user)
        emit(rapport.store.export_user(user))


@app.command()
def forget(
    user: User,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Remove a person from every table and file, with proof. This cannot be undone."""
    with opened(home) as rapport:
        rapport.known(user)
        if not yes:
            typer.confirm(f"Forget {user!r} for good?", abort=True, err=True)
        proof = rapport.forget(user)
    if as_json:
        emit(shapes.proof(proof))
    else:
        gone = ", ".join(f"{count} {table}" for table, count in proof.rows.items() if count)
        show.out.print(
            f"forgotten: {gone or 'nothing'}; {proof.searched} texts looked for in {proof.files} files, "
            f"{proof.found} found"
        )


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on; others than this machine's need a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0 takes any that is free.", min=0, max=65535)] = 8000,
    name: Annotated[list[str] | None, typer.Option(help="A host name that it is called by; may be repeated.")] = None,
    rate: Annotated[int, typer.Option(help="Requests a minute for each key.", min=1)] = 600,
    threads: Annotated[int, typer.Option(help="Requests computed at a time.", min=1, max=16)] = 8,
    patience: Annotated[float, typer.Option(help="Seconds that anybody waits for an answer.", min=1)] = 60.0,
    user_header: Annotated[
        str, typer.Option(help="For /v1: a header that names the person, from keys of scope proxy.")
    ] = "",
    driver: Driver = None,
    home: Home = None,
    llm: Llm = None,
) -> None:
    """HTTP API, an OpenAI-compatible endpoint, MCP and metrics, until it is stopped."""
    needs_service()
    from agent.service import run
    from agent.service.config import Config

    config = Config(host, port, tuple(name or ()), user_header, rate, threads, patience_s=patience)
    run.serve(load(home=home, llm=llm, driver=driver), config, show.told)


@app.command()
def mcp(
    user: Annotated[str, typer.Option(help="Whose tools these are.")],
    home: Home = None,
    llm: Llm = None,
) -> None:
    """The tools of one person for an MCP host, on stdin and stdout."""
    needs_service()
    from agent.service import run

    with opened(home, llm) as rapport:
        run.mcp(rapport, user)


def needs_service() -> None:
    """Raises SetupError when what a service stands on is not installed."""
    missing = [one for one in ("fastapi", "limits", "mcp", "prometheus_client", "uvicorn") if find_spec(one) is None]
    if missing:
        raise SetupError(f"{', '.join(missing)} is not installed: pip install '.[serve]'")


@keys_app.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(help="What it is for, in your words.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read · write · proxy (speaks for others) · admin (all); may be repeated."),
    ] = None,
    user: Annotated[str, typer.Option(help="The one person that it speaks for.")] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once; only its hash is kept."""
    with opened(home) as rapport:
        key, secret = Keys(rapport.store).add(name, scope or (), user)
    if as_json:
        emit({**shapes.key(key), "key": secret})
    else:
        sys.stdout.write(secret + "\n")
        show.told(f"key {key.id} is shown this once; send it as Authorization: Bearer …")


@keys_app.command("list")
def keys_list(home: Home = None, as_json: Json = False) -> None:
    """Every key, without its secret."""
    with opened(home) as rapport:
        found = Keys(rapport.store).every()
    if as_json:
        emit([shapes.key(one) for one in found])
    else:
        show.listing([(one.id, described(one)) for one in found])


@keys_app.command("revoke")
def keys_revoke(id: Annotated[str, typer.Argument(help="As in `rapport keys list`.")], home: Home = None) -> None:
    """From now on a key opens nothing."""
    with opened(home) as rapport:
        if not Keys(rapport.store).revoke(id):
            raise UsageError(f"there is no key {id!r}, or it is revoked already")
    show.told(f"key {id} is revoked")


def described(key: Key) -> str:
    """What a key is, on one line."""
    allows = f"for {key.user}" if key.user else ", ".join(key.scopes)
    revoked = f" · revoked {key.revoked:%Y-%m-%d}" if key.revoked else ""
    return f"{key.name} · {allows} · {key.made:%Y-%m-%d}{revoked}"


@prompts_app.command("list")
def prompts_list(as_json: Json = False) -> None:
    """Every prompt, its versions and languages."""
    from prompts import library

    found = library.every()
    if as_json:
        emit([{"id": one.id, "about": one.about, "inputs": sorted(one.inputs)} for one in found])
    else:
        show.listing([(one.id, one.about) for one in found])


@prompts_app.command("show")
def prompts_show(
    name: Annotated[str, typer.Argument(help="E.g. persona.")],
    language: Annotated[Literal["en", "zh"], typer.Option(help="en or zh.")] = "en",
    version: Annotated[int | None, typer.Option(help="Default: the newest.")] = None,
) -> None:
    """A prompt's template, as it lies in its file."""
    from agent.ask import template_of
    from prompts import library

    if name not in library.names():
        raise UsageError(f"no prompt is called {name!r}; there are {', '.join(library.names())}")
    found = template_of(name, language, version)
    sys.stdout.write("".join(f"[[{role}]]\n{source}" for role, source in found.sections))


@prompts_app.command("render")
def prompts_render(
    name: Annotated[str, typer.Argument(help="persona, tags, reason, rerank, sentiment …")],
    user: User,
    item: Annotated[str, typer.Option(help="For reason: which item; default: the first recommended.")] = "",
    home: Home = None,
) -> None:
    """The exact text for a real person, without calling a model."""
    from agent.rehearsal import rendered

    with opened(home, "none") as rapport:
        for number, chat in enumerate(rendered(rapport, name, user, item)):
            if number:
                sys.stdout.write("\n" + "=" * 72 + "\n")
            for message in chat:
                sys.stdout.write(f"--- {message.role}\n{message.content}\n")


@models_app.command("list")
def models_list(home: Home = None, as_json: Json = False) -> None:
    """The forms that --llm takes, the adapters that there are, and which model is in use."""
    from agent.ask import outdated
    from agent.llm.adapters import about, every
    from agent.llm.connect import BACKENDS

    settings = load(home=home)
    found = [backend.form for backend in BACKENDS.values()]
    trained = {name: about(path) for name, path in every(settings.adapters_folder).items()}
    if as_json:
        adapters = {
            name: {"skill": one.skill, "stale": outdated(one.prompts), "recipe": one.recipe}
            for name, one in trained.items()
        }
        emit({"in_use": settings.llm, "forms": found, "adapters": adapters})
    else:
        show.out.print(f"in use: [bold]{escape(settings.llm)}[/]")
        for form in found:
            show.out.print(f"  {escape(form)}")
        for name, one in trained.items():
            stale = f", stale: {', '.join(old)} changed since" if (old := outdated(one.prompts)) else ""
            show.out.print(f"  +{name}: {one.skill}{stale}")


@models_app.command("use")
def models_use(
    spec: Annotated[str, typer.Argument(help="As for --llm.")],
    home: Home = None,
) -> None:
    """Open a model once, and write it into rapport.toml so that it answers from now on."""
    from agent.settings import keep

    with opened(home, spec) as rapport:
        name = rapport.llm.name
        path = keep(rapport.settings.home, "llm", spec)
    show.out.print(f"{escape(name)} answers from now on ({escape(str(path))})")


def receipt_titles(rapport: Rapport, found: Profile) -> dict[str, str]:
    return show.titles_of(rapport.store.items({one.item for tag in found.tags for one in tag.receipts}))


def add_plugins() -> None:
    """Commands of packages that stand above this one, such as `rapport eval`; found by entry point, never imported."""
    for entry in entry_points(group="rapport.commands"):
        app.add_typer(entry.load(), name=entry.name)


def show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"rapport {version('rapport')}\n")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Options that every command has are listed with each command."""


def main() -> None:
    try:
        status = run()
        # What is still in the buffer would meet a closed pipe only after the last line of Python.
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has read enough, as in `rapport logs | head -1`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


def run() -> int | str | None:
    """The command of sys.argv; its exit status."""
    try:
        add_plugins()
        app()
    except SystemExit as error:
        if error.code == INTERRUPTED:
            show.err.print("stopped; what was done is kept")
        return error.code
    except UsageError as error:
        show.failure(str(error))
        return 2
    except RapportError as error:
        show.failure(str(error))
        return 1
    return 0


if __name__ == "__main__":
    main()
