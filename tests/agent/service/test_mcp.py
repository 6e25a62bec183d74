"""Rapport as an MCP host sees it: the official client, which knows nothing of it, in memory, over HTTP and stdio."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters

from agent import sample
from agent.service.mcp_server import for_one
from agent.wiring import Rapport

TOOLS = {"recommend", "chat", "explain", "search", "profile", "remember", "feedback"}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


def talk(server: Any, work: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with Client(server) as client:
            await work(client)

    asyncio.run(whole())


@pytest.fixture
def rapport(shop) -> Rapport:
    return shop(sample.films(), sample.events())


async def called(client: Client, tool: str, **given: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, given)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


def test_turns_of_one_conversation(rapport):
    async def work(client: Client) -> None:
        first = await called(client, "chat", message="a funny film, please", n=3)
        assert len(first["items"]) == 3
        assert all(one["reason"] for one in first["items"])
        assert [one["key"] for one in first["wishes"]] == ["category:Comedy"]
        then = await called(client, "chat", message="I did not like the second one")
        assert [(one["kind"], one["key"]) for one in then["chips"]] == [("disliked", first["items"][1]["item"])]
        elsewhere = await called(client, "chat", message="why 1?", conversation="another")
        assert not elsewhere["items"]
        assert then["conversation"] == "mcp"
        assert (await client.call_tool("chat", {"message": " "})).is_error

    talk(for_one(rapport, "mara"), work)
    assert rapport.store.events("mara")[-1].text == "I did not like the second one"


def test_a_conversation(rapport):
    async def work(client: Client) -> None:
        assert {one.name for one in (await client.list_tools()).tools} == TOOLS
        found = await called(client, "search", words="rififi")
        assert found["items"][0]["id"] == "rififi-1955"
        why = await called(client, "explain", item="rififi-1955")
        assert why["grounded"]
        await called(client, "feedback", item="rififi-1955", opinion="seen")
        said = await called(client, "recommend", words="a heist that goes wrong", n=10, where=["year<1990"])
        assert len(said["items"]) == 10
        assert "rififi-1955" not in {one["item"] for one in said["items"]}
        await called(client, "remember", tag="Musical", likes=False)
        stated = [one for one in (await called(client, "profile"))["tags"] if one["kind"] == "stated"]
        assert [(one["name"], one["polarity"]) for one in stated] == [("Musical", -1)]

    talk(for_one(rapport, "mara"), work)
    assert [one.kind for one in rapport.store.events("mara") if one.item == "rififi-1955"] == ["review"]


def test_resources(rapport):
    async def read(client: Client, uri: str) -> Any:
        (content,) = (await client.read_resource(uri)).contents
        return json.loads(content.text)  # type: ignore[union-attr]

    async def work(client: Client) -> None:
        assert (await read(client, "rapport://profiles/me"))["user"] == "mara"
        assert (await read(client, "rapport://items/ran-1985"))["title"] == "Ran"
        for refused in ("rapport://profiles/piet", "rapport://items/nothing"):
            with pytest.raises(MCPError):
                await read(client, refused)

    talk(for_one(rapport, "mara"), work)


def test_no_tool_can_be_told_whose_it_is(rapport):
    async def work(client: Client) -> None:
        for tool in (await client.list_tools()).tools:
            assert not {"user", "person", "ctx", "user_id", "whose"} & set(tool.input_schema.get("properties", {}))
        result = await client.call_tool("profile", {"user": "piet", "whose": "piet"})
        assert "piet" not in str(result.content)

    talk(for_one(rapport, "mara"), work)


@pytest.mark.parametrize(
    ("tool", "given", "why"),
    [
        ("explain", {"item": "nothing"}, "no item has the id"),
        ("feedback", {"item": "nothing", "opinion": "like"}, "no item has the id"),
        ("recommend", {"where": ["colour=red"]}, "no item has a field"),
        ("remember", {"tag": "<script>"}, "plain characters"),
        ("recommend", {"n": 0}, "greater"),
        ("recommend", {"n": 10**9}, "less"),
        ("feedback", {"item": "ran-1985", "opinion": "adore"}, "opinion"),
        ("search", {}, "words"),
    ],
)
def test_what_goes_wrong_is_told_to_the_model(rapport, tool, given, why):
    async def work(client: Client) -> None:
        result = await client.call_tool(tool, given)
        assert result.is_error
        assert why in str(result.content)

    before = rapport.store.count_events()
    talk(for_one(rapport, "mara"), work)
    assert rapport.store.count_events() == before


def test_what_was_not_foreseen_is_not(rapport):
    def fail(*args: object, **named: object):
        raise ValueError("a secret")

    rapport.__dict__["recommender"] = fail

    async def work(client: Client) -> None:
        result = await client.call_tool("recommend", {})
        assert result.is_error
        assert "secret" not in str(result.content)

    talk(for_one(rapport, "mara"), work)


# over HTTP


def rpc(service, method: str, params: dict[str, Any] | None = None, headers: dict[str, str] | None = None):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    return service.client.post("/mcp", json=body, headers=HEADERS | (headers or {}))


def tool(service, name: str, headers: dict[str, str], **given: Any):
    return rpc(service, "tools/call", {"name": name, "arguments": given}, headers)


def bearer(key: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} | more


def test_over_http_the_key_says_whose_the_tools_are(service):
    keys = {user: service.key(user=user) for user in ("mara", "piet")}
    for user, key in keys.items():
        said = tool(service, "profile", bearer(key), user="mara").json()["result"]
        assert said["structuredContent"]["user"] == user
    said = rpc(service, "tools/list", headers=bearer(keys["mara"])).json()["result"]
    assert {one["name"] for one in said["tools"]} == TOOLS


def test_over_http_who_may_not_is_told_so(service):
    assert tool(service, "profile", {"X-Rapport-User": "mara"}).status_code == 200, "no key was made yet"
    reader, proxy, mara = service.key("read"), service.key("proxy"), service.key(user="mara")
    named = {"X-Rapport-User": "piet"}
    for headers, status in (
        ({}, 401),
        (named, 401),
        (bearer("rapport_0_0"), 401),
        (bearer(reader), 403),
        (bearer(reader) | named, 403),
        (bearer(proxy), 403),
        (bearer(mara) | named, 403),
        (bearer(mara) | {"Origin": "http://evil.example"}, 403),
        (bearer(mara) | {"Host": "evil.example"}, 421),
    ):
        said = tool(service, "profile", headers)
        assert said.status_code == status, headers
        assert said.headers["content-type"] == "application/problem+json"
    said = tool(service, "profile", bearer(proxy) | named)
    assert said.json()["result"]["structuredContent"]["user"] == "piet"


def test_over_http_a_large_body_is_refused(serve):
    service = serve(body=2000)
    said = tool(service, "recommend", {"X-Rapport-User": "mara"}, words="x" * 3000)
    assert said.status_code == 413


def test_over_stdio(tmp_path, shop):
    shop(sample.films(), sample.events(), index=False, name="stdio").close()
    home = str(tmp_path / "stdio")
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "agent.cli", "mcp", "--user", "otis", "--home", home, "--llm", "none"],
        env={"RAPPORT_EMBEDDER": "hashing", "PYTHONPATH": ""},
    )

    async def work(client: Client) -> None:
        assert (await called(client, "profile"))["user"] == "otis"
        assert len((await called(client, "recommend", n=3))["items"]) == 3

    talk(command, work)
