"""Whatever a catalogue, a review, a tag, a message or a name holds: on a page it is text. TRUST S7."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from agent.history.store import event_id
from agent.types import Event, Item

BREAKERS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>', "' autofocus onfocus=alert(1) x='",
    "</title><script>alert(1)</script>", "{{ 7*7 }}{% raw %}", "javascript:alert(1)", "&lt;b&gt;<b>",
    "]]><!--", "</form></li>",
    "\u202eevil\u202c", "<|im_start|>system", "%3Cscript%3E", "</textarea><a href=//evil.example>x",
)  # fmt: skip
NAME = 'o\'<script>alert("n")</script>&'
START = datetime(2025, 1, 1, tzinfo=UTC)
OURS = {"section", "script", "form", "button", "input", "svg", "path", "rect", "link", "meta", "dialog", "template"}
MAY_SAY = re.compile(r"on[a-z]+$|style$|srcdoc$|srcset$")


def catalogue() -> list[Item]:
    return [
        Item(
            f"{n}{text}",
            f"{text} film {n}",
            f"{text} about {text}",
            (text[:40], "Drama"),
            {"creator": (text,), "year": 2000 + n},
        )
        for n, text in enumerate(BREAKERS * 3)
    ]


def history() -> list[Event]:
    found = []
    for n, item in enumerate(catalogue()[::2]):
        at = START + timedelta(days=n)
        found.append(
            Event(
                event_id(NAME, item.id, "review", at),
                NAME,
                item.id,
                "review",
                4.5 if n % 3 else 1.5,
                f"{item.title}!",
                at,
            )
        )
    return found


class Markup(HTMLParser):
    """Every element and attribute of a page, as a browser takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def harmless(page: str) -> list[str]:
    """What a page says; fails where data became markup."""
    seen = Markup()
    seen.feed(page)
    for tag, attributes in seen.found:
        assert tag not in ("img", "iframe", "object", "b-evil"), tag
        if tag == "script":
            assert (attributes.get("src") or "").startswith("/static/")
        for name, value in attributes.items():
            assert not MAY_SAY.match(name), (tag, name)
            if name in ("href", "src", "action", "formaction", "data-load"):
                assert (value or "").startswith(("/", "#")), value
                assert not (value or "").startswith("//"), value
    return [tag for tag, _ in seen.found]


@pytest.fixture
def hostile(shop):
    from starlette.testclient import TestClient

    from agent.service.app import build
    from agent.service.config import Config
    from tests.agent.service.conftest import Service
    from tests.agent.service.pages.conftest import Reader

    frame = build(shop(catalogue(), history()), Config())
    with TestClient(frame, "http://localhost") as client:
        yield Reader(Service(client, frame.desk, None), {"Accept-Language": "en", "Accept": "text/html"})  # type: ignore[arg-type]


def test_every_page_holds_it_as_text(hostile):
    assert "alert" in html.unescape(hostile.get("/sign-in").text), "the name is there"
    harmless(hostile.get("/sign-in?q=%3Cscript%3E&to=%22%3E%3Cscript%3E").text)
    user = {"user": NAME}
    assert hostile.post("/sign-in", user).status_code == 303
    for text in (*BREAKERS, f"I loved {BREAKERS[0]} film 0", "more like 1"):
        for line in hostile.post("/chat", {"c": BREAKERS[2], "text": text}).text.splitlines():
            if line.startswith("data: "):
                harmless(json.loads(line[6:])["html"])
    pages = ("/chat", "/for-you/list", "/taste/body", "/data", "/operator", "/operator/people", "/operator/calls")
    told = ""
    for path in pages:
        page = hostile.get(path).text
        harmless(page)
        told += html.unescape(page)
    person = hostile.service.client.get("/operator/person", params=user, headers=hostile.headers).text
    harmless(person)
    for text in BREAKERS[:4]:
        assert html.escape(text) in person or text in html.unescape(person), text
        assert text in told, "what is not shown proves nothing"
    assert "49" not in re.findall(r">\s*(49)\s*<", told), "a template in data is text"


def test_buttons_and_previews_hold_it_as_text(hostile):
    hostile.post("/sign-in", {"user": NAME})
    item = catalogue()[1]
    for button in ("liked", "more", "less"):
        page = hostile.post("/for-you/list", {"do": f"{button} {item.id}", "shown": [item.id]}).text
        harmless(page)
        assert "onerror" in html.unescape(page)
    for tag in hostile.service.rapport.profile(NAME).tags:
        for change in ({"action": "remove"}, {"action": "rename", "to": "x"}):
            harmless(hostile.post("/taste/preview", {"name": tag.name, **change}).text)
    for text in BREAKERS:
        harmless(hostile.post("/taste/preview", {"action": "add", "name": text}).text)
        harmless(hostile.post("/taste/save", {"action": text, "name": text, "to": text}).text)
        harmless(hostile.post("/for-you/list", {"do": text, "undo": text, "drop": text}).text)
        harmless(hostile.post("/sign-in", {"user": text, "to": text}, part=False).text)


def test_no_template_lets_data_through():
    from agent.service.pages.render import FOLDER

    for one in FOLDER.rglob("*.html"):
        source = one.read_text()
        assert not re.search(r"\|\s*safe|Markup|autoescape|\{%-?\s*raw", source), one.name
