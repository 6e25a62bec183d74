"""Rapport for hosts that speak MCP: tools and resources for one person, over HTTP beside the API or over stdio.

Whose they are comes from the key or the command line. No tool has a parameter for it, so no model can ask in another
name.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import Field
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from agent import shapes
from agent.errors import NotAllowed, RapportError, UnknownItem
from agent.personal import Opinion, Personal
from agent.service import problem
from agent.service.access import Doorman, speaks_for
from agent.service.desk import Desk
from agent.wiring import Rapport

log = logging.getLogger("rapport.service")
Value = TypeVar("Value")
Ask = Callable[[Context[Any, Any], Callable[[Personal], Value]], Awaitable[Value]]
"""Has work done for the person of a session."""
ABOUT = (
    "Recommendations for one person, each with a true reason. Use `recommend` for what they might like, `search` to "
    "find an item's id by its title, `explain` for why, `profile` for what is believed about them, `chat` to pass on "
    "what they say in a conversation that remembers it. When they state a taste, `remember` it; when they say that "
    "they liked, disliked or have seen something, give `feedback`. What `chat` was told needs neither. Recommend "
    "nothing that these tools did not return."
)
Words = Annotated[str, Field(max_length=2000, description="What is wanted, in the person's words.")]
Id = Annotated[str, Field(min_length=1, max_length=512, description="An item's id, as other tools return it.")]
Filters = Annotated[
    list[Annotated[str, Field(max_length=500)]],
    Field(max_length=20, description="Filters such as year>=1990 or categories:Drama."),
]


def server(ask: Ask[Any]) -> MCPServer:
    """The tools and resources. `ask`: how work is done, and for whom."""
    made = MCPServer("rapport", instructions=ABOUT)

    @made.tool()
    async def recommend(
        ctx: Context[Any, Any],
        words: Words = "",
        n: Annotated[int, Field(ge=1, le=50)] = 5,
        where: Filters = [],  # noqa: B006 - read only
    ) -> dict[str, Any]:
        """Items for this person, best first, each with a reason and what it rests on."""
        return await told(ask, ctx, lambda one: one.recommend(words, n, where))

    @made.tool()
    async def chat(
        ctx: Context[Any, Any],
        message: Annotated[
            str, Field(min_length=1, max_length=2000, description="What the person said, word for word.")
        ],
        conversation: Annotated[
            str,
            Field(min_length=1, max_length=200, description="The same name for as long as the conversation goes on."),
        ] = "mcp",
        n: Annotated[int, Field(ge=1, le=50)] = 5,
    ) -> dict[str, Any]:
        """One turn of a conversation: understands wishes, opinions, "more like 2", "why?", "forget that"; answers with
        words, items with reasons, perhaps a question. What the person says about their taste is written down."""
        return await told(ask, ctx, lambda one: one.chat(message, conversation, n))

    @made.tool()
    async def explain(ctx: Context[Any, Any], item: Id) -> dict[str, Any]:
        """Why an item would, or would not, suit this person."""
        return await told(ask, ctx, lambda one: one.explain(item))

    @made.tool()
    async def search(
        ctx: Context[Any, Any],
        words: Words,
        n: Annotated[int, Field(ge=1, le=50)] = 10,
        where: Filters = [],  # noqa: B006 - read only
    ) -> dict[str, Any]:
        """Items of the catalogue by words and filters, the same for everybody."""
        return await told(ask, ctx, lambda one: one.search(words, n, where))

    @made.tool()
    async def profile(ctx: Context[Any, Any]) -> dict[str, Any]:
        """What is believed about this person: tags with receipts, persona."""
        return await told(ask, ctx, lambda one: one.profile())

    @made.tool()
    async def remember(
        ctx: Context[Any, Any],
        tag: Annotated[str, Field(min_length=1, max_length=48, description="A taste in a word or two, e.g. Jazz.")],
        likes: Annotated[bool, Field(description="false for what they do not like.")] = True,
    ) -> dict[str, Any]:
        """Write down a taste that this person stated."""
        return await told(ask, ctx, lambda one: one.remember(tag, likes))

    @made.tool()
    async def feedback(ctx: Context[Any, Any], item: Id, opinion: Opinion) -> dict[str, Any]:
        """Write down that this person liked, disliked or has seen an item, or does not want to see it."""
        return await told(ask, ctx, lambda one: one.feedback(item, opinion))

    @made.resource("rapport://profiles/{whose}", mime_type="application/json")
    async def own_profile(whose: str, ctx: Context[Any, Any]) -> dict[str, Any]:
        """What is believed about this person; `whose` is always "me"."""
        return await told(ask, ctx, lambda one: own(one, whose))

    @made.resource("rapport://items/{item}", mime_type="application/json")
    async def one_item(item: str, ctx: Context[Any, Any]) -> dict[str, Any]:
        """One item of the catalogue."""
        return await told(ask, ctx, lambda one: entry(one, item))

    return made


def own(one: Personal, whose: str) -> dict[str, Any]:
    if whose not in ("me", one.user):
        raise NotAllowed('this session is for one person: ask for "me"')
    return one.profile()


def entry(one: Personal, item: str) -> dict[str, Any]:
    found = one.rapport.store.item(item)
    if found is None or not found.title:
        raise UnknownItem(f"no item has the id {item!r}")
    return shapes.item(found)


async def told(ask: Ask[Any], ctx: Context[Any, Any], work: Callable[[Personal], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns. What is raised on purpose is told to the model, anything else stays in the log."""
    try:
        return await ask(ctx, work)
    except RapportError as error:
        raise ToolError(str(error)) from error
    except Exception as error:
        log.error("a tool failed", exc_info=error)
        raise ToolError("this failed; the service's log says why") from None


class Door:
    """The way in over HTTP: an ASGI application that lets in by key, and knows from the key whose tools these are."""

    def __init__(self, desk: Desk, doorman: Doorman) -> None:
        self._doorman = doorman

        async def ask(ctx: Context[Any, Any], work: Callable[[Personal], Any]) -> Any:
            user = ctx.request_context.request.scope["state"]["speaks_for"]  # type: ignore[union-attr]
            return await desk.pool.run(desk.about(user, lambda: work(Personal(desk.rapport, user))))

        made = server(ask)
        # Every request stands for itself and carries its key: there is no session that another could take over. Hosts
        # and origins were looked at before.
        made.streamable_http_app(
            stateless_http=True,
            json_response=True,
            max_request_body_size=desk.config.body,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        self._manager = made.session_manager

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        address = (scope.get("client") or ("",))[0]
        try:
            principal = await anyio.to_thread.run_sync(self._doorman.admit, headers, address)
            scope["state"]["speaks_for"] = speaks_for(principal, headers)
        except RapportError as error:
            await problem.of_error(scope["state"]["request_id"], error)(scope, receive, send)
            return
        await self._manager.handle_request(scope, receive, send)


def for_one(rapport: Rapport, user: str) -> MCPServer:
    """The server of a process that belongs to one person, for stdio and for tests."""

    async def ask(ctx: Context[Any, Any], work: Callable[[Personal], Any]) -> Any:
        return await anyio.to_thread.run_sync(work, Personal(rapport, user))

    return server(ask)
