"""The pages' words: every phrase in both languages, with the same blanks, and each of them used."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from agent.service.pages import chinese, english
from agent.service.pages.render import FOLDER, Words, hue, initial, preferred

SAID_BY_NAME = re.compile(r"(e\d{3}|s|d|did|dial|c|p|h|table|noted)_?.*|stated|observed|latent|.*_1")
"""Keys that are put together, e.g. from the kind of an event."""


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_both_languages_say_the_same_things():
    assert set(english.WORDS) == set(chinese.WORDS)


@pytest.mark.parametrize("key", english.WORDS)
def test_with_the_same_blanks(key):
    assert blanks(english.WORDS[key]) == blanks(chinese.WORDS[key]) <= {"what", "n"}
    assert english.WORDS[key].strip()
    assert chinese.WORDS[key].strip()


def test_no_phrase_is_left_over():
    files = [one for one in FOLDER.rglob("*") if one.suffix in (".html", ".py")]
    text = "".join(one.read_text() for one in files if one.name not in ("english.py", "chinese.py"))
    left = [key for key in english.WORDS if not SAID_BY_NAME.fullmatch(key) and not re.search(f"[\"']{key}[\"']", text)]
    assert left == []


def test_every_phrase_that_a_template_names_is_there():
    named = {
        key
        for one in FOLDER.rglob("*.html")
        for key in re.findall(r'\bt(?:\.count)?\("([a-z0-9_]+)"[,)]', one.read_text())
    }
    assert len(named) > 80
    assert named <= set(english.WORDS)


def test_every_kind_of_event_can_be_said():
    from typing import get_args

    from agent.types import EventKind, TagKind

    for kind in get_args(EventKind):
        assert Words("en")(f"d_{kind}", "4") != Words("zh")(f"did_{kind}", "4")
    for kind in get_args(TagKind):
        assert Words("zh").has(kind)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-GB,zh", "en"), ("fr,zh;q=0.5,en;q=0.4", "zh"),
        ("en;q=0.1,zh;q=0.2", "zh"), ("zh;q=x", "zh"), ("de", "en"), ("," * 5000 + "zh", "en"), ("zh;q=nan,en", "en"),
    ],
)  # fmt: skip
def test_the_language_that_a_browser_asks_for(accepted, language):
    assert preferred(accepted, "en") == language


def test_one_and_many():
    assert Words("en").count("events", 1) == "1 event"
    assert Words("en").count("events", 3) == "3 events"


@pytest.mark.parametrize(
    ("title", "letter"),
    [("The Third Man", "T"), ("A Separation", "S"), ("一一", "一"), ("", "·"), ("<b>", "·"), ("The", "T")],
)
def test_the_letter_on_a_tile(title, letter):
    assert initial(title) == letter
    assert 0 <= hue(title + "\ud800") < 12
