"""How the command line looks to a person: rich tables and panels; knows no store and no model.

The output layer: whatever a title, a review or a model says is shown as plain text. Nothing in it is read as markup of
rich, and control characters, which a terminal would obey, are taken out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from agent.batch import report as batch
from agent.batch.budget import Estimate, Limits
from agent.doctor import Finding
from agent.history.importing import ImportReport
from agent.recommend.catalogue import plain
from agent.types import Answer, Call, Item, Profile, Provenance, Receipt, Recommendation, Sentiment, Tag

if TYPE_CHECKING:
    from agent.training.learning import Course
    from agent.training.measure import Measured

out = Console(highlight=False, emoji=False)
"""Data."""
err = Console(stderr=True, highlight=False, emoji=False)
"""Progress and messages."""

PLAIN_S = 10.0
"""How often a batch tells how far it is where there is no terminal to draw a bar on."""
LISTED = 10
"""Failures, and unknown people, that are named."""
BAR = 10
TITLE, LINE = 40, 200
"""Characters of a title in a receipt, and of one line of text, that are shown."""
WORDS = {
    "en": {"likes": "likes", "dislikes": "tends not to like", "maybe": "perhaps", "because": "because of"},
    "zh": {"likes": "喜欢", "dislikes": "不太喜欢", "maybe": "也许", "because": "依据"},
}


def import_report(report: ImportReport, *, dry_run: bool, rejects: Path | None) -> None:
    """What an import accepted and refused, with file, line and reason."""
    table = Table(box=None, pad_edge=False)
    for heading in ("", "added", "changed", "unchanged"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, counts in (("items", report.items), ("events", report.events)):
        table.add_row(name, *(f"{count:,}" for count in (counts.added, counts.changed, counts.unchanged)))
    rate = (report.events.added + report.events.changed + report.events.unchanged) / max(report.seconds, 1e-6)
    out.print(f"[bold]{report.format}[/]{' (dry run: nothing was kept)' if dry_run else ''}")
    out.print(table)
    out.print(
        f"{report.refused:,} rows refused · {report.duplicates:,} duplicate events · {report.referred_only:,} items "
        f"without a title · {report.seconds:.1f} s, {rate:,.0f} events/s"
    )
    for reason, count in sorted(report.reasons.items(), key=lambda pair: -pair[1]):
        out.print(f"  [yellow]{count:,}[/] {escape(plain(reason, LINE))}")
    for one in report.examples[:5]:
        out.print(f"  [dim]{escape(one.file)}:{one.line} {escape(one.reason)}: {escape(plain(one.raw, 80))}[/]")
    for note in report.notes:
        out.print(f"  [dim]{escape(plain(note, LINE))}[/]")
    if report.refused and rejects:
        out.print(f"refused rows: {escape(str(rejects))}")


def profile(one: Profile, titles: Mapping[str, str], *, receipts: int = 2) -> None:
    """A person: persona, tags with their receipts, and where it came from."""
    out.print(portrait(one, titles, receipts=receipts))


def portrait(one: Profile, titles: Mapping[str, str], *, receipts: int = 2) -> Panel:
    said = WORDS[one.language]
    groups = [
        (said["likes"], "green", [tag for tag in one.tags if tag.polarity > 0 and tag.kind != "latent"]),
        (said["dislikes"], "red", [tag for tag in one.tags if tag.polarity < 0]),
        (said["maybe"], "yellow", [tag for tag in one.tags if tag.kind == "latent"]),
    ]
    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True, max_width=30, overflow="ellipsis")
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for heading, colour, tags in groups:
        for number, tag in enumerate(tags):
            table.add_row(
                heading if number == 0 else "",
                Text(plain(tag.name, LINE), style=f"bold {colour}" if tag.kind == "stated" else colour),
                Text(bar(tag.weight), style=colour),
                rests_on(tag, titles, receipts),
            )
    persona = Text(plain(one.persona, 4 * LINE), style="italic")
    counted = one.sentiment
    opinions = f"{counted.positive} good, {counted.neutral} neutral, {counted.negative} bad"
    said = [opinions] if counted != Sentiment() else []
    events = f"{one.events} {'event' if one.events == 1 else 'events'}"
    footer = " · ".join([events, *said, f"persona by {one.persona_by}"])
    body = Group(persona, Text(""), table) if one.tags else persona
    return Panel(body, title=f"[bold]{escape(plain(one.user, LINE))}[/]", title_align="left", subtitle=footer)


def bar(weight: float) -> str:
    full = round(weight * BAR)
    return "█" * full + "░" * (BAR - full)


def rests_on(tag: Tag, titles: Mapping[str, str], most: int) -> Text:
    """The receipts of a tag, one a line: the title, and the words that were written about it."""
    parts = dict.fromkeys(quoted(one, titles) for one in tag.receipts)
    return Text("\n".join(list(parts)[:most]) or "said so", style="dim")


def quoted(one: Receipt, titles: Mapping[str, str]) -> str:
    title = shortened(plain(titles.get(one.item) or one.item, LINE), TITLE)
    return f"{title}: “{plain(one.quote, LINE)}”" if one.quote else title


def answer(one: Answer, titles: Mapping[str, str], *, heading: str = "") -> None:
    """Recommendations with reasons and what they rest on."""
    out.print(listed(one, titles, heading=heading))


def listed(one: Answer, titles: Mapping[str, str], *, heading: str = "") -> Group:
    rows: list[RenderableType] = [Text.from_markup(heading)] if heading else []
    rows += [card(each, titles) for each in one.items]
    if not one.items:
        rows.append(Text("Nothing in the catalogue matches.", style="yellow"))
    return Group(*rows)


def card(one: Recommendation, titles: Mapping[str, str], *, ranked: bool = True) -> Padding:
    """One item: what it is, why, and what that rests on."""
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(f"{one.rank:>2}  " if ranked else "    ", style="bold cyan")
    head.append(plain(one.item.title, LINE), style="bold")
    head.append(f"  {facts(one.item)}", style="dim")
    if one.explored:
        head.append("  new ground", style="yellow")
    grounds = [
        Text(f"⤷ {quoted(each, titles)}", style="dim", no_wrap=True, overflow="ellipsis") for each in one.receipts[:2]
    ]
    below = Padding(Group(Text(plain(one.reason, 2 * LINE)), *grounds), (0, 0, 0, 4), expand=False)
    return Padding(Group(head, below), (0, 0, 0, 1), expand=False)


def facts(item: Item) -> str:
    """Year, makers and categories in one line."""
    year = item.attributes.get("year")
    made = item.attributes.get("creator", ())
    makers = [made] if isinstance(made, str) else list(made) if isinstance(made, tuple) else []
    parts = [str(year) if year else "", ", ".join(makers[:2]), " · ".join(item.categories[:3])]
    return plain(" | ".join(part for part in parts if part), LINE)


def provenance(one: Provenance) -> None:
    """Where an answer came from, on stderr."""
    tokens = f"{one.prompt_tokens} + {one.completion_tokens} tokens" if one.prompt_tokens else "no tokens"
    prompts = escape(", ".join(one.prompts)) or "no prompt"
    err.print(f"[dim]model {escape(one.model)} · {tokens} · {one.ms:.0f} ms · {prompts}[/]")
    for note in one.notes:
        err.print(f"[dim]  {escape(plain(note, 2 * LINE))}[/]")


def findings(found: Sequence[Finding]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in found:
        mark = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "missing": "[red]✗[/]"}[one.state]
        mend = f"\n[bold]→ {escape(one.mend)}[/]" if one.mend and one.state != "ok" else ""
        table.add_row(mark, escape(one.what), escape(one.found) + mend)
    out.print(table)


def calls(found: Sequence[Call]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("at (UTC)", "user", "prompt", "model", "tokens", "ms", "outcome"):
        table.add_column(heading, overflow="ellipsis", justify="right" if heading in ("tokens", "ms") else "left")
    for one in found:
        table.add_row(
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            escape(shortened(plain(one.user, LINE), 20)),
            escape(one.prompt),
            escape(shortened(one.model, 30)),
            f"{one.prompt_tokens}+{one.completion_tokens}",
            f"{one.ms:.0f}",
            one.outcome,
        )
    out.print(table)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def titles_of(items: Mapping[str, Item]) -> dict[str, str]:
    return {id: item.title for id, item in items.items()}


def listing(rows: Sequence[tuple[str, str]]) -> None:
    """Names and what they are, in two columns."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, about in rows:
        table.add_row(escape(name), escape(about))
    out.print(table)


