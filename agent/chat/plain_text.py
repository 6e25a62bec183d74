"""A reply as text that any chat program shows: titles, years and reasons as a small part of markdown.

Whatever a title or a reason holds is shown as it is: nothing in it is read as markup or becomes a link.
"""

from __future__ import annotations

import re

from agent.chat.parts import Cards, Part, Question, Words
from agent.features import number
from agent.recommend.catalogue import plain
from agent.types import Recommendation

MARKUP = re.compile(r"([\\`*_\[\]<>|~])")
LINK = re.compile(r"(?<=[A-Za-z]):(?=//)|(?<=\bwww)\.", re.IGNORECASE)
MOST_LINE = 400


def text_of(part: Part) -> str:
    """What one part adds to the text; "" for what is not shown."""
    match part:
        case Words(text):
            # Two blanks: markdown would join the lines.
            return inert(text).replace("\n", "  \n")
        case Cards(items):
            return "\n\n" + "\n".join(map(line, items)) + "\n"
        case Question(_, text, options):
            return f"\n\n{inert(text)} {inert(' · '.join(options))}"
        case _:
            return ""


def line(one: Recommendation) -> str:
    """One item: "2. **Heat** (1995): why"."""
    year = number(one.item, "year")
    made = f" ({year:g})" if year else ""
    return f"{one.rank}. **{inert(plain(one.item.title, MOST_LINE))}**{made}: {inert(plain(one.reason, MOST_LINE))}"


def inert(text: str) -> str:
    """Text that a reader of markdown shows as it is.

    >>> inert("M*A*S*H <b>")
    'M\\\\*A\\\\*S\\\\*H \\\\<b\\\\>'
    """
    return LINK.sub(lambda found: "\\" + found[0], MARKUP.sub(r"\\\1", text))
