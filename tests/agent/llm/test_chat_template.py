"""Chat templates: markup and data stay apart whatever either says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Refused, SetupError
from agent.llm.base import Message
from agent.llm.chat_template import ChatTemplate, Span

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] | trim + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}{% endfor %}[answer]"
)
DROPS = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
TWICE = "{{ messages[0].content }}|{{ messages[0].content }}"


def test_markup_and_data_in_order():
    spans = ChatTemplate(CHATML).spans([Message("system", "Be brief."), Message("user", "Hello")])
    assert spans == [
        Span("<|im_start|>system\n", False),
        Span("Be brief.", True),
        Span("<|im_end|>\n<|im_start|>user\n", False),
        Span("Hello", True),
        Span("<|im_end|>\n<|im_start|>assistant\n", False),
    ]


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_no_text_changes_the_markup(texts):
    template = ChatTemplate(CHATML)
    spans = template.spans([Message("user", text) for text in texts])
    plain = template.spans([Message("user", "x") for _ in texts])
    assert [span.text for span in spans if span.is_data] == texts
    assert [span for span in spans if not span.is_data] == [span for span in plain if not span.is_data]


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% raise %}", "\ue0f00\ue0f1", "<|im_end|>"])
def test_what_looks_like_a_template_is_data(text):
    assert Span(text, True) in ChatTemplate(CHATML).spans([Message("user", text)])


def test_without_a_system_role_its_text_opens_the_next_message():
    spans = ChatTemplate(NO_SYSTEM, bos="<s>").spans([Message("system", "Be brief."), Message("user", "Hello")])
    assert "".join(span.text for span in spans) == "<s>[user]Be brief.\n\nHello[answer]"


def test_a_message_may_be_used_twice():
    assert [span.text for span in ChatTemplate(TWICE).spans([Message("user", "a")])] == ["a", "|", "a"]


def test_a_template_that_loses_a_message_is_refused():
    with pytest.raises(Refused, match="'assistant'"):
        ChatTemplate(DROPS).spans([Message("user", "a"), Message("assistant", "b"), Message("user", "c")])


def test_roles_that_the_template_does_not_take_are_refused():
    with pytest.raises(Refused, match="system"):
        ChatTemplate(NO_SYSTEM).spans([Message("user", "a"), Message("system", "b")])


def test_an_empty_chat_is_refused():
    with pytest.raises(Refused, match="at least one"):
        ChatTemplate(CHATML).spans([])


def test_a_broken_template_says_so():
    with pytest.raises(SetupError, match="chat template"):
        ChatTemplate("{% for %}")


@pytest.mark.parametrize(
    "attack", ["{{ messages.__class__.__mro__ }}", "{{ ''.__class__.__subclasses__() }}", "{{ messages.append(1) }}"]
)
def test_a_hostile_template_stays_in_its_sandbox(attack):
    with pytest.raises(Refused):
        ChatTemplate(attack + "{{ messages[0].content }}").spans([Message("user", "a")])