def failure(message: str) -> None:
    """Why a command stopped, on stderr, in the words of the error."""
    err.print(f"[red]rapport:[/] {escape(message)}")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr, or a line now and then where there is no terminal; yields a function of (done, total), total
    None where it is not known."""
    if not err.is_terminal:
        yield Steps(what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def tagging() -> Iterator[Callable[[batch.Progress], None]]:
    """How far a batch is, on stderr: a bar on a terminal, else a line after the first person and now and then."""
    if not err.is_terminal:
        yield Lines()
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda now: shown.update(task, completed=now.done, total=now.total, description=escape(pace(now)))


class Steps:
    """Progress of one thing as plain lines; none where it takes less than PLAIN_S."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()

    def __call__(self, done: int, total: int | None) -> None:
        if time.monotonic() - self._last >= PLAIN_S:
            self._last = time.monotonic()
            err.print(f"{escape(self._what)}: {done:,}{f' of {total:,}' if total else ''}")


class Lines:
    """Progress as plain lines."""

    def __init__(self) -> None:
        self._last: float | None = None

    def __call__(self, now: batch.Progress) -> None:
        # The first line says that work is being done, so it waits for the first person.
        if now.tagged and (self._last is None or time.monotonic() - self._last >= PLAIN_S):
            self._last = time.monotonic()
            left = (now.total - now.done) / now.rate if now.rate else 0.0
            err.print(f"{now.done} of {now.total} · {pace(now)} · {span(left)} left", soft_wrap=True)


