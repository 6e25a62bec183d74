"""How fast people are tagged, as ratios: both sides of each row are timed in turns in one run on the same machine.

The other side is what a program would do with llama-cpp-python as it comes: the packaged weights, one call at a time,
or its own OpenAI-compatible server. Prints numbers; judges no text.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from agent import show
from agent.batch.runner import Order, tag
from agent.llm.base import LLM, Message, Schema
from agent.llm.isolated import Isolated
from agent.llm.scheduler import Usage
from agent.settings import Settings, load
from agent.wiring import Rapport, open_rapport
from eval.recording import Asked, Recording

SLICES = 2
"""Runs of ours, each followed by one of the other side on a part of the same calls."""
CLIENTS = 8
"""Callers of the server at a time."""
LETTERS_ASKED = 3
"""Prompts of one rerank by letters: the content-free one and two orders."""
INTERACTIVE = 30
"""Interactive answers that are timed alone, and as many beside a batch."""
WRAPPED: Schema = {
    "type": "object",
    "properties": {"persona": {"type": "string", "maxLength": 280}},
    "required": ["persona"],
    "additionalProperties": False,
}
"""The same text asked for as JSON, for the comparison with the schema option."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `figure` and `bar` are in `unit`."""

    what: str
    against: str
    figure: float
    bar: float
    unit: str
    detail: str
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.figure <= self.bar if self.at_most else self.figure >= self.bar


