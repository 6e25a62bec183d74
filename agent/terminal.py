"""The conversation in a terminal: lines in, parts out as they are made, and a few commands that begin with a slash."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from agent import show
from agent.chat.memory import Card
from agent.chat.parts import Cards, Chip, Done, Part, Question, Understood, Words
from agent.errors import RapportError, UsageError
from agent.recommend.catalogue import plain
from agent.wiring import Rapport

ONCE = "once"
"""The conversation that single messages belong to."""
PROMPT = "› "
HELP = """\
Say what you want, e.g. “something short and funny, no horror”, or name what you liked. Or:
  /why 2       why number 2 was shown
  /like 3      /dislike 1      /seen 2
  /wishes      what is asked for until it expires; /drop 1 takes the first one back, /drop all all of them
  /undo        take back what the last message taught
  /help        this      /quit or Ctrl-D ends"""


def new_name() -> str:
    """A conversation's name that is new."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"


def converse(rapport: Rapport, user: str, conversation: str, n: int) -> None:
    """Until the end of the input, or /quit."""
    with show.err.status("looking at the catalogue"):
        talk = rapport.chat
    show.err.print(f"[dim]{escape(user)} · conversation {escape(conversation)} · /help, Ctrl-D ends[/]")
    while True:
        try:
            line = read_line().strip()
        except (EOFError, KeyboardInterrupt):
            show.err.print()
            return
        if line in ("/quit", "/exit", "/bye"):
            return
        if not line:
            continue
        try:
            if line.startswith("/"):
                command(rapport, user, conversation, line, n)
            else:
                show_reply(rapport, talk.reply(user, conversation, line, n=n))
        except RapportError as error:
            show.failure(str(error))


def read_line() -> str:
    """What somebody types; from a pipe without a prompt."""
    if sys.stdin.isatty():
        return input(PROMPT)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    show.out.print(f"[bold]{PROMPT}[/]{escape(plain(line, 500))}")
    return line


def command(rapport: Rapport, user: str, conversation: str, line: str, n: int) -> None:
    """One line that begins with a slash. Raises UsageError."""
    name, _, argument = line[1:].partition(" ")
    argument = argument.strip()
    commands: dict[str, Callable[[], None]] = {
        "help": lambda: show.out.print(HELP, markup=False),
        "why": lambda: show_reply(rapport, rapport.chat.reply(user, conversation, f"why {argument or 1}?", n=n)),
        "like": lambda: verdict(rapport, user, conversation, argument, "liked"),
        "dislike": lambda: verdict(rapport, user, conversation, argument, "disliked"),
        "seen": lambda: verdict(rapport, user, conversation, argument, "seen"),
        "wishes": lambda: wishes(rapport.chat.wishes(user)),
        "drop": lambda: drop(rapport, user, argument),
        "undo": lambda: undone(rapport.chat.undo(user, conversation)),
    }
    if name not in commands:
        raise UsageError(f"there is no /{plain(name, 40)}; there are {', '.join(f'/{one}' for one in commands)}")
    commands[name]()


def verdict(
    rapport: Rapport, user: str, conversation: str, argument: str, said: Literal["liked", "disliked", "seen"]
) -> None:
    """What a person says of a card, by its number."""
    listed = next((one.body.cards for one in reversed(rapport.chat.history(user, conversation)) if one.body.cards), [])
    one = numbered(listed, argument)
    rapport.chat.opinion(user, one.item, said, conversation=conversation)
    item = rapport.store.item(one.item)
    show.out.print(Text(f"noted: {said} {plain(item.title if item else one.item, show.LINE)}", style="dim"))


def numbered(listed: Sequence[Card], argument: str) -> Card:
    """The card that a number names. Raises UsageError."""
    if not argument.isdigit() or not 1 <= int(argument) <= len(listed):
        raise UsageError(f"give a number from 1 to {len(listed)}" if listed else "nothing has been shown yet")
    return listed[int(argument) - 1]


def wishes(found: Sequence[Chip]) -> None:
    if not found:
        show.out.print("[dim]nothing in particular is asked for[/]")
    for number, one in enumerate(found, 1):
        line = Text(f"{number:>2}  ", style="bold cyan")
        line.append(one.text)
        until = f"until {one.expires.astimezone():%H:%M}" if one.expires else ""
        line.append(f"  {until} · you said “{plain(one.quote, 80)}”", style="dim")
        show.out.print(line)


def drop(rapport: Rapport, user: str, argument: str) -> None:
    found = rapport.chat.wishes(user)
    if argument == "all":
        gone = rapport.chat.revoke(user)
    elif argument.isdigit() and 1 <= int(argument) <= len(found):
        gone = rapport.chat.revoke(user, found[int(argument) - 1].key)
    else:
        raise UsageError("give the number of a wish, as /wishes shows them, or all")
    undone([one.text for one in gone])


def undone(said: Sequence[str]) -> None:
    text = f"taken back: {'; '.join(said)}" if said else "there is nothing to take back"
    show.out.print(Text(plain(text, show.LINE), style="dim"))


def show_reply(rapport: Rapport, parts: Iterable[Part]) -> None:
    """A reply as it is made: words first, then cards, then what was understood."""
    open_line = False
    for one in parts:
        if isinstance(one, Words):
            # Line by line, so that no title can write over what was there.
            for number, line in enumerate(one.text.split("\n")):
                if number:
                    show.out.print()
                show.out.print(Text(safe(line)), end="", soft_wrap=True)
            open_line = True
            continue
        if open_line:
            show.out.print()
            open_line = False
        if isinstance(one, Cards):
            cards(rapport, one)
        elif isinstance(one, Question):
            show.out.print(Text(one.text, style="bold"))
            show.out.print(
                Padding(Text(" · ".join(plain(each, 60) for each in one.options), style="cyan"), (0, 0, 0, 4))
            )
        elif isinstance(one, Understood):
            chips(one)
        elif isinstance(one, Done):
            show.err.print(f"[dim]{one.ms:.0f} ms[/]")
    if open_line:
        show.out.print()


def cards(rapport: Rapport, found: Cards) -> None:
    titles = show.titles_of(rapport.store.items({one.item for each in found.items for one in each.receipts}))
    for each in found.items:
        show.out.print(show.card(each, titles))
    if found.degraded:
        for note in found.provenance.notes:
            show.err.print(f"[dim]  {escape(plain(note, show.LINE))}[/]")


def chips(found: Understood) -> None:
    """What was written down of the message, and what is asked for until it expires."""
    line = Text(style="dim")
    for one in found.chips:
        if one.kind == "undone":
            line.append(f"[{plain(one.text, 80)}] ", style="strike")
        elif one.kind != "wish":
            line.append(f"[{plain(one.text, 80)}] ", style="green")
    for one in found.in_force:
        line.append(f"[{plain(one.text, 80)} ×] ", style="cyan")
    if line:
        show.out.print(line, soft_wrap=True)


def safe(line: str) -> str:
    """One line without control characters, its blanks at the ends kept."""
    body = plain(line, 10 * show.LINE)
    return f"{' ' if line[:1] == ' ' else ''}{body}{' ' if line[-1:] == ' ' and body else ''}"