@contextmanager
def training() -> Iterator[Callable[[Course], None]]:
    """How far a training run is, on stderr: every look at unseen facts is told."""
    with progress("learning") as steps:
        seen = 0

        def shown(now: Course) -> None:
            nonlocal seen
            steps(now.step, now.steps)
            for point in now.points[seen:]:
                told(f"step {point.step} of {now.steps}: loss {point.loss:.3f}, on unseen facts {point.unseen:.3f}")
            seen = len(now.points)
            if now.stopped:
                told(f"stopped: {now.stopped}")

        yield shown


def trained(before: Measured | None, after: Measured | None, spec: str) -> None:
    """What the served model made of examples that were held back, before and after."""
    for when, found in (("before", before), ("after", after)):
        for line in found.lines() if found else ():
            out.print(f"{when:6} · {escape(line)}", soft_wrap=True)
    for one in after.written if after else ():
        for text in one.samples:
            out.print(f"  {one.prompt}: {escape(text)}", soft_wrap=True)
    err.print(f"next: [bold]rapport models use {escape(spec)}[/]")


def examples(rows: Sequence[tuple[str, str, str]]) -> None:
    """Prompt, the last message, and the answer."""
    for prompt, asked, answer in rows:
        out.print(f"[bold]{escape(prompt)}[/]\n{escape(asked)}\n  → {escape(answer)}\n", soft_wrap=True)


def pace(now: batch.Progress) -> str:
    parts = [f"{now.failed} failed" if now.failed else "", f"{now.rate:.2g} people/s", f"{now.tokens:,} tokens"]
    return " · ".join([*filter(None, parts), *([dollars(now.cost)] if now.cost else [])])


def span(seconds: float) -> str:
    """A time in words that fit its size."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def dollars(cost: float) -> str:
    return f"${cost:.4f}" if cost < 0.1 else f"${cost:,.2f}"


def told(line: str) -> None:
    """A step of something long, on stderr."""
    err.print(escape(plain(line, 2 * LINE)), soft_wrap=True)


def estimated(one: Estimate, limits: Limits) -> None:
    """What a batch is going to take, on stderr, before it starts."""

    def amount(prompt: int, answer: int, cost: float | None) -> str:
        return f"{prompt:,} + {answer:,} tokens" + (f", {dollars(cost)}" if cost else "")

    usually = amount(one.prompt_tokens, one.completion_tokens, one.cost)
    most = amount(one.most_prompt_tokens, one.most_completion_tokens, one.most_cost)
    err.print(f"{one.people} people: about {usually}; at most {most}", soft_wrap=True)
    over = limits.cost is not None and one.cost is not None and one.cost > limits.cost
    if over or (limits.tokens is not None and one.prompt_tokens + one.completion_tokens > limits.tokens):
        err.print("[yellow]that is more than is allowed: the run will stop before it is passed[/]")


def tag_report(one: batch.Report) -> None:
    """What became of a batch."""
    parts = [f"[bold]{one.tagged:,} tagged[/]", f"{one.unchanged:,} unchanged"]
    parts += [f"[red]{len(one.failures):,} failed[/]"] if one.failures else []
    parts += [f"[yellow]{one.remaining:,} to be done[/]"] if one.remaining else []
    out.print(" · ".join(parts), soft_wrap=True)
    if one.tagged:
        tokens = f"{one.prompt_tokens:,} + {one.completion_tokens:,} tokens"
        spent = f" · {dollars(one.cost)}" if one.cost else ""
        out.print(
            f"{span(one.seconds)}, {one.rate:.3g} people/s · {tokens}{spent} · {escape(one.model)}", soft_wrap=True
        )
    for reason, count in one.reasons.items():
        out.print(f"  [red]{count:,}[/] {escape(reason)}")
    for failure in one.failures[:LISTED]:
        who = shortened(plain(failure.user, LINE), TITLE)
        out.print(
            f"  [dim]{escape(who)}: {escape(plain(f'{failure.reason}: {failure.message}', LINE))}[/]", soft_wrap=True
        )
    if len(one.failures) > LISTED:
        out.print(f"  [dim]… and {len(one.failures) - LISTED:,} more: --json lists them all[/]")
    if one.failures:
        out.print("  [bold]rapport tag --retry-failed[/] tries them again")
    if one.unknown:
        named = ", ".join(shortened(plain(user, LINE), TITLE) for user in one.unknown[:LISTED])
        out.print(f"  [yellow]{len(one.unknown):,} not in the history:[/] {escape(named)}", soft_wrap=True)
    for note in one.notes:
        out.print(f"  [dim]{escape(plain(note, LINE))}[/]", soft_wrap=True)
