"""The model that is a function."""

from __future__ import annotations

import math

import pytest

from agent.errors import Refused, Unavailable
from agent.llm.base import Completion, Message
from agent.llm.scripted import Scripted, normalised

CHAT = (Message("user", "Hello"),)


def test_it_says_what_the_function_says_and_remembers_the_question():
    llm = Scripted(lambda chat: chat[-1].content.upper())
    assert llm.generate([CHAT], schema={"type": "object"}, seed=3)[0].text == "HELLO"
    (call,) = llm.calls
    assert (call.method, call.chat, call.schema, call.seed) == ("generate", CHAT, {"type": "object"}, 3)


def test_long_replies_are_cut_like_a_real_models():
    (completion,) = Scripted(lambda chat: "x" * 10_000_000).generate([CHAT], max_tokens=5)
    assert (len(completion.text), completion.finish, completion.completion_tokens) == (20, "length", 5)


def test_a_whole_completion_is_passed_on():
    evil = Completion("x" * 10_000, "stop", 1, 1, 0.0)
    assert Scripted(lambda chat: evil).generate([CHAT], max_tokens=1) == [evil]


def test_what_the_function_raises_is_raised():
    def down(chat):
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        Scripted(down).generate([CHAT])


def test_scores_are_normalised_and_equal_without_a_function():
    llm = Scripted(lambda chat: "", lambda chat, choices: [float(len(choice)) for choice in choices])
    ((a, abc),) = llm.choose([CHAT], ["a", "abc"])
    assert abc - a == pytest.approx(2.0)
    assert math.exp(a) + math.exp(abc) == pytest.approx(1.0)
    assert llm.calls[0].choices == ("a", "abc")
    assert Scripted(lambda chat: "").choose([CHAT], ["a", "b"]) == [[math.log(0.5)] * 2]
    assert normalised([]) == []


def test_nothing_is_asked_when_one_chat_is_too_long():
    llm = Scripted(lambda chat: "x", context=50)
    with pytest.raises(Refused):
        llm.generate([CHAT, (Message("user", "word " * 60),)], max_tokens=5)
    assert llm.calls == []
