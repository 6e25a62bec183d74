"""What the templates say is true by construction: it passes the check that models are held to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ask import Ask
from agent.errors import Unavailable
from agent.grounding.check import Rules, check, fold
from agent.llm.scripted import NoModel, Scripted
from agent.persona import writing
from agent.persona.tally import Mark, Side, Tally
from agent.recommend import explain
from agent.types import Candidate, Item, Tag

NAMES = st.one_of(
    st.sampled_from(
        ["Heat", "Up", "It", "9", "8½", "M*A*S*H", "[REC]", "$9.99", "Dr. No", "What?", "重庆森林", "Amélie", "WALL·E",
         "Alien 3", "Drama", "Film", "Not Another Film", "<b>x</b>", "x\x1b[31m", "{{7*7}}", "a\nb", "see evil.com", "",
         " ", "The Others",
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


@settings(max_examples=150, deadline=None)
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
    common = tuple(
        dict.fromkeys(f for f in draw(st.lists(FEATURES, max_size=3)) if f and explain.nameable(f.partition(":")[2]))
    )
    own = [one.partition(":")[2] for one in common]
    made = tuple(v for f, v in zip(common, own, strict=True) if f.startswith("creator:"))
    categories = tuple(v for f, v in zip(common, own, strict=True) if f.startswith("category:"))
    # Explain never says that an item is by a maker, or of a kind, of its own name; see Explain._case.
    called = {fold(one).casefold() for one in own}
    others = NAMES.filter(lambda name: bool(name) and fold(name).casefold() not in called)
    offered = Item("new", draw(others), categories=categories, attributes={"year": 2001, "creator": made})
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
    guessed = (
        draw(FEATURES.filter(lambda f: explain.nameable(f.partition(":")[2])))
        if not common and draw(st.booleans())
        else ""
    )
    words = draw(st.sampled_from(["", "something quiet"]))
    together = draw(st.sampled_from([None, *((*liked, many) for liked in close for many in (0, 3, 40))]))
    around = draw(st.sampled_from([None, *close]))
    nearest = draw(st.sampled_from([None, *close, *((None, mark) for _, mark in close)]))
    fans, stated = draw(st.integers(0, 9)), frozenset(common if draw(st.booleans()) else ())
    case = explain.Case(
        Candidate(offered, 1.0), common, (), guessed, close, together, around, nearest, None, (), fans, words, stated
    )
    return case, language, domain


@settings(max_examples=150, deadline=None)
@given(cases())
def test_a_template_reason_passes_the_check(given_case):
    case, language, domain = given_case
    text = explain.template(case, language, domain)
    assert check(text, explain.facts_of(case, language, domain), Rules(explain.MAX_CHARS, language)) == [], text


CRIME = tag("category:Crime", 1, "", "en")
HORROR = tag("category:Horror", -1, "", "en")
HEAT = Item("1", "Heat", attributes={"year": 1995, "creator": ("Michael Mann",)})
TALLY = Tally(
    events=9, marks={"1": Mark(event=1, item="1", preference=0.9, stars=5.0)}, features={"category:Crime": Side()}
)


def who(**changes) -> writing.Portrait:
    return replace(writing.portrait((CRIME, HORROR), TALLY, {"1": HEAT}, "film", "en"), **changes)


def test_a_true_text_of_the_model_is_kept():
    llm = Scripted(lambda chat: '"A fan of crime films. Heat is a favourite. Tends to avoid horror."')
    written = writing.write(who(), TALLY, Ask(llm))
    assert (written.by, written.text) == ("model", "A fan of crime films. Heat is a favourite. Tends to avoid horror.")
    assert written.prompts[0].startswith("persona.en@")
    assert written.prompt_tokens > 0


@pytest.mark.parametrize(
    "answer",
    [
        "A fan of horror films.",
        "Loves Ronin and crime films.",
        "",
        "Crime " * 500,
        "<b>crime</b> films.",
        "A liking for films.",
    ],
)
def test_a_false_text_gives_way_to_the_template(answer):
    written = writing.write(who(), TALLY, Ask(Scripted(lambda chat: answer)))
    assert written.by == "template"
    assert written.text == writing.template(who())
    assert written.problems


def test_a_second_try_is_warmer_and_counts():
    left = ["A fan of horror films.", "A fan of crime films. Heat is a favourite."]
    llm = Scripted(lambda chat: left.pop(0))
    written = writing.write(who(), TALLY, Ask(llm))
    assert written.by == "model"
    assert written.problems == ("says that 'horror' is liked",)
    assert [call.temperature for call in llm.calls] == list(writing.TRIES[:2])


def test_without_a_model_or_without_evidence_the_template_speaks():
    assert writing.write(who(), TALLY, Ask(NoModel())).problems == (Unavailable.__name__,)
    llm = Scripted(lambda chat: "never asked")
    blank = writing.Portrait((), (), (), 0, "film", "en")
    assert "Too little is known" in writing.write(blank, Tally(), Ask(llm)).text
    assert llm.calls == []


def test_names_that_could_act_are_left_out():
    for title in ("<script>x</script>", "a\nb", "x\x1b[0m", "", "z" * 100):
        assert writing.portrait((CRIME,), TALLY, {"1": Item("1", title)}, "film", "en").favourites == ()
    for feature in ("category:<b>x</b>", "creator:see evil.com", "category:" + "x" * 90):
        assert writing.portrait((tag(feature, 1, "", "en"),), TALLY, {}, "film", "en").likes == ()


def test_a_long_portrait_stays_within_bounds():
    likes = tuple(tag(f"creator:{'Very Long Name ' * 3}{n}", 1, "", "en") for n in range(2))
    likes += tuple(tag(f"category:{'Some Long Category ' * 2}{n}", 1, "", "en") for n in range(3))
    assert len(writing.template(who(likes=likes))) <= writing.MAX_CHARS


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A fan of drama films. Heat and Baccano! are favourites.", None),
        ("Mostly drawn to drama films. Baccano! is a favourite.", None),
        ("A fan of drama films. This Boy and Heat are favourites.", None),
        ("A fan of drama films. Heat and Baccano!.", "a sentence without a verb"),
        ("A fan of drama films. Heat, Baccano!.", "a sentence without a verb"),
        ("A fan of drama films. heat, a favourite.", "a sentence without a verb"),
        ("A fan of drama films. Heat. This is a favourite.", "a sentence without a verb"),
        ("A fan of drama films. To Heat.", "a sentence without a verb"),
        ("A fan of drama films. Heat and Baccano! is a favourite.", "one and many disagree"),
        ("A fan of drama films. Heat is a favourite, but stays away from horror films.", "one and many disagree"),
        ("A fan of drama films. Heat is a favourite, but they stay away from horror films.", None),
        ("Their taste goes to drama films, and loves Heat.", "one and many disagree"),
        ("Drama films lead, and loves Heat and Baccano!.", "one and many disagree"),
        ("Heat and Baccano! lead among the favourites, with a liking for drama films.", None),
        ("A fan of drama films from the Heat and Baccano!", "one and many disagree"),
        ("A fan of drama films. Baccano! Heat is a favourite.", "one and many disagree"),
        ("A clear favourite: Heat and Baccano!. Comes back to drama films.", "one and many disagree"),
        ("A clear favourite: Heat. Comes back to drama films.", None),
        ("A fan of drama films. Heat is a favourite. Heat is a favourite.", "says 'Heat' twice"),
        ("A fan of drama films. Dramatic is a favourite.", None),
        ("A fan of drama films and the work of Heat.", "takes a title for a maker, or copies a list of titles"),
        (
            "A fan of drama films. Heat; Baccano! are favourites.",
            "takes a title for a maker, or copies a list of titles",
        ),
        ("A fan of drama films, drawn to drama films.", "says 'drama' twice"),
    ],
)
def test_a_true_text_that_reads_badly_is_refused(text, problem):
    favourites = (Item("1", "Heat"), Item("2", "Baccano!"), Item("3", "This Boy"), Item("4", "Dramatic"))
    who = writing.Portrait((tag("category:Drama", 1, "", "en"),), (), favourites, 9, "film", "en")
    assert writing.clumsy(text, who) == ([problem] if problem else [])


def test_a_name_within_another_is_not_said_twice():
    favourites = (Item("1", "Dragon Ball"), Item("2", "Dragon Ball Z (1996)"))
    likes = (tag("category:Shounen", 1, "", "en"), tag("category:Shounen Ai", 1, "", "en"))
    who = writing.Portrait(likes, (), favourites, 9, "anime", "en")
    assert not writing.clumsy("A fan of shounen ai and shounen anime. Dragon Ball and Dragon Ball Z are loved.", who)
    text = "A fan of shounen ai and shounen anime. Dragon Ball Z (1996) is loved, and so is Dragon Ball Z."
    assert not writing.clumsy(text, replace(who, favourites=()))
    assert writing.clumsy("A fan of shounen ai anime, and of Shounen ai.", who) == ["says 'shounen ai' twice"]
    assert writing.clumsy("喜欢Dragon Ball和Dragon Ball。", who) == ["says 'Dragon Ball' twice"]


def test_every_try_has_a_seed_of_its_own():
    llm = Scripted(lambda chat: "nothing that is true")
    assert writing.write(who(), TALLY, Ask(llm)).by == "template"
    assert [call.seed for call in llm.calls] == list(range(len(writing.TRIES)))


def test_what_the_model_is_told_cannot_be_misread():
    likes = tuple(tag(one, 1, "", "en") for one in ("category:Garden", "creator:Bexo", "word:bamboo", "word:steel"))
    dislikes = (tag("word:plastic", -1, "", "en"),)
    favourites = (Item("1", "Hose, Green"), Item("2", "Urnor Watering Can with a Long Spout, 10 Litre, Blue and Grey"))
    who = writing.Portrait(likes, dislikes, favourites, 9, "product", "en")
    assert writing.inputs_of(who) == {
        "likes": "products in Garden, the brand Bexo, the themes “bamboo” and “steel”",
        "favourites": "Hose, Green; Urnor Watering Can with a Long Spout",
        "dislikes": "the theme “plastic”",
    }
    makers = tuple(tag(f"creator:{name}", 1, "", "en") for name in ("Ida Vance", "Noor Galt"))
    who = writing.Portrait(makers, (), (), 9, "film", "en")
    assert writing.inputs_of(who)["likes"] == "the work of Ida Vance and Noor Galt"


def test_a_title_is_no_maker():
    who = writing.Portrait((tag("category:Garden", 1, "", "en"),), (), (Item("1", "Hose"),), 9, "product", "en")
    for text in ("A fan of the work of Hose.", "A fan of products in Garden and the brand Hose."):
        assert writing.clumsy(text, who) == ["takes a title for a maker, or copies a list of titles"]


def test_a_title_in_other_letters_is_no_title():
    who = writing.Portrait(
        (tag("category:War", 1, "", "en"),), (), (Item("1", "A Man Escaped"), Item("2", "Up")), 9, "film", "en"
    )
    wrong = ["writes 'A Man Escaped' in other letters"]
    assert writing.clumsy("A man escaped, and war films are what they like.", who) == wrong
    for text in ("Grown up with war films. A Man Escaped is a favourite.", "Lines up war films and Up."):
        assert writing.clumsy(text, who) == []


def test_things_that_are_called_the_same_are_one_favourite():
    items = {id: Item(id, f"Urnor Watering Can with a Long Spout, {id} Litre, Blue and Grey") for id in ("5", "9")}
    items["7"] = Item("7", "Hose")
    tally = Tally(events=3, marks={id: Mark(event=1, item=id, preference=0.9, stars=5.0) for id in items})
    who = writing.portrait((tag("category:Garden", 1, "", "en"),), tally, items, "product", "en")
    assert sorted(item.title[:5] for item in who.favourites) == ["Hose", "Urnor"]
