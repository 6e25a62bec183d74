"""The application: routes, errors and the life of one process, put together. Serves one home."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from starlette.routing import Route

from agent.errors import RapportError
from agent.service import mcp_server, problem, schemas
from agent.service.access import Doorman
from agent.service.config import Config
from agent.service.desk import Desk
from agent.service.frame import Frame
from agent.service.metrics import Metrics
from agent.service.pages import door
from agent.service.pages import routes as pages
from agent.service.pages.render import Renderer
from agent.service.pages.session import Seal
from agent.service.pool import Gone
from agent.service.problem import Problem, Wrong
from agent.service.requests import Parts
from agent.service.routes import chat, events, health, items, openai, people
from agent.wiring import Rapport

log = logging.getLogger("rapport.service")
ABOUT = "A recommendation agent that gets to know people: interest tags with receipts, explained recommendations."


def build(rapport: Rapport, config: Config, metrics: Metrics | None = None) -> Frame:
    """The ASGI application over an opened home; its lifespan begins and ends the work, `rapport` stays the caller's.

    Raises StoreError."""
    metrics = metrics or Metrics()
    desk = Desk(rapport, config)
    doorman = Doorman(desk.keys, config)
    tools = mcp_server.Door(desk, doorman)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with tools.running():
            looking = asyncio.create_task(look_after(desk))
            try:
                yield
            finally:
                looking.cancel()
                with suppress(asyncio.CancelledError):
                    await looking
                await asyncio.to_thread(desk.stop)

    app = FastAPI(
        title="Rapport",
        version=version("rapport"),
        description=ABOUT,
        lifespan=life,
        max_body_size=config.body,
        # The usual pages load scripts from elsewhere: whoever wants them points them at /openapi.json.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.parts = Parts(desk, doorman)
    app.state.office = door.Office(Renderer(), Seal.of(rapport.settings.home / "pages.key"))
    for router in (
        items.router,
        events.routes(config.bulk),
        chat.router,
        people.router,
        openai.router,
        health.routes(metrics),
        *pages.ROUTERS,
    ):
        app.include_router(router)
    app.router.routes.append(Route("/mcp", tools, include_in_schema=False))
    problem.install(app)
    door.install(app)

    @app.exception_handler(Gone)
    async def nobody(request: Request, error: Exception) -> Response:
        return Response(status_code=499)

    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    return Frame(app, desk, metrics, config.names)


async def look_after(desk: Desk) -> None:
    """Now and then, for as long as the service lives."""
    while True:
        await asyncio.sleep(desk.config.look_s)
        try:
            await asyncio.to_thread(desk.look_after)
        except RapportError as error:
            log.error("looking after the index failed: %s", error)


def described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, with the one form that errors have."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        form = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        form.pop("$defs", None)
        found["components"]["schemas"] |= {"Problem": form, "Wrong": Wrong.model_json_schema()}
        for path, operations in found["paths"].items():
            if path.startswith("/v1/"):
                # Added for every route that has a body; there it is a 400.
                for operation in operations.values():
                    operation["responses"].pop("422", None)
        found["components"]["schemas"].pop("HTTPValidationError", None)
        found["components"]["schemas"].pop("ValidationError", None)
        for one in schemas.PARTS:
            part = one.model_json_schema(ref_template="#/components/schemas/{model}")
            part.pop("$defs", None)
            found["components"]["schemas"][one.__name__] = part
        app.openapi_schema = found
    return app.openapi_schema