def run_on_home(home: Path | None, llm: str | None, users: int) -> dict[str, Any]:
    """Every row of the table for the first `users` people of a home, which is copied and not changed.

    `users`: 200 for the table in the docs; the slow sides are timed on a tenth of the calls and scaled.
    """
    # The packaged weights on both sides: with Rapport's adapter a model writes other texts, of other lengths.
    settings = load(home=home, llm=llm or "smollm2")
    with copied(settings) as copy, open_rapport(settings=copy) as rapport:
        model = cast(Isolated, rapport.llm)
        if not isinstance(model, Isolated):
            raise SystemExit("speed is measured on a model that runs here: --llm smollm2 or gguf:/path")
        say = show.told
        everybody = rapport.store.users()
        chosen = everybody[:: max(1, len(everybody) // users)][:users]
        say(f"{len(chosen)} people, {model.name}")
        say("warming up")
        warm(model)
        rates = best_rates(model)
        say(f"best measured here: {rates.prompt:.0f} prompt and {rates.decode:.0f} answer tokens a second")
        tagging = tagged(rapport, model, chosen, say)
        say("the server of llama-cpp-python")
        served = beside_the_server(model, tagging)
        say("one person's list")
        listed = one_list(rapport, model, chosen)
        say("answers beside a batch")
        alone, beside = interactive(model, tagging)
        say("answers under a schema")
        schema = under_schema(model, tagging)
        memory = model.peak_memory()
    floor = floor_s(tagging.used, rates)
    rows = [
        Row(
            "people tagged a second",
            "the same prompts one at a time through Llama.create_chat_completion",
            ratio(tagging.ours, tagging.plain),
            5.0,
            "x",
            f"{tagging.ours_rate:.2f} against {tagging.plain_rate:.2f} a second, "
            f"slices {spread(tagging.ours, tagging.plain)}",
        ),
        Row(
            "people tagged a second, persona as JSON",
            "the same, with its schema option",
            schema.ratio,
            5.0,
            "x",
            f"{schema.ours:.2f} against {schema.plain:.2f} answers a second, "
            f"{schema.forced:.0%} of our answer tokens appended",
        ),
        Row(
            "people tagged a second",
            f"llama-cpp-python's own server, {CLIENTS} clients",
            served.ratio,
            4.0,
            "x",
            f"{served.ours:.2f} against {served.plain:.2f} answers a second",
        ),
        Row(
            "prompt tokens computed",
            "prompt tokens submitted",
            100 * tagging.used.computed_tokens / max(1, tagging.used.prompt_tokens),
            40.0,
            "%",
            f"{tagging.used.computed_tokens:,} of {tagging.used.prompt_tokens:,}",
            at_most=True,
        ),
        Row(
            "rerank of 20 and 5 reasons for one person",
            "the same, one call at a time through Llama",
            listed.ratio,
            3.0,
            "x",
            f"{1 / listed.ours:.2f} s against {1 / listed.plain:.2f} s; in our engine one call at a time "
            f"{1 / listed.one_by_one:.2f} s; {listed.computed / rates.prompt:.2f} s is what its "
            f"{listed.computed:.0f} prompt tokens need",
        ),
        Row(
            "p95 of an interactive answer beside a batch",
            "alone",
            percentile(beside, 95) / percentile(alone, 95),
            2.0,
            "x",
            f"{percentile(beside, 95):.2f} s against {percentile(alone, 95):.2f} s, {len(alone)} answers each",
            at_most=True,
        ),
        Row(
            "time that the tokens need at the best measured rates",
            "time taken",
            100 * floor / tagging.seconds,
            80.0,
            "%",
            f"{floor:.1f} s of {tagging.seconds:.1f} s; inside the decoder "
            f"{tagging.used.decode_s / tagging.seconds:.0%}",
        ),
        Row(
            "peak memory of the model's process",
            "",
            memory / 2**20,
            1024.0,
            "MiB",
            "weights, cache and buffers",
            at_most=True,
        ),
    ]
    return {
        "model": model.name,
        "machine": machine(),
        "people": len(chosen),
        "calls": len(tagging.asked),
        "rates": {"prompt_tokens_s": round(rates.prompt, 1), "decode_tokens_s": round(rates.decode, 1)},
        "floor_s": round(floor, 2),
        "seconds": round(tagging.seconds, 2),
        "rows": [
            {
                "what": row.what,
                "against": row.against,
                "figure": round(row.figure, 2),
                "bar": row.bar,
                "unit": row.unit,
                "met": row.met,
                "detail": row.detail,
            }
            for row in rows
        ],
    }


def markdown(result: dict[str, Any]) -> str:
    """The table as it stands in the docs."""
    lines = ["| what | against | figure | bar | met | |", "|---|---|---|---|---|---|"]
    for row in result["rows"]:
        figure, bar = f"{row['figure']:g} {row['unit']}", f"{row['bar']:g} {row['unit']}"
        met = "yes" if row["met"] else "no"
        lines.append(f"| {row['what']} | {row['against']} | {figure} | {bar} | {met} | {row['detail']} |")
    return "\n".join(lines)


# -- tagging


@dataclass(frozen=True, slots=True)
class Tagging:
    """One batch, run in slices between slices of the other side."""

    asked: tuple[Asked, ...]
    """Every call that the batch made."""
    people: int
    seconds: float
    used: Usage
    ours: tuple[float, ...]
    """Calls a second, per slice."""
    plain: tuple[float, ...]
    """Calls a second of the other side, per slice."""

    @property
    def ours_rate(self) -> float:
        """People a second."""
        return self.people / self.seconds

    @property
    def plain_rate(self) -> float:
        """People a second, at as many calls for each as the batch made."""
        return statistics.mean(self.plain) * self.people / len(self.asked)


def tagged(rapport: Rapport, model: Isolated, people: Sequence[str], say: Callable[[str], None]) -> Tagging:
    """The batch as `rapport tag` runs it, in slices of the people, each between two slices of the plain side."""
    asked: list[Asked] = []
    ours: list[float] = []
    plain: list[float] = []
    seconds, used = 0.0, Usage()
    with plain_llama() as llama:
        for number in range(SLICES):
            share = people[number::SLICES]
            before, known = model.usage(), len(asked)
            recording = Recording(model, asked)
            say(f"tagging {len(share)} people")
            report = tag(rapport.with_llm(recording), Order(users=share))
            spent = difference(model.usage(), before)
            seconds += report.seconds
            used = total(used, spent)
            mine = asked[known:]
            ours.append(len(mine) / report.seconds)
            few = mine[:: max(1, len(mine) // max(5, len(mine) // 10))]
            say(f"{len(few)} of its {len(mine)} calls one at a time")
            plain.append(rate(few, lambda one: create(llama, one)))
    return Tagging(tuple(asked), len(people), seconds, used, tuple(ours), tuple(plain))


@contextmanager
def plain_llama() -> Iterator[Any]:
    """llama-cpp-python's own class on the packaged weights, with its defaults and room for our prompts."""
    from llama_cpp import Llama

    with closing(Llama(str(packaged()), n_ctx=4096, verbose=False)) as llama:
        create(llama, Asked((Message("user", "Say hello."),), max_tokens=4))
        yield llama


def create(llama: Any, one: Asked, schema: Schema | None = None) -> None:
    """One call as the class's users make it; a choice costs it a prompt pass and one token."""
    form = schema or one.schema
    llama.create_chat_completion(
        [{"role": message.role, "content": message.content} for message in one.chat],
        max_tokens=one.max_tokens,
        temperature=one.temperature,
        seed=one.seed,
        response_format={"type": "json_object", "schema": form} if form else None,
    )


def packaged() -> Path:
    from agent.llm.weights import BUILTIN_FILE, BUILTIN_PACKAGE, package_file

    return package_file(BUILTIN_PACKAGE, BUILTIN_FILE, install="make install")


# -- the other rows


@dataclass(frozen=True, slots=True)
class Pair:
    """Answers, or lists, a second of both sides."""

    ours: float
    plain: float
    forced: float = 0.0

    @property
    def ratio(self) -> float:
        return self.ours / self.plain


def beside_the_server(model: Isolated, tagging: Tagging) -> Pair:
    """The batch's calls by CLIENTS callers of `python -m llama_cpp.server`, and by as many of ours."""
    some = [one for one in tagging.asked if not one.choices][: max(CLIENTS * 2, len(tagging.asked) // 5)]
    with server() as url:
        from openai import OpenAI

        client = OpenAI(base_url=url, api_key="none", max_retries=0, timeout=600)

        def theirs(one: Asked) -> None:
            client.chat.completions.create(
                model="m",
                messages=cast(Any, [{"role": each.role, "content": each.content} for each in one.chat]),
                max_tokens=one.max_tokens,
                temperature=one.temperature,
            )

        theirs(some[0])
        with ThreadPoolExecutor(CLIENTS) as pool:
            ours = rate(some, lambda one: answer(model, one), pool)
            plain = rate(some, theirs, pool)
            ours = statistics.mean((ours, rate(some, lambda one: answer(model, one), pool)))
    return Pair(ours, plain)


@contextmanager
def server() -> Iterator[str]:
    """llama-cpp-python's OpenAI server on loopback, on the packaged weights."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "llama_cpp.server", "--model", str(packaged()), "--n_ctx", "4096"]
    words += ["--host", "127.0.0.1", "--port", str(port), "--verbose", "False"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit("llama-cpp-python's server did not start: make install") from None
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True, slots=True)
class Listed(Pair):
    """Lists a second."""

    one_by_one: float = 0.0
    """In our engine, one call at a time."""
    computed: float = 0.0
    """Prompt tokens that a list costs our engine."""


def one_list(rapport: Rapport, model: Isolated, people: Sequence[str]) -> Listed:
    """One person's rerank by letters and five reasons: together in our engine, and one call at a time.

    Both of ours begin with nothing kept; the other side may keep what it has of the person before.
    """
    from agent.rehearsal import rendered

    ours, single, plain, computed = [], [], [], []
    with plain_llama() as llama:
        for user in people[: max(3, min(10, len(people) // 20))]:
            votes = [Asked(tuple(chat), choices=LETTERS) for chat in rendered(rapport, "rerank", user)[:LETTERS_ASKED]]
            reasons = [Asked(tuple(chat), max_tokens=60) for chat in rendered(rapport, "reason", user)[:5]]
            model.clear()
            before = model.usage()
            ours.append(1 / seconds_of(lambda v=votes, r=reasons: together(model, v, r)))
            computed.append(difference(model.usage(), before).computed_tokens)
            plain.append(1 / seconds_of(lambda v=votes, r=reasons: [create(llama, one) for one in (*v, *r)]))
            model.clear()
            single.append(1 / seconds_of(lambda v=votes, r=reasons: [answer(model, one) for one in (*v, *r)]))
    return Listed(
        statistics.median(ours),
        statistics.median(plain),
        one_by_one=statistics.median(single),
        computed=statistics.mean(computed),
    )


LETTERS = tuple("ABCDEFGHIJKLMNOPQRST")


def together(model: Isolated, votes: Sequence[Asked], reasons: Sequence[Asked]) -> None:
    """As the recommender asks: the votes in one call, then the reasons in one."""
    model.choose([one.chat for one in votes], LETTERS)
    model.generate([one.chat for one in reasons], max_tokens=60)


def interactive(model: Isolated, tagging: Tagging) -> tuple[list[float], list[float]]:
    """Seconds of single answers alone, and of the same while a batch runs in the background."""
    some = [one for one in tagging.asked if not one.choices]
    questions = (some * INTERACTIVE)[:INTERACTIVE]
    alone = [seconds_of(lambda one=one: answer(model, one)) for one in questions]
    stop = threading.Event()
    background = model.in_background()

    def batch() -> None:
        while not stop.is_set():
            background.generate([one.chat for one in some[:64]], max_tokens=90)

    thread = threading.Thread(target=batch, daemon=True)
    thread.start()
    time.sleep(3)
    try:
        beside = []
        for one in questions:
            beside.append(seconds_of(lambda one=one: answer(model, one)))
            # People do not ask without a pause; in it the batch gets under way again.
            time.sleep(0.3)
    finally:
        stop.set()
        thread.join()
    return alone, beside


def under_schema(model: Isolated, tagging: Tagging) -> Pair:
    """Personas asked for as JSON: batched and with forced text appended, against the class's schema option."""
    some = [one for one in tagging.asked if not one.choices and not one.temperature]
    some = some[:: max(1, len(some) // max(16, len(some) // 4))]
    few = some[:: max(1, len(some) // max(5, len(some) // 5))]
    before = model.usage()
    with plain_llama() as llama:
        plain = [rate(few, lambda one: create(llama, one, WRAPPED))]
        ours = rate([None], lambda _: model.generate([one.chat for one in some], schema=WRAPPED, max_tokens=90))
        plain.append(rate(few, lambda one: create(llama, one, WRAPPED)))
    spent = difference(model.usage(), before)
    forced = spent.forced_tokens / max(1, spent.forced_tokens + spent.sampled_tokens)
    return Pair(ours * len(some), statistics.mean(plain), forced)


# -- the floor


@dataclass(frozen=True, slots=True)
class Rates:
    """Tokens a second at best."""

    prompt: float
    decode: float


def best_rates(model: Isolated) -> Rates:
    """The engine's rate on prompts that share nothing, and on answers with as many at a time as it takes."""
    prompts, decodes = [], []
    for turn in range(2):
        model.clear()
        chats = [[Message("user", f"{turn}{number} " + lorem(number + 40 * turn, 300))] for number in range(8)]
        before = model.usage()
        model.generate(chats, max_tokens=1)
        spent = difference(model.usage(), before)
        prompts.append(spent.computed_tokens / spent.decode_s)
        model.clear()
        short = [[Message("user", f"Count up from {number} as far as you can.")] for number in range(32)]
        before = model.usage()
        model.generate(short, max_tokens=48, temperature=1.5, seed=turn)
        spent = difference(model.usage(), before)
        spent_on_prompts = spent.computed_tokens / max(prompts)
        decodes.append(spent.sampled_tokens / max(0.001, spent.decode_s - spent_on_prompts))
    return Rates(max(prompts), max(decodes))


def floor_s(used: Usage, rates: Rates) -> float:
    """Seconds for the tokens that had to be computed, at the best measured rates."""
    return used.computed_tokens / rates.prompt + used.sampled_tokens / rates.decode


def lorem(seed: int, words: int) -> str:
    """Words without sense that differ from seed to seed."""
    stock = ("river", "stone", "amber", "quiet", "lantern", "copper", "maple", "drift", "harbour", "velvet", "signal")
    return " ".join(stock[(seed * 7 + n * n + n * seed) % len(stock)] for n in range(words))


def warm(model: Isolated) -> None:
    model.generate([[Message("user", "Say hello.")]] * 4, max_tokens=8)


# -- arithmetic


def rate(what: Sequence[Any], do: Callable[[Any], Any], pool: ThreadPoolExecutor | None = None) -> float:
    """How many of `what` are done a second."""
    started = time.perf_counter()
    if pool:
        list(pool.map(do, what))
    else:
        for one in what:
            do(one)
    return len(what) / (time.perf_counter() - started)


def seconds_of(do: Callable[[], Any]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def answer(model: LLM, one: Asked) -> None:
    if one.choices:
        model.choose([one.chat], one.choices)
    else:
        model.generate(
            [one.chat], schema=one.schema, max_tokens=one.max_tokens, temperature=one.temperature, seed=one.seed
        )


def ratio(ours: Sequence[float], plain: Sequence[float]) -> float:
    """Median over the slices of ours by theirs."""
    return statistics.median(one / other for one, other in zip(ours, plain, strict=True))


def spread(ours: Sequence[float], plain: Sequence[float]) -> str:
    ratios = sorted(one / other for one, other in zip(ours, plain, strict=True))
    return f"{ratios[0]:.2f} to {ratios[-1]:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` per cent of `values` do not pass.

    >>> percentile([3.0, 1.0, 2.0, 4.0], 50)
    2.0
    """
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share) // 100) - 1)]


def difference(now: Usage, before: Usage) -> Usage:
    return Usage(*(getattr(now, name) - getattr(before, name) for name in Usage.__dataclass_fields__))


def total(one: Usage, other: Usage) -> Usage:
    return Usage(*(getattr(one, name) + getattr(other, name) for name in Usage.__dataclass_fields__))


# -- the home and the machine


@contextmanager
def copied(settings: Settings) -> Iterator[Settings]:
    """The same settings on a copy of the home in which nobody has a profile yet."""
    if not settings.database_file.exists():
        raise SystemExit(f"there is nothing imported in {settings.home}: rapport import, then rapport index")
    with tempfile.TemporaryDirectory(prefix="rapport-speed-") as folder:
        home = Path(folder)
        with (
            closing(sqlite3.connect(settings.database_file)) as source,
            closing(sqlite3.connect(home / settings.database_file.name)) as target,
        ):
            source.backup(target)
            for table in ("profiles", "tallies", "jobs", "answers"):
                if target.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                    target.execute(f"DELETE FROM {table}")
            target.commit()
        if settings.index_folder.exists():
            shutil.copytree(settings.index_folder, home / settings.index_folder.name)
        yield settings.model_copy(update={"home": home, "database": ""})


def machine() -> str:
    """Processor and cores, as a line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"
