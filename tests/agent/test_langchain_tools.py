"""Rapport as LangChain tools, on the bundled sample without a model."""

from __future__ import annotations

import json

import pytest
from langchain_core.messages import ToolCall
from langchain_core.tools import BaseTool

from agent import sample
from agent.langchain_tools import rapport_tools
from agent.wiring import Rapport


@pytest.fixture
def rapport(shop) -> Rapport:
    return shop(sample.films(), sample.events())


def tools(rapport: Rapport, user: str) -> dict[str, BaseTool]:
    return {one.name: one for one in rapport_tools(rapport, user)}


def called(tool: BaseTool, **given: object):
    """As an agent calls it: the text that its model reads."""
    message = tool.invoke(ToolCall(name=tool.name, args=given, id="1", type="tool_call"))
    return message.status, message.content


def test_what_there_is(rapport):
    assert set(tools(rapport, "piet")) == {"recommend", "explain", "search", "profile", "remember", "feedback"}


def test_no_tool_can_be_told_whose_it_is(rapport):
    for one in rapport_tools(rapport, "piet"):
        fields = set(one.get_input_schema().model_json_schema().get("properties", {}))
        assert not fields & {"user", "person", "who", "user_id", "rapport"}, one.name


def test_who_tries_is_not_heard(rapport):
    status, said = called(tools(rapport, "piet")["profile"], user="mara")
    assert status == "success"
    assert json.loads(said)["user"] == "piet"


def test_a_conversation_in_tool_calls(rapport):
    mine = tools(rapport, "piet")
    status, said = called(mine["search"], words="rififi")
    found = json.loads(said)["items"]
    assert (status, found[0]["id"]) == ("success", "rififi-1955")
    status, said = called(mine["explain"], item="rififi-1955")
    assert status == "success"
    assert json.loads(said)["item"] == "rififi-1955"
    status, said = called(mine["feedback"], item="rififi-1955", opinion="dislike")
    assert status == "success"
    assert [one.kind for one in rapport.store.events("piet") if one.item == "rififi-1955"] == ["dislike"]
    _, said = called(mine["recommend"], words="a heist", n=20)
    assert "rififi-1955" not in {one["item"] for one in json.loads(said)["items"]}
    called(mine["remember"], tag="Heists")
    _, said = called(mine["profile"])
    assert [one["name"] for one in json.loads(said)["tags"] if one["kind"] == "stated"] == ["Heists"]


def test_what_is_raised_on_purpose_is_told_to_the_model(rapport):
    status, said = called(tools(rapport, "piet")["feedback"], item="nothing", opinion="like")
    assert status == "error"
    assert "no item has the id" in said
    status, said = called(tools(rapport, "piet")["recommend"], where=["colour=red"])
    assert status == "error"
    assert "no item has a field 'colour'" in said


def test_somebody_new_can_begin(rapport):
    mine = tools(rapport, "newcomer")
    assert json.loads(called(mine["profile"])[1])["tags"] == []
    assert len(json.loads(called(mine["recommend"], n=3)[1])["items"]) == 3
    assert not rapport.store.has_user("newcomer"), "looking is not saying"
    called(mine["remember"], tag="Western")
    assert [one.name for one in rapport.profile("newcomer").tags] == ["Western"]
