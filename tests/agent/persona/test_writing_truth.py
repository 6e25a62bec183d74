"""What the templates say is true by construction: it passes the check that models are held to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ask import Ask
from agent.errors import Unavailable
from agent.features import Population
from agent.grounding.check import Rules, check
from agent.llm.scripted import NoModel, Scripted
from agent.persona import writing
from agent.persona.tally import Mark, Side, Tally
from agent.recommend import explain
from agent.types import Candidate, Item, Receipt, Tag

NAMES = st.one_of(
    st.sampled_from(
        ["Heat", "Up", "It", "9", "8½", "M*A*S*H", "[REC]", "$9.99", "Dr. No", "What?", "重庆森林", "Amélie", "WALL·E", "Alien 3",
         "Drama", "Film", "Not Another Film", "<b>x</b>", "x\x1b[31m", "{{7*7}}", "a\nb", "see evil.com", "", " ", "The Others",
         "Once", "Best in Show", "a|b", "Crouching Tiger, Hidden Dragon", "“Quoted”", "(500) Days", "y" * 59, "z" * 300,
         "L'Avventura", "Ocean’s Eleven", "iZombie", "ßeta", "5", "3 stars", "Never", "but", "不", "英雄"]
    ),
    st.text(max_size=20),
)  # fmt: skip
FEATURES = st.one_of(
    st.builds(
        "category:{}".format, st.sampled_from(["Drama", "Horror", "Sci-Fi", "Film-Noir", "Toys & Games", "Comedy"])
    ),
    st.builds("creator:{}".format, NAMES),
    st.builds("word:{}".format, st.sampled_from(["robot", "family", "heist", "journey"])),
    st.builds("category:{}".format, NAMES),
    st.sampled_from(["decade:1990s", "language:ja", "price:low", "minutes:high", "", "brand:Acme"]),
)
LANGUAGES = st.sampled_from(["en", "zh"])
DOMAINS = st.sampled_from(["film", "artist", "book", "product", "anime", "item", "recipe", "story"])


def tag(feature: str, polarity: int, name: str, language: str) -> Tag:
    called = writing.shown(writing.label(feature, language)) if feature else name
    return Tag(called, polarity, 0.5, "observed" if feature else "stated", feature)


@st.composite
def people(draw):
    language, domain = draw(LANGUAGES), draw(DOMAINS)
    liked = draw(st.lists(FEATURES, max_size=7))
    disliked = [feature for feature in draw(st.lists(FEATURES, max_size=3)) if feature]
    tags = [tag(one, 1, draw(NAMES), language) for one in liked]
    names = {text.casefold() for one in tags for text in writing.terms_of([one], language)}
    tags += [
        one
        for one in (tag(feature, -1, "", language) for feature in disliked)
        if not names & {text.casefold() for text in writing.terms_of([one], language)}
    ]
    titles = draw(st.lists(NAMES, max_size=4, unique=True))
    items = {
        str(n): Item(str(n), title, attributes={"year": 1999, "creator": ("Heat",)}) for n, title in enumerate(titles)
    }
    stars = draw(st.sampled_from([4.0, 4.5, 5.0, None]))
    marks = {id: Mark(event=1, item=id, preference=0.9, stars=stars) for id in items}
    tally = Tally(events=draw(st.integers(0, 40)), marks=marks)
    return writing.portrait(tags, tally, items, domain, language), tally


@settings(max_examples=400, deadline=None)
@given(people())
def test_a_template_persona_passes_the_check(person):
    who, tally = person
    text = writing.template(who)
    facts = writing.facts_of(who, tally)
    assert check(text, facts, Rules(writing.MAX_CHARS, who.language)) == [], text
    assert writing.incomplete(text, who) == []


@st.composite
def cases(draw):
    language, domain = draw(LANGUAGES), draw(DOMAINS)
    common = tuple(dict.fromkeys(f for f in draw(st.lists(FEATURES, max_size=3)) if f and explain.nameable(f)))
    own = [one.partition(":")[2] for one in common]
    made = tuple(v for f, v in zip(common, own, strict=True) if f.startswith("creator:"))
    categories = tuple(v for f, v in zip(common, own, strict=True) if f.startswith("category:"))
    offered = Item("new", draw(NAMES.filter(bool)), categories=categories, attributes={"year": 2001, "creator": made})
    titles = [
        t
        for t in draw(st.lists(NAMES, max_size=2, unique=True))
        if explain.nameable(t) and t.strip() and t != offered.title
    ]
    kind = draw(st.sampled_from(["review", "rating", "play", "view", "like", "purchase", "cart", "click"]))
    stars = draw(st.sampled_from([4.0, 4.5])) if kind in ("review", "rating") else None
    close = tuple(
        (
            Item(str(n), title, attributes={"year": 1999}),
            Mark(event=n, item=str(n), preference=0.8, stars=stars, kind=kind),
        )
        for n, title in enumerate(titles)
    )
    guessed = draw(FEATURES.filter(explain.nameable)) if not common and draw(st.booleans()) else ""
    words = draw(st.sampled_from(["", "something quiet"]))
    return (
        explain.Case(Candidate(offered, 1.0), common, (), guessed, close, None, (), draw(st.integers(0, 9)), words),
        language,
        domain,
    )


@settings(max_examples=400, deadline=None)
@given(cases())
def test_a_template_reason_passes_the_check(given_case):
    case, language, domain = given_case
    text = explain.template(case, language, domain)
    assert check(text, explain.facts_of(case, language, domain), Rules(explain.MAX_CHARS, language)) == [], text
