"""Reading reviews: the sentiment of them and of their sentences by `choose`, and the span worth quoting.

The quote is the person's own words, verbatim; without a model the stars say the sentiment and the first telling
sentence is quoted.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.ask import Ask
from agent.errors import LLMError
from agent.types import Event, Language, Sentiment

LABELS = ("positive", "neutral", "negative")
NOTHING = {"en": "N/A", "zh": "无"}
"""What the model says about it is bias, and is taken off: contextual calibration, Zhao et al. 2021."""
# A full stop ends a sentence before a blank only: "4.5 stars" is not two sentences.
SENTENCES = re.compile(r"(?:[^.!?。！？\n]|\.(?=[^\s.\"”’)]))+[.!?。！？]*[\"”’)」』）]*")
CJK = re.compile(r"[\u4e00-\u9fff]")
UNFIT = ("Cc", "Cf", "Cs", "Co", "Cn")
"""Categories of Unicode that are not shown: controls, invisible marks, halves of pairs, what is not assigned."""
KANA = re.compile(r"[\u3040-\u30ff]")
MIN_CHARS, MAX_CHARS = 8, 160
"""Bounds of a quote; a longer sentence is cut at a word, still verbatim."""
PER_REVIEW = 4
"""Sentences of one review that are read."""
WHOLE_CHARS = 600
"""How much of a review is read as a whole."""
BUDGET = 30
"""Texts that are read at a time (of one part of a long history): sentences and whole reviews, the newest first."""
LEAST_LOG = -30.0
"""A log-probability below this counts as this: hosted models say -inf of what they did not list."""
BELIEF_IN_STARS = 0.75


@dataclass(frozen=True, slots=True)
class Reading:
    """What a set of reviews says."""

    feelings: Mapping[int, float] = field(default_factory=dict)
    """event id -> sentiment, -1 to 1."""
    quotes: Mapping[int, str] = field(default_factory=dict)
    """event id -> span, verbatim in the event's text."""
    prompts: tuple[str, ...] = ()
    tokens: int = 0
    ms: float = 0.0
    notes: tuple[str, ...] = ()


def language_of(events: Sequence[Event], default: Language = "en") -> Language:
    """The language in which a person writes; `default` for one who writes nothing."""
    return language_by(*letters_of(events), default)


def letters_of(events: Sequence[Event]) -> tuple[int, int]:
    """How many letters `events` hold, and how many of them are Chinese. Japanese, told by its kana, is not."""
    texts = [event.text for event in events if event.text]
    chinese = sum(len(CJK.findall(text)) for text in texts if not KANA.search(text))
    return sum(char.isalpha() for text in texts for char in text), chinese


def language_by(letters: int, chinese: int, default: Language = "en") -> Language:
    """The language of somebody who wrote so many letters."""
    if not letters:
        return default
    return "zh" if chinese > 0.2 * letters else "en"


