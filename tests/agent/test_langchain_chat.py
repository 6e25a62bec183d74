"""Rapport's models as LangChain chat models: held to a schema, read whatever they say, and in a real agent."""

from __future__ import annotations

import json

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from agent import sample
from agent.errors import Unavailable
from agent.langchain_chat import RapportChatModel, step, strict
from agent.langchain_tools import rapport_tools
from agent.llm.base import Chat
from agent.llm.grammar import gbnf
from agent.llm.scripted import Scripted


def call(tool: str, **given: object) -> str:
    return json.dumps({"next": {"tool": tool, "arguments": given}})


def test_a_real_agent_with_rapports_tools_and_model(shop):
    def say(chat: Chat) -> str:
        returned = [json.loads(one.content) for one in chat if '"returned"' in one.content]
        if not returned:
            return call("search", words="rififi", n=3, where=[])
        if len(returned) == 1:
            found = json.loads(returned[0]["returned"])["items"][0]["id"]
            return call("feedback", item=found, opinion="like")
        return json.dumps({"next": {"reply": "Noted."}})

    rapport = shop(sample.films(), sample.events())
    llm = Scripted(say, context=64_000)
    agent = create_agent(RapportChatModel(llm=llm), rapport_tools(rapport, user="mara"))
    done = agent.invoke({"messages": [HumanMessage("I liked Rififi")]}, {"recursion_limit": 20})
    assert done["messages"][-1].content == "Noted."
    assert [one.kind for one in rapport.store.events("mara") if one.item == "rififi-1955"] == ["like"]
    assert len(llm.calls) == 3
    assert all(one.schema for one in llm.calls)


def test_every_tool_of_rapport_can_be_held_to_a_grammar(shop):
    model = RapportChatModel(llm=Scripted(lambda chat: "{}"))
    bound = model.bind_tools(rapport_tools(shop(sample.films(), sample.events()), "mara"))
    tools = bound.kwargs["tools"]  # type: ignore[attr-defined]
    grammar = gbnf(step(tools, None))
    assert all(json.dumps(one["name"])[1:-1] in grammar for one in tools)
    assert "reply" in grammar
    assert "reply" not in gbnf(step(tools, "any"))
    assert "profile" not in gbnf(step(tools, "search"))


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ("plain words", "plain words"),
        ('{"next": {"reply": "well"}}', "well"),
        ('{"reply": "well"}', "well"),
        (call("shell", command="x"), call("shell", command="x")),
        ('{"next": {"tool": "search", "arguments": "x"}}', '{"next": {"tool": "search", "arguments": "x"}}'),
        ("null", "null"),
        ("[1]", "[1]"),
        ("", ""),
    ],
)
def test_whatever_it_says_is_a_message(said, content):
    tool = {"name": "search", "description": "x", "parameters": {"type": "object", "properties": {}}}
    model = RapportChatModel(llm=Scripted(lambda chat: said))
    message = model.bind_tools([{"type": "function", "function": tool}]).invoke("hello")
    assert isinstance(message, AIMessage)
    assert (message.content, message.tool_calls) == (content, [])


def test_what_was_said_is_sent_in_turns_with_the_system_first():
    llm = Scripted(lambda chat: "ok")
    messages = [
        HumanMessage("one"), SystemMessage("be brief"), HumanMessage("two"),
        AIMessage("", tool_calls=[{"name": "search", "args": {"words": "x"}, "id": "1"}]),
        ToolMessage("found", tool_call_id="1", name="search"),
    ]  # fmt: skip
    assert RapportChatModel(llm=llm).invoke(messages).content == "ok"
    (asked,) = llm.calls
    assert [one.role for one in asked.chat] == ["system", "user", "assistant", "user"]
    assert asked.chat[1].content == "one\n\ntwo"
    assert json.loads(asked.chat[2].content) == {"next": {"tool": "search", "arguments": {"words": "x"}}}
    assert json.loads(asked.chat[3].content) == {"tool": "search", "returned": "found"}


def test_it_streams_counts_and_stops():
    model = RapportChatModel(llm=Scripted(lambda chat: "one two three four five"))
    assert "".join(str(one.content) for one in model.stream("hello")) == "one two three four five"
    done = model.invoke("hello", stop=["three"])
    assert done.content == "one two "
    assert done.usage_metadata
    assert done.usage_metadata["total_tokens"] > 0


def test_what_a_model_raises_is_raised():
    def down(chat: Chat) -> str:
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        RapportChatModel(llm=Scripted(down)).invoke("hello")


def test_a_schema_is_bounded_whatever_the_tool_says():
    loose = {
        "properties": {
            "a": {"type": "array", "items": {"$ref": "#/$defs/One"}},
            "b": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "c": {"enum": ["x", "y"]},
        },
        "$defs": {"One": {"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}}},
    }
    assert gbnf(strict(loose))
    assert strict(loose)["required"] == ["a", "b", "c"]
