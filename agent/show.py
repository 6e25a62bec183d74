"""How the command line looks to a person: rich tables and panels; knows no store and no model.

The output layer: whatever a title, a review or a model says is shown as plain text. Nothing in it is read as markup of
rich, and control characters, which a terminal would obey, are taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from agent.doctor import Finding
from agent.history.importing import ImportReport
from agent.recommend.catalogue import plain
from agent.types import Answer, Call, Item, Profile, Provenance, Receipt, Recommendation, Sentiment, Tag

out = Console(highlight=False, emoji=False)
"""Data."""
err = Console(stderr=True, highlight=False, emoji=False)
"""Progress and messages."""

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
    """A bar on stderr; yields a function of (done, total), total None where it is not known."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
