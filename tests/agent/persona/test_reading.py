"""Quotes are the person's own words; stars decide, the model finds the sentence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import sample
from agent.ask import Ask
from agent.llm.scripted import NoModel, Scripted
from agent.persona.reading import (
    BUDGET,
    LABELS,
    MAX_CHARS,
    NOTHING,
    PER_REVIEW,
    WHOLE_CHARS,
    language_of,
    polarity,
    read,
    sentiment,
    spans,
    whole,
)
from agent.types import Event, Sentiment

GOOD, BAD = ("love", "great", "喜欢"), ("boring", "awful", "无聊")


def mood(chat, choices):
    """positive, neutral, negative by the words of the sentence; a taste for "positive" whatever is said."""
    sentence = chat[-1].content
    good, bad = any(word in sentence for word in GOOD), any(word in sentence for word in BAD)
    return [1.0 + 4.0 * good, 0.0, 4.0 * bad]


def model() -> Scripted:
    return Scripted(lambda chat: "", mood)


def review(id: int, text: str, value: float | None = None, kind: str = "review") -> Event:
    return Event(id, "ann", str(id), kind, value, text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("A fine film. I would watch it again!", ["A fine film.", "I would watch it again!"]),
        (
            "I gave it 4.5 stars for the cast. Then it dragged.",
            ["I gave it 4.5 stars for the cast.", "Then it dragged."],
        ),
        ("太好看了！剧情很紧凑，演员也好。还想再看一遍", ["太好看了！", "剧情很紧凑，演员也好。", "还想再看一遍"]),
        ("He said “never again.” I agree fully.", ["He said “never again.”", "I agree fully."]),
        ("First line here\nsecond line here", ["First line here", "second line here"]),
        ("Wait... what happened there?!", ["what happened there?!"]),
        ("Ok. No.", []),
        ("", []),
        ("An \x1b[31mangry sentence. A calm sentence.", ["A calm sentence."]),
    ],
)
def test_sentences_fit_to_be_quoted(text, parts):
    assert spans(text) == parts


@given(st.text(alphabet="ab .!?。！\n喜欢看“”4", max_size=400))
def test_every_span_is_verbatim_and_bounded(text):
    for span in spans(text):
        assert span in text
        assert len(span) <= MAX_CHARS
        assert span == span.strip()


def test_a_long_sentence_is_cut_at_a_word():
    (span,) = spans("word " * 100)
    assert len(span) <= MAX_CHARS
    assert span.endswith("word")


@pytest.mark.parametrize(
    ("texts", "language"),
    [(["I liked it"], "en"), (["很喜欢这部电影"], "zh"), (["很喜欢 Heat 这部电影"], "zh"), (["", ""], "zh"),
     (["!!!"], "zh"),
     (["とても面白い映画でした"], "en"), (["A long English review with 一个 word"], "en")],
)  # fmt: skip
def test_the_language_is_the_writers(texts, language):
    assert language_of([review(n, text) for n, text in enumerate(texts)], "zh") == language


def test_the_bundled_chinese_writer_writes_chinese():
    written = {name: [one for one in sample.events() if one.user == name] for name in ("lin", "greta")}
    assert language_of(written["lin"]) == "zh"
    assert language_of(written["greta"]) == "en"


def test_the_telling_sentence_is_quoted_and_the_models_bias_is_taken_off():
    events = [
        review(1, "The cast arrives early. I love the ending. The rest was there."),
        review(2, "It plays in Rome in the spring. It was awful to watch. There are trees."),
        review(3, "It plays in Rome in the spring. There are many trees in it."),
    ]
    llm = model()
    reading = read(events, Ask(llm), "en")
    assert reading.quotes[1] == "I love the ending."
    assert reading.quotes[2] == "It was awful to watch."
    assert reading.feelings[1] > 0.2
    assert reading.feelings[2] < -0.2
    # The model says "positive" of nothing at all; that is its bias and no opinion.
    assert reading.feelings[3] == pytest.approx(0.0, abs=1e-6)
    assert llm.calls[0].chat[-1].content == NOTHING["en"]
    assert llm.calls[0].choices == LABELS
    assert reading.prompts[0].startswith("sentiment.en@")
    assert reading.tokens > 0


def test_stars_decide_what_a_review_says():
    text = "An awful start it was. Boring and awful people. I love the last song."
    reading = read([review(1, text, 5.0), review(2, text, 1.0)], Ask(model()), "en")
    assert reading.feelings[1] > 0.4
    assert reading.quotes[1] == "I love the last song."
    assert reading.feelings[2] < -0.4
    assert "awful" in reading.quotes[2]


def test_one_sentence_with_stars_needs_no_model():
    llm = model()
    reading = read([review(1, "I love the ending.", 5.0)], Ask(llm), "en")
    assert llm.calls == []
    assert reading.quotes == {1: "I love the ending."}
    assert reading.feelings == {1: 1.0}


def test_without_a_model_there_are_still_quotes_and_no_invented_neutrality():
    text = "It was long. I love the ending of this one, and everything before it."
    reading = read([review(1, text), review(2, text, 1.0)], Ask(NoModel()), "en")
    assert reading.quotes[1] in text
    assert reading.feelings == {2: -1.0}
    assert reading.notes == ("reviews were read without a model: Unavailable",)


def test_the_newest_are_read_up_to_the_budget():
    text = "The first of them. The second of them. The third of them. The fourth one. The fifth one."
    llm = model()
    reading = read([review(n, text) for n in range(40)], Ask(llm), "en")
    assert len(llm.calls) == BUDGET + 1
    assert len(reading.quotes) == 40
    assert set(reading.feelings) == set(range(40 - BUDGET // (PER_REVIEW + 1), 40))


def test_a_review_without_stars_is_read_as_a_whole_and_by_its_sentences():
    llm = model()
    reading = read([review(1, "Trees in the park\nI love the ending. It plays in Rome.")], Ask(llm), "en")
    asked = [call.chat[-1].content for call in llm.calls[1:]]
    assert asked == [
        "Trees in the park. I love the ending. It plays in Rome.",
        "Trees in the park",
        "I love the ending.",
        "It plays in Rome.",
    ]
    loved = polarity([5.0, 0.0, 0.0], [1.0, 0.0, 0.0])
    assert reading.feelings[1] == pytest.approx((loved + loved / 3) / 2, abs=1e-3)


@pytest.mark.parametrize("text", ["great", "awful!", "喜欢", "boring\x1b"])
def test_a_word_is_read_though_it_is_not_worth_a_quote(text):
    llm = model()
    reading = read([review(1, text)], Ask(llm), "en")
    assert len(llm.calls) == 2
    assert abs(reading.feelings[1]) > 0.5
    assert reading.quotes == {}


def test_a_whole_review_is_one_line_of_what_can_be_shown():
    assert whole("Great product\n\nWorks well!\r\n  It is\tblue") == "Great product. Works well! It is blue."
    assert whole("很好\n还会再买") == "很好。 还会再买。"
    assert whole("a\u200bb \x1b[31m") == "a b [31m."
    assert whole(" \n ") == ""


@given(st.text(max_size=2000))
def test_a_whole_review_is_bounded(text):
    found = whole(text)
    assert len(found) <= WHOLE_CHARS
    assert "\n" not in found


def test_chinese_reviews_are_read_in_chinese():
    llm = model()
    reading = read([review(1, "开头有点慢。我很喜欢这个结尾。")], Ask(llm), "zh")
    assert reading.quotes[1] == "我很喜欢这个结尾。"
    assert "情感" in llm.calls[0].chat[0].content


def test_nothing_written_is_nothing_read():
    llm = model()
    assert read([review(1, ""), review(2, "noir", kind="search")], Ask(llm), "en").quotes == {}
    assert llm.calls == []


@given(st.lists(st.one_of(st.floats(-1000, 0), st.just(-math.inf)), min_size=6, max_size=6))
def test_a_polarity_is_always_a_number(logs):
    assert -1.0 <= polarity(logs[:3], logs[3:]) <= 1.0


def test_sentiment_counts_ratings_and_reviews():
    events = [review(1, "x", 5.0), review(2, "x"), review(3, "", 1.0, "rating"), review(4, "", 3.0, "rating"),
              review(5, "", None, "view"), review(6, "x")]  # fmt: skip
    assert sentiment(events, {1: 0.9, 2: -0.6}) == Sentiment(positive=1, neutral=1, negative=2)
