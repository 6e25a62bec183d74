"""Templates, words and headers of the pages: values in, HTML out. Everything that comes from data is escaped.

Knows no store and no request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from agent.service.pages import chinese, english
from agent.types import Language

FOLDER = Path(__file__).parent
KINDS = {"rapport.css": "text/css", "rapport.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""What may be loaded beside the pages, and nothing else may."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # Not "no-referrer": a form would then be sent with the origin "null".
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
SPOKEN: tuple[Language, ...] = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Words:
    """What the pages say in one language; a template calls it."""

    language: Language

    def __call__(self, key: str, what: object = "", n: int = 0) -> str:
        """One phrase with its blanks filled. Raises KeyError."""
        return self._table[key].format(what=what, n=n)

    def count(self, key: str, n: int) -> str:
        """So many of something: "1 event", "3 events"."""
        return self(f"{key}_1" if n == 1 else key, n=n)

    def has(self, key: str) -> bool:
        return key in self._table

    @property
    def _table(self) -> Mapping[str, str]:
        return (chinese if self.language == "zh" else english).WORDS


def preferred(accepted: str, default: Language) -> Language:
    """The language that a browser asks for in Accept-Language, of those that there are."""
    wanted: list[tuple[float, int, Language]] = []
    for place, one in enumerate(accepted.split(",")[:20]):
        name, _, weight = one.strip().partition(";q=")
        for known in SPOKEN:
            if name.lower().split("-")[0] == known:
                wanted.append((-quality(weight), place, known))
    return min(wanted)[2] if wanted else default


def quality(text: str) -> float:
    """The q of Accept-Language; what is none counts least."""
    return float(text) if re.fullmatch(r"[01](\.\d{1,3})?", text) else 0.0 if text else 1.0


class Renderer:
    """The templates, read once."""

    def __init__(self) -> None:
        self.files = {name: (FOLDER / "static" / name).read_bytes() for name in KINDS}
        self._versions = {name: sha256(body).hexdigest()[:12] for name, body in self.files.items()}
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["asset"] = self.asset
        self._templates.filters |= {"day": day, "clock": clock, "moment": moment, "hue": hue, "initial": initial}

    def asset(self, name: str) -> str:
        """The address of a file that never changes under it."""
        return f"/static/{name}?v={self._versions[name]}"

    def text(self, template: str, values: Mapping[str, Any]) -> str:
        return self._templates.get_template(template).render(values)

    def response(self, template: str, values: Mapping[str, Any], status: int = 200) -> HTMLResponse:
        return HTMLResponse(self.text(template, values), status, HEADERS)

    def macro(self, template: str, name: str) -> Callable[..., str]:
        """One macro of a template, for a piece that is sent alone."""
        return getattr(self._templates.get_template(template).module, name)


def day(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d}"


def clock(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def moment(at: datetime | None) -> str:
    return "" if at is None else f"{clock(at)} UTC"


def hue(text: str) -> int:
    """One of twelve colours, always the same for the same text."""
    return sha256(text.encode("utf-8", "replace")).digest()[0] % 12


def initial(title: str) -> str:
    """What stands on the tile of something without a picture."""
    words = [word for word in title.split() if word[:1].isalnum()]
    skipped = [word for word in words if word.lower() not in ("the", "a", "an")] or words
    return skipped[0][0].upper() if skipped else "·"
