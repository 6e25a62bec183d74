"""Conversations that are sent whole: gone on with, edited, answered again, and never learned from twice."""

from __future__ import annotations

import pytest

from agent import sample
from agent.chat.conversation import Chat
from agent.chat.resent import found_again
from agent.errors import UsageError
from agent.llm.scripted import NoModel


@pytest.fixture
def chat(shop) -> Chat:
    return shop(sample.films(), sample.events(), NoModel()).chat


def sent(chat: Chat, *said: str, user: str = "mara") -> str:
    id = found_again(chat, user, said)
    for _ in chat.reply(user, id, said[-1]):
        pass
    return id


def texts(chat: Chat, id: str) -> list[str]:
    return [one.text for one in chat.history("mara", id)]


def liked(chat: Chat, item: str = "heat-1995") -> int:
    return sum(one.item == item and one.source == "chat" for one in chat.means.store.events("mara"))


def test_whoever_sends_everything_again_goes_on_with_the_same(chat):
    first = sent(chat, "something like Alien")
    assert sent(chat, "something like Alien", "shorter") == first
    assert sent(chat, "something like Alien", "shorter", "why 1?") == first
    assert texts(chat, first) == ["something like Alien", "shorter", "why 1?"]


def test_an_answer_that_is_made_again_is_learned_from_once(chat):
    first = {sent(chat, "I loved Heat, what else?") for _ in range(3)}
    assert len(first) == 1
    assert liked(chat) == 1
    sent(chat, "hi")
    for _ in range(3):
        id = sent(chat, "hi", "I loved Heat")
    assert texts(chat, id) == ["hi", "I loved Heat"]
    assert liked(chat) == 2, "once in each of two conversations"


def test_an_edited_message_takes_the_place_of_the_old_one_and_of_all_that_followed(chat):
    id = sent(chat, "hello there")
    sent(chat, "hello there", "I loved Heat")
    sent(chat, "hello there", "I loved Heat", "no horror please")
    assert liked(chat) == 1
    assert chat.wishes("mara")
    assert sent(chat, "hello there", "I hated Heat") == id
    assert texts(chat, id) == ["hello there", "I hated Heat"]
    assert liked(chat) == 1
    assert [one.kind for one in chat.means.store.events("mara") if one.source == "chat"] == ["dislike"]
    assert chat.wishes("mara") == []


def test_two_that_begin_alike_stay_two(chat):
    first = sent(chat, "hi")
    sent(chat, "hi", "I loved Heat")
    second = sent(chat, "hi")
    assert second != first
    sent(chat, "hi", "a comedy")
    assert texts(chat, first) == ["hi", "I loved Heat"]
    assert texts(chat, second) == ["hi", "a comedy"]
    assert sent(chat, "hi", "I loved Heat", "why 1?") == first
    assert liked(chat) == 1


def test_what_was_said_elsewhere_is_not_learned_and_it_goes_on_here(chat):
    id = sent(chat, "I loved Heat", "I hated Alien", "a comedy")
    assert sent(chat, "I loved Heat", "I hated Alien", "a comedy", "shorter") == id
    assert texts(chat, id) == ["a comedy", "shorter"]
    assert liked(chat) == 0


def test_people_do_not_share_a_conversation(chat):
    sent(chat, "a comedy")
    id = sent(chat, "a comedy", user="piet")
    assert texts(chat, id) == ["a comedy"]
    assert len(chat.history("piet", id)) == 1


def test_buttons_in_between_do_not_matter(chat):
    id = sent(chat, "something like Alien")
    card = chat.history("mara", id)[0].body.cards[0].item
    chat.opinion("mara", card, "liked", conversation=id)
    assert sent(chat, "something like Alien", "shorter") == id
    assert liked(chat, card) == 1
    assert sent(chat, "something like Alien", "longer") == id
    assert liked(chat, card) == 1


@pytest.mark.parametrize("said", [(), ("",), ("hi", " \n")])
def test_nothing_to_answer(chat, said):
    with pytest.raises(UsageError, match="nothing to answer"):
        found_again(chat, "mara", said)
