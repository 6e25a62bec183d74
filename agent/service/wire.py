"""HTTP as it comes off the wire: what cannot be read as a request is refused in the form of every other refusal.

No application sees such a request, so its answer is made here, and in one piece.
"""

from __future__ import annotations

import asyncio
import logging
import uuid

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from agent.service import problem

log = logging.getLogger("rapport.access")


class Wire(AutoHTTPProtocol):
    """uvicorn's protocol, whichever parser is installed."""

    transport: asyncio.Transport
    url = b""
    """As far as the parser came; it takes no more than 65,535 bytes of it."""

    def send_400_response(self, msg: str) -> None:
        id = uuid.uuid4().hex
        log.info("%s unreadable 400", id)
        refusal = problem.refusal(self.url.decode("latin-1"), id, 400, "unreadable", problem.MEANING[400])
        told = {"X-Request-ID": id, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        refusal.headers.update(told | {"Connection": "close"})
        head = b"".join(name + b": " + value + b"\r\n" for name, value in refusal.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + bytes(refusal.body))
        self.transport.close()
