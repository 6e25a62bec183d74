"""Whether the service is alive, ready, and how it does, for those who operate it."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from agent.service import schemas
from agent.service.metrics import Metrics
from agent.service.problem import answers, anyway
from agent.service.requests import Do, Who
from agent.service.schemas import Json

NOT_READY = {503: {"model": schemas.Ready, "description": "The store does not answer."}}


def routes(metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["operating"])

    @router.get("/health", response_model=schemas.Health, responses=anyway())
    async def health() -> Json:
        """The process answers."""
        return {"status": "alive"}

    @router.get("/ready", response_model=schemas.Ready, responses=answers() | NOT_READY)
    async def ready(do: Do) -> Response:
        """Whether the store, the index and the model answer. Without index or model it answers all the same, and says
        in every answer that it is degraded."""
        parts = {one.name: not one.wrong for one in await do(do.desk.health)}
        body = schemas.Ready(
            ready=parts["store"],
            degraded=not all(parts.values()),
            store=parts["store"],
            index=parts["index"],
            model=parts["model"],
        )
        return JSONResponse(body.model_dump(), 200 if body.ready else 503)

    @router.get(
        "/metrics",
        response_class=Response,
        responses=answers() | {200: {"description": "Prometheus text format.", "content": {"text/plain": {}}}},
    )
    async def scrape(who: Who, do: Do) -> Response:
        """Counts and times, for Prometheus."""
        who.need("read")
        body, kind = metrics.text(do.desk.pool.busy)
        return Response(body, media_type=kind)

    return router
