"""What holds of every text: the check answers, quickly, and nothing unknown gets past it."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.grounding.check import (
    CJK,
    FIRST_MARK,
    LONGEST,
    Rules,
    check,
    fold,
    harmless,
    known,
    mask,
    of_domain,
    spelling,
)
from agent.grounding.facts import Facts, stars, year

FACTS = Facts(
    known={"Alien": stars(4.5) | year(1979), "9": stars(3.0), "重庆森林": stars(5.0)},
    offered={"Aliens": year(1986)},
    liked=frozenset({"Alien"}),
    makers={"James Cameron": frozenset({"Aliens"})},
    terms=frozenset({"Science Fiction", "drama", "剧情"}),
    traits=frozenset({"Horror"}),
    aversions=frozenset({"War"}),
    nouns=frozenset({"film", "films", "电影"}),
    numbers=frozenset({"12"}),
)
PIECES = st.sampled_from(
    ["Alien", "Aliens", "9", "重庆森林", "James Cameron", "drama", "Horror", "War", "12", "4.5 stars", "5星", " ", ", ",
     ". ",
     "you gave it ", "which you loved", "不喜欢", "您给了", "by ", "'s ", "not ", "but ", "《", "》", "“", "\n",
     "\ue100",
     "(1979)", "\x00", "\ud800", "and ", "never ", "的", "执导", "/", "5", "out of ", "\U0001f600", "<b>"]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=40).map("".join))


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from(["en", "zh"]))
@example("\ue000" + "9" * 5000 + "\ue001", "en")
@example("Alien by \ue100\ue101", "en")
@example("Alien " + "1" * 900 + " stars.", "en")
@example("١٢ stars, Alien ٤٫٥.", "en")
def test_every_text_gets_an_answer(text, language):
    problems = check(text, FACTS, Rules(220, language))
    assert all(isinstance(one, str) for one in problems)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60), TEXTS)
def test_every_catalogue_gets_an_answer(title, term, text):
    odd = Facts(known={title: stars(3.5)}, offered={term: frozenset()}, makers={term: frozenset({title})},
                terms=frozenset({term, ""}), traits=frozenset({title}), aversions=frozenset({term[:3]}))  # fmt: skip
    for said in (text, f"{title} by {term}, which you gave 3.5 stars."):
        assert isinstance(check(said, odd, Rules()), list)


@pytest.mark.parametrize(
    ("piece", "times"),
    [("a", 10_000_000), ("you ", 2_500_000), ("Alien, ", 1_000_000), ("((((", 1_000_000), (" ", 10_000_000),
     ("\ue000", 1_000_000), ("你", 3_000_000), ("not ", 200), ("you really ", 90), ("1.1.1.", 150), ("Alien 1 ", 120),
     ("that's-", 140), ("/ 5 ", 240), ("Alien by ", 100), ("James Cameron's own ", 40), ("not really ", 80)],
)  # fmt: skip
def test_hostile_texts_are_refused(piece, times):
    assert check(piece * times, FACTS, Rules(220))


WORDS = st.from_regex(r"[a-z]{3,12}", fullmatch=True)
CARRIED = {"science", "fiction", "drama", "film", "films", "alien", "aliens", "horror", "war", "dramas", "wars",
           "horrors", "james", "cameron"}  # fmt: skip


@settings(max_examples=200)
@given(
    WORDS.filter(lambda word: not known(word, harmless("en") | of_domain("en", ["film"]) | CARRIED)), st.integers(0, 3)
)
def test_a_word_outside_facts_and_lexicon_fails(word, place):
    parts = ["Drama", "close to", "Alien"]
    parts.insert(place, word)
    assert any(repr(word) in one for one in check(" ".join(parts) + ".", FACTS, Rules()))


@settings(max_examples=100)
@given(st.text("爱恨情仇龙凤江湖剑客侠女雪月风花", min_size=1, max_size=4))
def test_a_chinese_title_outside_the_facts_fails(title):
    assert check(f"与您喜欢的《{title}》相近，属于剧情。", FACTS, Rules(220, "zh"))


@settings(max_examples=100)
@given(st.integers(0, 9999))
def test_a_number_outside_the_facts_fails(number):
    said = check(f"Drama from {number}, close to Alien.", FACTS, Rules())
    assert (said == []) == (str(number) in {"12", "1986", "9"})  # 9 is a title


@settings(max_examples=100)
@given(st.integers(2, 10).map(lambda halves: halves / 2))
def test_only_the_true_rating_passes(value):
    said = check(f"Drama, close to Alien, which you gave {value:g} stars.", FACTS, Rules())
    assert (said == []) == (value == 4.5)


def test_the_bound_is_above_what_rules_allow():
    assert Rules().max_chars < LONGEST
    assert re.match(r"longer", check("x" * (LONGEST + 1), FACTS, Rules())[0])


PARTS = st.sampled_from(
    ["up", "Up", "drama", "comedy", "ies", "y", "'s", " ", "5", "5 stars", "不", "电影", "㐂", "x", "-", "M*A*S*H", "?",
     " & ", " and ", "1984", "the", "ſ", "ß", "_", "."]
)  # fmt: skip
WORDS = st.lists(PARTS, min_size=1, max_size=3).map("".join).filter(lambda entry: any(map(str.isalnum, entry)))
ENTRIES = st.lists(WORDS, max_size=6, unique=True)


@settings(max_examples=150, deadline=None)
@given(ENTRIES, st.data())
def test_looking_for_entries_one_by_one_finds_what_one_pattern_of_all_finds(entries, data):
    vocabulary = sorted(map(fold, entries), key=lambda entry: (-len(entry), entry))
    names = data.draw(st.lists(st.sampled_from(vocabulary))) if vocabulary else []
    glue = st.sampled_from([" ", "s", "es", "片", "Stars", "a", ".", "星"])
    said = st.sampled_from(vocabulary) if vocabulary else st.nothing()
    text = fold("".join(data.draw(st.lists(st.one_of(said, said.map(str.upper), glue), max_size=12))))
    assert mask(text, vocabulary, names) == all_at_once(text, vocabulary, set(names))


def all_at_once(text: str, vocabulary: list[str], names: set[str]) -> str:
    """The same by one alternation, tried at every place in the order of the vocabulary."""
    letter = r"(?-i:(?![\u3400-\u9fff])[^\W_])"
    parts = [
        f"({spelling(entry, entry in names)})"
        if CJK.search(entry)
        else f"(?<!{letter})({spelling(entry, entry in names)})(?!{letter})"
        for entry in vocabulary
    ]

    def mark(match: re.Match[str]) -> str:
        found = vocabulary[(match.lastindex or 0) - 1]
        alike = [n for n, entry in enumerate(vocabulary) if entry.casefold() == found.casefold()]
        exact = [n for n in alike if match[0].startswith(vocabulary[n])]
        return chr(FIRST_MARK + (exact or [vocabulary.index(found)])[0])

    return re.sub("|".join(parts), mark, text, flags=re.IGNORECASE) if parts else text
