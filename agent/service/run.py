"""Starting and stopping the services: the web server over an opened home, and the MCP server on stdin and stdout."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from agent.errors import SetupError
from agent.history.keys import Keys
from agent.service.app import build
from agent.service.config import Config
from agent.service.mcp_server import for_one
from agent.service.metrics import Metrics
from agent.service.model import Patient
from agent.service.wire import Wire
from agent.settings import Settings
from agent.wiring import Rapport, open_model, open_rapport

BUSY_S = 5.0
"""How long a request waits for another process that writes, before it is told to come back."""
OPEN = "nobody needs a key yet; `rapport keys add` makes one"


def serve(settings: Settings, config: Config, tell: Callable[[str], None]) -> None:
    """Serve the home until the process is told to stop; `tell` hears what people should know.

    Raises SetupError, StoreError, LLMError.
    """
    logged()
    metrics = Metrics()
    settings = settings.model_copy(update={"busy_s": min(settings.busy_s, BUSY_S)})
    model = Patient(open_model(settings), metrics.call)
    with listening(config) as sock, open_rapport(settings=settings, llm=model) as rapport:
        check(rapport, config)
        app = build(rapport, config, metrics)
        tell(f"opening {settings.home} · model {model.name}")
        app.desk.warm()
        if wrong := rapport.without_index:
            tell(f"answers without an index: {wrong}")
        host, port = sock.getsockname()[:2]
        keys = "" if Keys(rapport.store).any() else f" · {OPEN}"
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        tell(f"listening on {address}{keys}")
        tell(f"pages for people: {address}/")
        # uvicorn sends itself again what it was stopped by: that must end this block, not the process.
        signal.signal(signal.SIGTERM, stop)
        try:
            uvicorn.Server(server_config(app, config)).run(sockets=[sock])
        except KeyboardInterrupt:
            tell("stopped")


def check(rapport: Rapport, config: Config) -> None:
    """Raises SetupError where anybody could read everything."""
    if not config.loopback and not Keys(rapport.store).any():
        raise SetupError(
            f"{config.host} can be reached from other machines, and no API key was made yet: "
            "`rapport keys add NAME --scope admin` makes one, or listen on 127.0.0.1"
        )


def listening(config: Config) -> socket.socket:
    """Raises SetupError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        raise SetupError(f"cannot listen on {config.host}:{config.port}: {error.strerror or error}") from error


def server_config(app: object, config: Config) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        # Who forwards is not known to be honest: addresses are those that connect.
        proxy_headers=False,
        server_header=False,
        lifespan="on",
        http=Wire,
        ws="none",
        timeout_graceful_shutdown=max(1, round(config.grace_s)),
    )


def stop(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def logged() -> None:
    """Messages on stderr: ours, and others' from warnings on."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("rapport").setLevel(logging.INFO)


def mcp(rapport: Rapport, user: str) -> None:
    """The tools of one person on stdin and stdout, until stdin ends."""
    logged()
    for_one(rapport, user).run("stdio")