def spans(text: str) -> list[str]:
    """The sentences of a review that are fit to be quoted, in order; each is verbatim in `text`."""
    found = []
    for match in SENTENCES.finditer(text):
        span = match.group().strip()
        if any(unicodedata.category(char) in UNFIT for char in span):
            continue
        if CJK.search(span):
            span = span[: MAX_CHARS // 2]
        elif len(span) > MAX_CHARS:
            span = span[:MAX_CHARS].rsplit(" ", 1)[0]
        if len(span) >= (4 if CJK.search(span) else MIN_CHARS):
            found.append(span)
    return found


def whole(text: str) -> str:
    """A review on one line, every line of it ended, what cannot be shown left out; its beginning where it is long."""
    lines = []
    for line in text.splitlines():
        shown = "".join(char if unicodedata.category(char) not in UNFIT else " " for char in line)
        if shown := " ".join(shown.split()):
            lines.append(
                shown if unicodedata.category(shown[-1]) == "Po" else shown + ("。" if CJK.search(shown) else ".")
            )
    found = " ".join(lines)
    return found if len(found) <= WHOLE_CHARS else found[:WHOLE_CHARS].rsplit(" ", 1)[0]


def read(events: Sequence[Event], ask: Ask, language: Language) -> Reading:
    """The sentiment of every review among `events` and the words to quote from it.

    Where there are stars they decide what the review says, and the model finds the sentence that says it; where there
    are none, the model decides: half by the review as a whole, half by the mean of its sentences. Newest reviews first,
    up to BUDGET texts; a review beyond that, or without a model, is quoted by its stars and its length alone.
    """
    reviews = [event for event in reversed(events) if event.text and event.kind != "search"]
    if not reviews:
        return Reading()
    cut = {event.id: spans(event.text)[:PER_REVIEW] for event in reviews}
    wholes = {event.id: whole(event.text) for event in reviews if event.value is None}
    asked: list[tuple[int, str]] = []
    for event in reviews:
        mine = cut[event.id]
        if text := wholes.get(event.id):
            # A review of one sentence is the same as its sentence, but for the end of it.
            asked += [(event.id, one) for one in (text, *(mine if len(mine) > 1 else ()))]
        elif len(mine) > 1:
            # One sentence and stars: there is nothing to choose, so nothing is asked.
            asked += [(event.id, span) for span in mine]
    asked = asked[:BUDGET]
    notes: tuple[str, ...] = ()
    scores: dict[tuple[int, str], float] = {}
    prompts, tokens, ms = (), 0, 0.0
    if asked:
        try:
            scores, prompts, tokens, ms = judge(asked, ask, language)
        except LLMError as error:
            notes = (f"reviews were read without a model: {type(error).__name__}",)
    feelings, quotes = {}, {}
    for event in reviews:
        mine = [(scores.get((event.id, span)), span) for span in cut[event.id]]
        of_all = scores.get((event.id, wholes.get(event.id, "")))
        found = [score for score, _ in mine if score is not None]
        read_ones = [sum(found) / len(found)] if found else []
        read_ones += [] if of_all is None else [of_all]
        mean = sum(read_ones) / len(read_ones) if read_ones else 0.0
        starry = None if event.value is None else (event.value - 3.0) / 2.0
        if starry is None or not read_ones:
            feeling = mean if starry is None else starry
        else:
            feeling = BELIEF_IN_STARS * starry + (1 - BELIEF_IN_STARS) * mean
        # Neither stars nor read: nothing is known of it, which is not the same as neutral.
        if starry is not None or read_ones:
            feelings[event.id] = round(max(-1.0, min(1.0, feeling)), 3)
        if mine:
            quotes[event.id] = telling(mine, feeling)
    return Reading(feelings, quotes, prompts, tokens, ms, notes)


def judge(
    asked: Sequence[tuple[int, str]], ask: Ask, language: Language
) -> tuple[dict[tuple[int, str], float], tuple[str, ...], int, float]:
    """Sentiment of each sentence, -1 to 1: P(positive) - P(negative) after calibration. Raises LLMError."""
    inputs = [{"sentence": span} for _, span in asked]
    replies = ask.choose("sentiment", [{"sentence": NOTHING[language]}, *inputs], LABELS, language=language)
    bias, rows = replies[0].value, [reply.value for reply in replies[1:]]
    scores = {key: polarity(row, bias) for key, row in zip(asked, rows, strict=True)}
    return scores, (replies[0].prompt,), sum(reply.prompt_tokens for reply in replies), sum(r.ms for r in replies)


def polarity(row: Sequence[float], bias: Sequence[float]) -> float:
    """P(positive) - P(negative) of one row of log-probabilities, with the model's bias for a label divided out."""
    lifted = [math.exp(max(a, LEAST_LOG) - max(b, LEAST_LOG)) for a, b in zip(row, bias, strict=True)]
    total = sum(lifted)
    return (lifted[0] - lifted[2]) / total


def telling(scored: Sequence[tuple[float | None, str]], feeling: float) -> str:
    """The span that says most clearly what the whole review says; a fuller one among equals."""

    def rank(pair: tuple[float | None, str]) -> float:
        score, span = pair
        agreement = 0.0 if score is None else score * (1 if feeling >= 0 else -1)
        return agreement + 0.4 * min(1.0, len(span) / (30 if CJK.search(span) else 80))

    return max(scored, key=rank)[1]


def sentiment(events: Sequence[Event], feelings: Mapping[int, float]) -> Sentiment:
    """How many ratings and reviews were positive (over .25), negative (under -.25) or neither."""
    counts: Counter[str] = Counter()
    for event in events:
        value = feelings.get(event.id)
        if value is None and event.kind in ("rating", "review") and event.value is not None:
            value = (event.value - 3.0) / 2.0
        if value is not None:
            counts["positive" if value >= 0.25 else "negative" if value <= -0.25 else "neutral"] += 1
    return Sentiment(counts["positive"], counts["neutral"], counts["negative"])
