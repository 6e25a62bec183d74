"""Around every request: its id, the host it names, where it comes from, its count, and one line in the log.

A pure ASGI application around another, outside everything that may answer. The log and the counts name routes, never
addresses, because addresses name people.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import time
import uuid
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.service import problem
from agent.service.desk import Desk
from agent.service.metrics import Metrics

log = logging.getLogger("rapport.access")
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Frame:
    """`app`, which stands on `desk`, with `names` as the hosts that it may be called by, beside this machine and plain
    addresses."""

    def __init__(self, app: ASGIApp, desk: Desk, metrics: Metrics, names: Iterable[str]) -> None:
        self.app = app
        self.desk = desk
        self._metrics = metrics
        self._names = {"localhost", socket.gethostname().lower(), *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        id = headers.get("x-request-id", "")
        id = id if GIVEN_ID.fullmatch(id) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = id
        started = time.perf_counter()
        answer = _Answer(send, id, scope["path"])
        try:
            if refused := self._refused(scope["method"], headers):
                status, kind, detail = refused
                refusal = problem.refusal(scope["path"], id, status, kind, detail)
                await refusal(scope, receive, answer.send)
            else:
                await self.app(scope, receive, answer.send)
        finally:
            # Nothing was answered: the caller had gone.
            status, seconds = answer.status or 499, time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "") or "unmatched"
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.request(method, route, status, seconds)
            log.info("%s %s %s %d %.0f ms", id, method, route, status, seconds * 1000)

    def _refused(self, method: str, headers: Headers) -> tuple[int, str, str] | None:
        """Why a request is not looked at: a page of another site may have sent it through somebody's browser."""
        host = headers.get("host", "")
        if not self._known(name_of(f"//{host}")):
            return 421, "misdirected", "this service is not called by that name: `rapport serve --name` adds one"
        origin = headers.get("origin")
        if origin is not None and urlsplit_or_none(origin) != host.lower():
            return 403, "cross-site", "requests from pages of other sites are refused"
        if headers.get("sec-fetch-site") == "cross-site" and not _follows_a_link(method, headers):
            return 403, "cross-site", "requests from pages of other sites are refused"
        return None

    def _known(self, name: str) -> bool:
        # A name can be made to lead here by whoever owns it (DNS rebinding), an address cannot.
        return name in self._names or is_address(name)


class _Answer:
    """An answer on its way out."""

    def __init__(self, send: Send, id: str, path: str) -> None:
        self._send = send
        self._id = id
        self._path = path
        self._replaced = False
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=list(message["headers"]))
            self._replaced = self.status == 413 and headers.get("content-type", "").startswith("text/plain")
            if self._replaced:
                # The limit on bodies answers before the application does.
                instead = problem.refusal(self._path, self._id, 413, "too-much", problem.MEANING[413])
                self._body = instead.body
                headers = MutableHeaders(raw=list(instead.raw_headers))
            headers["X-Request-ID"] = self._id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
            message = {**message, "headers": headers.raw}
        elif message["type"] == "http.response.body" and self._replaced:
            message = {**message, "body": self._body}
        await self._send(message)


def _follows_a_link(method: str, headers: Headers) -> bool:
    """Whether somebody opens a page here from a page there: a whole window, and reading changes nothing."""
    return (
        method == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and "origin" not in headers
    )


def urlsplit_or_none(url: str) -> str | None:
    """Host and port of a URL, in small letters; None for what is none."""
    try:
        return urlsplit(url).netloc.lower() or None
    except ValueError:
        return None


def name_of(url: str) -> str:
    """The host of a URL without its port, in small letters; "" for what is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
