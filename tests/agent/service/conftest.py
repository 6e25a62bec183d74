"""A service over the bundled sample, without a model and with its index in memory, called in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service's libraries are not installed: make install")

import uvicorn
from starlette.testclient import TestClient

from agent import sample
from agent.history.keys import Keys
from agent.llm.base import LLM
from agent.service.app import build
from agent.service.config import Config
from agent.service.desk import Desk
from agent.service.metrics import Metrics
from agent.service.model import Patient
from agent.service.run import listening, server_config
from agent.wiring import Rapport


@dataclass
class Service:
    """A running service and a client that speaks to it."""

    client: TestClient
    desk: Desk
    metrics: Metrics

    @property
    def rapport(self) -> Rapport:
        return self.desk.rapport

    def get(self, path: str, key: str = "", **more: Any):
        return self.client.get(path, headers=bearer(key), **more)

    def post(self, path: str, body: Any = None, key: str = "", again: str = ""):
        headers = bearer(key) | ({"Idempotency-Key": again} if again else {})
        return self.client.post(path, json=body, headers=headers)

    def key(self, *scopes: str, user: str = "") -> str:
        return Keys(self.rapport.store).add("test", scopes, user)[1]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


Open = Callable[..., Service]


@pytest.fixture
def serve(shop) -> Iterator[Open]:
    """Opens a service; closed at the end, whatever happens."""
    with ExitStack() as stack:

        def serve_(llm: LLM | None = None, *, index: bool = True, name: str = "home", **config: Any) -> Service:
            metrics = Metrics()
            model = Patient(llm, metrics.call) if llm else None
            rapport = shop(sample.films(), sample.events(), model, index=index, name=name)
            frame = build(rapport, Config(**config), metrics)
            client = stack.enter_context(TestClient(frame, "http://localhost", raise_server_exceptions=False))
            return Service(client, frame.desk, metrics)

        yield serve_


@pytest.fixture
def service(serve: Open) -> Service:
    return serve()


@dataclass
class Live:
    """A service behind a real server on loopback."""

    url: str
    port: int
    desk: Desk
    server: uvicorn.Server

    def keys(self, *scopes: str, user: str = "") -> str:
        return Keys(self.desk.rapport.store).add("test", scopes, user)[1]


@pytest.fixture
def live(shop) -> Iterator[Callable[..., Live]]:
    """Opens a service behind uvicorn, in a thread."""
    with ExitStack() as stack:

        def live_(llm: LLM | None = None, **config: Any) -> Live:
            chosen, metrics = Config(port=0, **config), Metrics()
            rapport = shop(sample.films(), sample.events(), Patient(llm, metrics.call) if llm else None)
            frame = build(rapport, chosen, metrics)
            sock = stack.enter_context(listening(chosen))
            server = uvicorn.Server(server_config(frame, chosen))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
            thread.start()

            def end() -> None:
                server.should_exit = True
                thread.join(30)
                assert not thread.is_alive()

            stack.callback(end)
            port = sock.getsockname()[1]
            return Live(f"http://127.0.0.1:{port}", port, frame.desk, server)

        yield live_
