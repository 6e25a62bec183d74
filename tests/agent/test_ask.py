"""A typed question: validated, repaired once, logged."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from agent.ask import Ask
from agent.errors import BadCompletion, LLMError, PromptError, Refused, TimedOut, Truncated, Unavailable
from agent.llm.base import Completion
from agent.llm.scripted import NoModel, Scripted
from agent.types import Call


class Size(BaseModel, extra="forbid"):
    size: int = Field(ge=0, le=9)


QUESTION = {"sentence": "It broke."}


def says(*answers):
    """A model that says one thing after another."""
    left = list(answers)
    return Scripted(lambda chat: left.pop(0), name="says")


def asking(llm) -> tuple[Ask, list[Call]]:
    calls: list[Call] = []
    return Ask(llm, calls.append, "ann"), calls


def test_a_valid_answer_comes_back_typed():
    ask, calls = asking(says('{"size": 3}'))
    (answer,) = ask.answer("sentiment", [QUESTION], Size)
    assert not isinstance(answer, BadCompletion)
    assert answer.value == Size(size=3)
    assert answer.prompt.startswith("sentiment.en@1-")
    assert answer.prompt_tokens > 0
    assert [(one.outcome, one.user, one.model, one.prompt) for one in calls] == [("ok", "ann", "says", answer.prompt)]


def test_the_schema_reaches_the_model():
    llm = says('{"size": 3}', '{"size": 3}')
    Ask(llm).answer("sentiment", [QUESTION], Size)
    assert llm.calls[0].schema == Size.model_json_schema()
    narrower = {"type": "object"}
    Ask(llm).answer("sentiment", [QUESTION], Size, schemas=[narrower])
    assert llm.calls[1].schema == narrower


def test_a_bad_answer_is_repaired_once_with_the_reason():
    llm = says('{"size": 99}', '{"size": 4}')
    ask, calls = asking(llm)
    (answer,) = ask.answer("sentiment", [QUESTION], Size)
    assert not isinstance(answer, BadCompletion)
    assert answer.value.size == 4
    first, second = (call.chat for call in llm.calls)
    assert second[: len(first)] == first
    assert second[-2].role == "assistant"
    assert second[-2].content == '{"size": 99}'
    assert "less than or equal to 9 at size" in second[-1].content
    assert [one.outcome for one in calls] == ["BadCompletion", "ok"]
    assert answer.prompt_tokens == sum(one.prompt_tokens for one in calls)
    assert answer.completion_tokens == sum(one.completion_tokens for one in calls)


def test_the_repair_speaks_the_language_of_the_question():
    llm = says("?", '{"size": 4}')
    Ask(llm).answer("sentiment", [QUESTION], Size, language="zh")
    assert "这个回答无法使用" in llm.calls[1].chat[-1].content


def test_what_stays_bad_comes_back_with_its_text():
    ask, calls = asking(says("first", "second"))
    (answer,) = ask.answer("sentiment", [QUESTION], Size)
    assert type(answer) is BadCompletion
    assert answer.text == "second"
    assert [one.outcome for one in calls] == ["BadCompletion", "BadCompletion"]


def test_what_was_cut_off_is_not_asked_again():
    llm = Scripted(lambda chat: Completion('{"size": 3}', "length", 5, 5, 1.0))
    ask, calls = asking(llm)
    (answer,) = ask.answer("sentiment", [QUESTION], Size)
    assert isinstance(answer, Truncated)
    assert answer.text == '{"size": 3}'
    assert len(llm.calls) == 1
    assert [one.outcome for one in calls] == ["Truncated"]


def test_a_repair_that_does_not_fit_leaves_the_first_answer():
    llm = Scripted(lambda chat: "x " * 600, context=700)
    ask, calls = asking(llm)
    (answer,) = ask.answer("sentiment", [QUESTION], Size, max_tokens=300)
    assert type(answer) is BadCompletion
    assert [one.outcome for one in calls] == ["BadCompletion", "Refused"]


def test_one_bad_answer_of_many_spoils_no_other():
    ask, _ = asking(says('{"size": 1}', "bad", "bad", '{"size": 2}'))
    answers = ask.answer("sentiment", [QUESTION] * 3, Size)
    assert [isinstance(one, BadCompletion) for one in answers] == [False, True, False]


def raises(error: LLMError):
    def reply(chat):
        raise error

    return reply


@pytest.mark.parametrize("error", [Unavailable("gone"), TimedOut("slow"), Refused("too long")])
def test_an_error_is_logged_and_raised(error):
    ask, calls = asking(Scripted(raises(error)))
    with pytest.raises(type(error)):
        ask.answer("sentiment", [QUESTION], Size)
    with pytest.raises(type(error)):
        ask.write("sentiment", [QUESTION])
    assert [one.outcome for one in calls] == [type(error).__name__] * 2
    assert all(one.completion_tokens == 0 for one in calls)


def test_no_model_is_unavailable_and_logged():
    ask, calls = asking(NoModel())
    with pytest.raises(Unavailable):
        ask.choose("sentiment", [{"sentence": "Fine."}], ["positive", "negative"])
    assert [(one.outcome, one.model) for one in calls] == [("Unavailable", "none")]


def test_free_text_is_stripped_and_what_was_cut_off_is_said():
    llm = Scripted(lambda chat: Completion(" said \n", "length" if "two" in chat[-1].content else "stop", 3, 2, 1.0))
    ask, calls = asking(llm)
    whole, cut = ask.write("sentiment", [{"sentence": "one"}, {"sentence": "two"}], temperature=0.5, seed=7)
    assert not isinstance(whole, BadCompletion)
    assert whole.value == "said"
    assert isinstance(cut, Truncated)
    assert [(one.outcome, one.prompt_tokens, one.completion_tokens) for one in calls] == [("Truncated", 6, 4)]
    assert {(call.temperature, call.seed) for call in llm.calls} == {(0.5, 7)}


def test_choosing_gives_a_distribution_per_question():
    llm = Scripted(lambda chat: "", lambda chat, choices: [2.0 if "Good" in chat[-1].content else 0.0, 1.0])
    ask, calls = asking(llm)
    good, bad = ask.choose("sentiment", [{"sentence": "Good."}, {"sentence": "Bad."}], ["positive", "negative"])
    assert good.value[0] > good.value[1]
    assert bad.value[0] < bad.value[1]
    assert good.prompt_tokens > 0
    assert [one.outcome for one in calls] == ["ok"]
    assert llm.calls[0].choices == ("positive", "negative")


def test_nothing_to_ask_asks_nothing():
    ask, calls = asking(NoModel())
    assert ask.write("sentiment", []) == []
    assert ask.answer("sentiment", [], Size) == []
    assert ask.choose("sentiment", [], ["a"]) == []
    assert calls == []


def test_a_prompt_and_inputs_that_disagree_are_our_error():
    ask, calls = asking(says("x"))
    with pytest.raises(PromptError, match="takes"):
        ask.write("sentiment", [{"other": 1}])
    with pytest.raises(PromptError, match="no prompt"):
        ask.write("nothing", [{}])
    assert calls == []


def test_the_user_is_never_sent():
    llm = says("x")
    Ask(llm, user="ann@example.org").write("sentiment", [QUESTION])
    assert "ann@example.org" not in "".join(message.content for message in llm.calls[0].chat)


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.sampled_from(["[" * 5000, '{"size": NaN}', '{"size": 1, "size": 2}', "\ud800", "null"]),
    )
)
def test_every_answer_is_a_value_or_bad(text):
    ask, _ = asking(Scripted(lambda chat: Completion(text, "stop", 1, 1, 0.0)))
    (answer,) = ask.answer("sentiment", [QUESTION], Size)
    assert isinstance(answer, BadCompletion) or 0 <= answer.value.size <= 9


@settings(max_examples=100)
@given(st.lists(st.text(alphabet="abc 中", max_size=40), max_size=8), st.integers(0, 60))
def test_lines_fit_the_budget_in_order(lines, budget):
    ask = Ask(says())
    kept = ask.fit(lines, budget)
    cost = [ask.llm.count_tokens(line) + 1 for line in lines]
    assert kept == lines[: len(kept)]
    assert sum(cost[: len(kept)]) <= budget
    assert len(kept) == len(lines) or sum(cost[: len(kept) + 1]) > budget
