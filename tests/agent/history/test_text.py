from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history.text import ID, clean_id, clean_line, clean_text, split_year, turn_article
from agent.history.values import Unusable

HIDDEN = [
    "\0",
    "\x1b",
    "\x85",
    "\xad",
    "\u200b",
    "\u200d",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\ufe0f",
    "\ud800",
    "\U000e0041",
]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("AT&amp;T &quot;x&quot;", 'AT&T "x"'),
        ("one<br />two<BR>three", "one\ntwo\nthree"),
        ("<b>bold</b> <script>alert(1)</script>", "bold alert(1)"),
        ("&lt;img src=x onerror=y&gt;", ""),
        ("I <3 it, 2 < 3 > 1", "I <3 it, 2 < 3 > 1"),
        ("a\r\nb\rc \t  d", "a\nb\nc d"),
        ("  ", ""),
        (None, ""),
        (7, "7"),
        ("好看！", "好看！"),
        ("cafe\u0301", "café"),
        ("{{7*7}} {% x %}", "{{7*7}} {% x %}"),
        ("a&#8203;b", "ab"),
    ],
)
def test_text_is_made_readable(raw, clean):
    assert clean_text(raw) == clean


@pytest.mark.parametrize("hidden", HIDDEN)
def test_invisible_characters_are_gone_from_texts_titles_and_ids(hidden):
    assert clean_text(f"ig{hidden}nore") == "ignore"
    assert clean_line(f"ig{hidden}nore") == "ignore"
    assert clean_id(f"ig{hidden}nore", "item") == "ignore"


def test_lengths_are_bounded():
    assert len(clean_text("x" * 10_000_000)) == 4_000
    assert len(clean_line("word " * 1_000)) <= 300
    assert clean_id("x" * ID, "user") == "x" * ID
    with pytest.raises(Unusable, match="longer than 512"):
        clean_id("x" * (ID + 1), "user")


@given(st.text())
def test_cleaning_is_total_and_what_it_leaves_can_be_stored(raw):
    clean = clean_text(raw)
    clean.encode()
    assert clean == clean.strip()
    assert unicodedata.is_normalized("NFC", clean)
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") and character != "\n" for character in clean)
    assert "\n" not in clean_line(raw)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (" a b ", "a b"),
        (7, "7"),
        (7.0, "7"),
        (7.5, "7.5"),
        ("e\u0301", "é"),
        ("007", "007"),
        (True, "True"),
        ("a\tb", "a b"),
    ],
)
def test_ids_have_one_spelling(raw, clean):
    assert clean_id(raw, "user") == clean


@pytest.mark.parametrize("raw", [None, "", "  ", "\u200b", float("nan"), [1], {"a": 1}, b"x"])
def test_what_is_no_id_is_refused(raw):
    with pytest.raises(Unusable, match="user"):
        clean_id(raw, "user")


@given(st.text())
def test_an_id_that_was_cleaned_stays_as_it_is(raw):
    try:
        once = clean_id(raw, "item")
    except Unusable:
        return
    assert clean_id(once, "item") == once


@pytest.mark.parametrize(
    ("raw", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("Babylon 5", "Babylon 5", None),
        ("Cosmos (2014–2015)", "Cosmos", 2014),
        ("Death Note (2006-) ", "Death Note", 2006),
        ("Seven (a.k.a. Se7en) (1995)", "Seven (a.k.a. Se7en)", 1995),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009),
        ("", "", None),
    ],
)
def test_the_year_is_split_from_the_title(raw, title, year):
    assert split_year(raw) == (title, year)


@pytest.mark.parametrize(
    ("raw", "turned"),
    [
        ("Matrix, The", "The Matrix"),
        ("Bug's Life, A", "A Bug's Life"),
        ("American President, An", "An American President"),
        ("Avventura, L'", "L'Avventura"),
        ("Boot, Das (Boat, The)", "Das Boot (The Boat)"),
        ("Shanghai Triad (Yao a yao yao dao waipo qiao)", "Shanghai Triad (Yao a yao yao dao waipo qiao)"),
        ("Postman, The (Postino, Il)", "The Postman (Il Postino)"),
        ("Jin (a.k.a. Matrix, The)", "Jin (a.k.a. The Matrix)"),
        ("Good, the Bad and the Ugly, The", "The Good, the Bad and the Ugly"),
        ("Kramer vs. Kramer", "Kramer vs. Kramer"),
        ("Crime, Thebes", "Crime, Thebes"),
        ("", ""),
    ],
)
def test_articles_are_turned_to_the_front(raw, turned):
    assert turn_article(raw) == turned


@given(st.text())
def test_titles_never_fail(raw):
    assert isinstance(turn_article(split_year(raw)[0]), str)
