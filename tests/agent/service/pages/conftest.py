"""Somebody at the pages without a browser: cookies are kept, forms carry what the page put into them."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

import pytest

TOKEN = re.compile(r'name="token" value="([0-9a-f]+)"')


@dataclass
class Reader:
    """A visitor of one service."""

    service: Any
    headers: dict[str, str]

    def get(self, path: str, part: bool = False, **headers: str):
        more = {"X-Rapport-Part": "1"} if part else {}
        return self.service.client.get(path, headers=self.headers | more | headers, follow_redirects=False)

    def post(self, path: str, fields: dict[str, Any], part: bool = True, token: str | None = None, **headers: str):
        token = self.token() if token is None else token
        more = {"Origin": "http://localhost", **({"X-Rapport-Part": "1"} if part else {})}
        return self.service.client.post(
            path, data={"token": token, **fields}, headers=self.headers | more | headers, follow_redirects=False
        )

    def token(self) -> str:
        found = TOKEN.search(self.get("/sign-in").text)
        assert found
        return found[1]

    def enter(self, user: str) -> Reader:
        said = self.post("/sign-in", {"user": user})
        assert said.status_code == 303, said.text
        return self


def text(page: str) -> str:
    """What somebody reads."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def shown(page: str) -> list[str]:
    """Ids of the cards, in their order."""
    return [html.unescape(one) for one in re.findall(r'name="shown" value="([^"]*)"', page)]


@pytest.fixture
def visit(serve):
    """Opens a service and a visitor of it."""

    def visit_(language: str = "en", **config: Any) -> Reader:
        return Reader(serve(**config), {"Accept-Language": language, "Accept": "text/html"})

    return visit_


@pytest.fixture
def reader(visit) -> Reader:
    return visit()
