"""Opinions: what is said of which item, by rules, and by a model where the rules say nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ask import Ask
from agent.chat.opinions import MOST_QUOTE, judge, opinions
from agent.chat.titles import Titles
from agent.errors import Unavailable
from agent.llm.scripted import Scripted
from agent.types import Item

TITLES = Titles(
    [Item(name.lower(), name) for name in ("Heat", "Alien", "Paddington", "Hereditary", "Solaris", "Badlands")]
)


def said(text: str, focus: tuple[str, ...] = (), *, last: bool = False) -> dict[str, str]:
    return {one.item: one.stance for one in opinions(text, TITLES.find(text), focus, last=last)}


@pytest.mark.parametrize(
    ("text", "stances"),
    [
        ("I loved Heat", {"heat": "liked"}),
        ("Heat was boring", {"heat": "disliked"}),
        ("I didn't like Heat", {"heat": "disliked"}),
        ("I never said I liked Heat", {"heat": "open"}),
        ("I didn't say I hated Heat", {"heat": "open"}),
        ("Heat was not bad at all", {"heat": "liked"}),
        ("I’m not a fan of Heat", {"heat": "disliked"}),
        ("Badlands is a masterpiece", {"badlands": "liked"}),
        ("I loved Heat and hated Hereditary", {"heat": "liked", "hereditary": "disliked"}),
        ("Alien was great but Solaris put me off, it was too long", {"alien": "liked", "solaris": "disliked"}),
        ("I loved Alien, and Heat was boring", {"alien": "liked", "heat": "disliked"}),
        ("Paddington and Alien were great", {"paddington": "liked", "alien": "liked"}),
        ("I've seen Heat", {"heat": "seen"}),
        ("I haven't seen Heat yet", {"heat": "unseen"}),
        ("Heat sounds good, I'll check it out", {"heat": "wanted"}),
        ("I want something like Heat", {"heat": "like_it"}),
        ("I don't want anything like Hereditary", {"hereditary": "open"}),
        ("Have you seen Heat?", {"heat": "open"}),
        ("no Hereditary please", {"hereditary": "open"}),
        ("I liked Heat. Have a great day!", {"heat": "liked"}),
        ("I watched Paddington yesterday. It was wonderful", {"paddington": "liked"}),
    ],
)
def test_what_is_said_of_a_title(text, stances):
    assert said(text) == stances


@pytest.mark.parametrize(
    ("text", "stances"),
    [
        ("I loved it", {"heat": "liked"}),
        ("I did not like that one", {"heat": "disliked"}),
        ("meh", {"heat": "disliked"}),
        ("I like dry jokes", {}),
        ("I don't like romance", {}),
        ("is it good?", {}),
        ("seen it", {"heat": "seen"}),
    ],
)
def test_it_is_the_one_that_was_talked_about(text, stances):
    assert said(text, ("heat",)) == stances


@pytest.mark.parametrize(
    ("text", "stances"),
    [
        ("the second one was great", {"alien": "liked"}),
        ("I hated #3", {"solaris": "disliked"}),
        ("I loved all of them", {"heat": "liked", "alien": "liked", "solaris": "liked"}),
        ("I've seen them all", {"heat": "seen", "alien": "seen", "solaris": "seen"}),
        ("the ninth one was great", {}),
        ("I did not like that one", {}),
        ("第二部很无聊", {"alien": "disliked"}),
    ],
)
def test_of_several_the_text_must_say_which(text, stances):
    assert said(text, ("heat", "alien", "solaris")) == stances


def test_in_a_talk_the_last_of_several_is_meant_if_one_says_so():
    assert said("I did not like that one", ("heat", "alien"), last=True) == {"alien": "disliked"}
    (one,) = opinions("I did not like that one", [], ("heat", "alien"), last=True)
    assert not one.sure


@pytest.mark.parametrize(
    ("text", "stance"),
    [("我很喜欢", "liked"), ("不好看", "disliked"), ("太无聊了", "disliked"), ("没看过", "unseen"), ("看过了", "seen")],
)
def test_chinese(text, stance):
    assert said(text, ("heat",)) == {"heat": stance}


def test_the_quote_is_verbatim_and_bounded():
    text = "Hello. I loved Heat " + "so much " * 100
    (one,) = opinions(text, TITLES.find(text))
    assert one.quote in text
    assert len(one.quote) <= MOST_QUOTE


def test_the_model_decides_only_what_the_rules_left_open():
    def choose(chat, choices):
        text = chat[-1].content
        return [0.0, 5.0, 0.0] if "asleep" in text else [0.0, 0.0, 0.0]

    model = Scripted(lambda chat: "", choose)
    text = "Heat sent me straight to my bed, asleep. I loved Alien"
    mentions = TITLES.find(text)
    rules = opinions(text, mentions)
    found = judge(rules, text, Ask(model), "en")
    assert {one.item: (one.stance, one.by) for one in found if one.item == "alien"} == {"alien": ("liked", "rules")}
    assert all("Alien" not in call.chat[-1].content for call in model.calls)


def test_the_model_s_bias_for_a_word_is_taken_off():
    model = Scripted(lambda chat: "", lambda chat, choices: [3.0, 0.0, 0.0])
    text = "I saw Heat, the one with the bank"
    (one,) = judge(opinions(text, TITLES.find(text)), text, Ask(model), "en")
    assert (one.stance, one.by) == ("seen", "rules")
    assert math.isclose(sum(math.exp(x) for x in model.choose([model.calls[0].chat], ("a", "b", "c"))[0]), 1.0)


def test_a_model_that_fails_says_so():
    def dead(chat, choices):
        raise Unavailable("gone")

    text = "I saw Heat, the one with the bank"
    with pytest.raises(Unavailable):
        judge(opinions(text, TITLES.find(text)), text, Ask(Scripted(lambda chat: "", dead)), "en")


@given(st.text(max_size=200), st.lists(st.sampled_from(["heat", "alien", "solaris"]), unique=True, max_size=3))
def test_any_text_speaks_of_known_items_only(text, focus):
    for one in opinions(text, TITLES.find(text), tuple(focus)):
        assert one.item in {*focus, "heat", "alien", "paddington", "hereditary", "solaris", "badlands"}
        assert one.quote in text
