from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ask import Ask
from agent.errors import StoreError, TimedOut
from agent.features import Population
from agent.grounding.check import Rules, check
from agent.llm.base import Completion
from agent.llm.scripted import NoModel, Scripted
from agent.persona.tally import Mark, Side, Tally
from agent.recommend.explain import MAX_CHARS, Case, Explain, facts_of, inputs, problems_of, template, things_en
from agent.types import Candidate, Event, Item, Profile, Receipt, Source, Tag

START = datetime(2025, 1, 1, tzinfo=UTC)
ALIEN = Item("alien", "Alien", "A ship.", ("Horror", "Science Fiction"), {"year": 1979, "creator": ("Ridley Scott",)})
HALLOWEEN = Item("halloween", "Halloween", "A night.", ("Horror",), {"year": 1978, "creator": ("John Carpenter",)})
FOG = Item("fog", "The Fog", "A town.", ("Horror",), {"year": 1980, "creator": ("John Carpenter",)})
GREASE = Item("grease", "Grease", "A school.", ("Musical",), {"year": 1978})
SOLARIS = Item("solaris", "Solaris", "A planet.", ("Science Fiction",), {"year": 1972})
ITEMS = {item.id: item for item in (ALIEN, HALLOWEEN, FOG, GREASE, SOLARIS)}
REVIEW = "Nothing moves and I could not sleep. A perfect night."
EVENTS = [
    Event(1, "ann", "halloween", "review", 5.0, REVIEW, START),
    Event(2, "ann", "fog", "rating", 4.5, "", START + timedelta(days=1)),
    Event(3, "ann", "grease", "rating", 1.0, "", START + timedelta(days=2)),
]
MARKS = {
    "halloween": Mark(
        event=1, item="halloween", preference=1.0, at=START, quote="A perfect night.", stars=5.0, kind="review"
    ),
    "fog": Mark(event=2, item="fog", preference=0.7, stars=4.5, kind="rating"),
    "grease": Mark(event=3, item="grease", preference=-1.0, stars=1.0, kind="rating"),
}
TALLY = Tally(
    seq=3,
    events=3,
    marks=MARKS,
    features={
        "category:Horror": Side(items=["halloween", "fog"]),
        "creator:John Carpenter": Side(items=["halloween", "fog"]),
        "category:Musical": Side(items=["grease"]),
    },
)
HORROR = Tag("Horror", 1, 0.9, "observed", "category:Horror", (Receipt(1, "halloween", START, "A perfect night."),))
CARPENTER = Tag("John Carpenter", 1, 0.5, "observed", "creator:John Carpenter", (Receipt(2, "fog"),))
MUSICAL = Tag("Musical", -1, 0.6, "observed", "category:Musical", (Receipt(3, "grease"),))
SPACE = Tag("Science Fiction", 1, 0.3, "latent", "category:Science Fiction", (Receipt(1, "halloween"),))
PROFILE = Profile("ann", (HORROR, CARPENTER, MUSICAL))


def items(ids):
    return {id: ITEMS[id] for id in ids if id in ITEMS}


EXPLAIN = Explain(items, {}, Population(), "film")
SILENT = Ask(NoModel())


def reason(item, profile=PROFILE, tally=TALLY, events=EVENTS, ask=SILENT, sources=(), explain=EXPLAIN, **more):
    (found,) = explain([Candidate(item, 1.0, sources)], profile, tally, events, ask, **more).reasons
    return found


def says(text: str) -> Ask:
    return Ask(Scripted(lambda chat: text))


def test_what_item_and_person_have_in_common_is_said_with_the_item_it_is_close_to():
    found = reason(ALIEN)
    assert found.text == "Horror, close to Halloween, which you gave 5 stars."
    assert found.by == "template"
    assert [one.item for one in found.receipts] == ["halloween", "fog"]
    assert found.receipts[0].quote == "A perfect night."


def test_the_person_s_language_is_the_sentence_s():
    assert reason(ALIEN, language="zh").text == "同样是恐怖，与您给了5星的《Halloween》相近。"


def test_a_true_sentence_of_the_model_is_taken_with_the_same_receipts():
    found = reason(ALIEN, ask=says("It is horror again, close to Halloween, which you gave 5 stars."))
    assert found.by == "model"
    assert [one.item for one in found.receipts] == ["halloween", "fog"]


@pytest.mark.parametrize(
    "text",
    [
        "It is horror again, close to Grease, which you gave 5 stars.",
        "It is horror again, close to Halloween, which you gave 3 stars.",
        "You loved Alien.",
        "You gave Alien 5 stars.",
        "Horror by John Carpenter, close to Alien.",
        "It won three Oscars and is horror.",
        "A film.",
        "It is <b>horror</b> again.",
        "It is horror, see www.example.com.",
        "",
    ],
)
def test_a_sentence_that_says_more_than_the_facts_gives_way_to_the_template(text):
    found = reason(ALIEN, ask=says(text))
    assert found.by == "template"
    assert found.problems
    assert found.text == "Horror, close to Halloween, which you gave 5 stars."


def test_a_refused_sentence_is_asked_for_again_with_another_seed():
    replies = iter(["You loved Alien.", "It is horror again, close to Halloween."])
    model = Scripted(lambda chat: next(replies))
    assert reason(ALIEN, ask=Ask(model)).by == "model"
    assert [(call.seed, call.temperature) for call in model.calls] == [(0, 0.8), (1, 1.2)]


def test_only_what_was_refused_is_asked_for_again():
    def reply(chat):
        return "More horror, like Halloween." if "you liked Halloween" in chat[-1].content else "You loved Alien."

    model = Scripted(reply)
    found = EXPLAIN([Candidate(ALIEN, 1.0), Candidate(replace(ALIEN, id="x"), 0.9)], PROFILE, TALLY, EVENTS, Ask(model))
    assert [one.by for one in found.reasons] == ["model", "template"]
    assert len(model.calls) > 2
    titles = [call.chat[-1].content.partition("you liked ")[2].partition(" and")[0] for call in model.calls]
    assert titles[:2] == ["Halloween", "The Fog"]
    assert set(titles[2:]) == {"The Fog"}


def test_the_same_facts_once_more_are_asked_for_with_another_seed():
    films = [replace(ALIEN, id=id, title=id.title()) for id in ("one", "two", "three")]
    # No other film was liked, so all three are told of by the same one.
    only = TALLY.model_copy(update={"marks": {"halloween": MARKS["halloween"]}})
    said = iter(["One more horror film", "Horror again", "Horror again", "Another horror film"])
    model = Scripted(lambda chat: f"{next(said)}, close to Halloween, which you gave 5 stars.")
    found = EXPLAIN([Candidate(one, 1.0) for one in films], PROFILE, only, EVENTS, Ask(model))
    assert [one.text.partition(",")[0] for one in found.reasons] == [
        "One more horror film",
        "Horror again",
        "Another horror film",
    ]
    assert len({call.chat for call in model.calls}) == 1
    assert len({call.seed for call in model.calls}) == 4
    assert found.notes == ()


def test_a_model_that_knows_one_sentence_may_say_it_again():
    films = [replace(ALIEN, id=id, title=id.title()) for id in ("one", "two")]
    only = TALLY.model_copy(update={"marks": {"halloween": MARKS["halloween"]}})
    model = Scripted(lambda chat: "Horror again, close to Halloween, which you gave 5 stars.")
    found = EXPLAIN([Candidate(one, 1.0) for one in films], PROFILE, only, EVENTS, Ask(model))
    assert [one.by for one in found.reasons] == ["model", "model"]


def test_a_cut_off_sentence_is_no_sentence():
    cut = Completion("It is horror again.", "length", 1, 1, 1.0)
    assert reason(ALIEN, ask=Ask(Scripted(lambda chat: cut))).by == "template"


def test_what_failed_is_counted_and_what_the_model_said_is_not_repeated():
    model = Scripted(lambda chat: "It is horror by Zanzibar.")
    found = EXPLAIN([Candidate(ALIEN, 1.0), Candidate(SOLARIS, 0.5)], PROFILE, TALLY, EVENTS, Ask(model))
    assert found.notes == (
        "1 of 1 reasons were refused at first",
        "1 of 1 reasons failed the check and were written by template",
    )
    assert not found.silent
    assert found.prompts[0].startswith("reason.en@")
    assert found.prompt_tokens > 0


def test_a_model_that_fails_leaves_the_templates_and_says_so():
    def fail(chat):
        raise TimedOut("late")

    found = EXPLAIN([Candidate(ALIEN, 1.0)], PROFILE, TALLY, EVENTS, Ask(Scripted(fail)))
    assert found.silent
    assert found.notes == ("reasons were written without a model: TimedOut",)
    assert found.reasons[0].text


def test_a_model_is_not_asked_where_there_is_nothing_to_word():
    model = Scripted(lambda chat: "Anything.")
    assert reason(SOLARIS, ask=Ask(model)).text == "Nothing in your history speaks for it or against it yet."
    assert model.calls == []


def test_no_receipt_rests_on_an_event_that_is_not_this_person_s():
    both = replace(HORROR, receipts=(*HORROR.receipts, Receipt(2, "fog")))
    found = reason(ALIEN, replace(PROFILE, tags=(both,)), events=EVENTS[1:])
    assert {one.event for one in found.receipts} == {2}
    assert "Halloween" not in found.text
    assert reason(ALIEN, events=[]).receipts == ()
    assert reason(ALIEN, events=[]).text == "Nothing in your history speaks for it or against it yet."


def test_a_quote_that_nobody_wrote_is_no_receipt():
    forged = TALLY.model_copy(
        update={"marks": {**MARKS, "halloween": MARKS["halloween"].model_copy(update={"quote": "x!"})}}
    )
    profile = replace(PROFILE, tags=(replace(HORROR, receipts=(Receipt(1, "halloween", START, "Never said."),)),))
    assert all(one.event != 1 for one in reason(ALIEN, profile=profile, tally=forged).receipts)


def test_an_event_about_another_item_is_no_receipt():
    profile = replace(PROFILE, tags=(replace(HORROR, receipts=(Receipt(3, "halloween"),)),))
    assert reason(SOLARIS, profile=profile, tally=Tally()).receipts == ()


def test_what_speaks_against_it_is_said():
    found = reason(replace(GREASE, id="grease-2", title="Grease 2"))
    assert found.text == "You tend not to like musical."
    assert [one.item for one in found.receipts] == ["grease"]


def test_what_speaks_against_it_is_said_beside_what_speaks_for_it():
    both = Item("rocky", "Rocky Horror", "", ("Horror", "Musical"))
    assert reason(both).text == "You tend not to like musical, though it shares horror with what you like."
    assert "不太喜欢歌舞" in reason(both, language="zh").text


def test_a_guess_is_called_a_guess():
    profile = replace(PROFILE, tags=(SPACE,))
    found = reason(SOLARIS, profile=profile, sources=(Source("explore:Science Fiction", 1, 0.5),))
    assert found.explored
    assert found.text == "Something new to try: science fiction, a guess from what you like."
    assert [one.item for one in found.receipts] == ["halloween"]


def test_a_guess_that_did_not_bring_the_item_is_not_its_reason():
    found = reason(SOLARIS, profile=replace(PROFILE, tags=(SPACE,)))
    assert not found.explored


def test_what_was_asked_for_is_said_when_nothing_else_is_known():
    found = reason(SOLARIS, sources=(Source("words", 1, 0.9),), words="space")
    assert found.text == "One of the closest matches to what you asked for."


def test_the_item_that_brought_it_is_named():
    found = reason(SOLARIS, sources=(Source("recent:fog", 2, 0.9),))
    assert found.text == "Close to The Fog, which you gave 4.5 stars."
    far = reason(SOLARIS, sources=(Source("recent:fog", 40, 0.1),))
    assert far.text == "Among those closest to The Fog, which you gave 4.5 stars."
    assert [one.item for one in far.receipts] == ["fog"]
    assert reason(SOLARIS, sources=(Source("recent:fog", 51, 0.1),)).receipts == ()


def test_a_disliked_item_is_never_what_it_is_close_to():
    found = reason(SOLARIS, sources=(Source("recent:grease", 1, 0.9),))
    assert "Grease" not in found.text


@pytest.mark.parametrize(
    ("kind", "stars", "text"),
    [
        ("rating", 1.0, "You gave it 1 star."),
        ("rating", 4.5, "You gave it 4.5 stars."),
        ("purchase", None, "You bought it already."),
        ("play", None, "You watched it already."),
        ("dislike", None, "You said that you do not like it."),
        ("skip", None, "You skipped it."),
        ("view", None, "You looked at it before."),
        ("cart", None, "You put it in your basket before."),
    ],
)
def test_what_the_person_did_with_the_very_item_is_not_nothing(kind, stars, text):
    event = Event(9, "ann", "solaris", kind, stars)
    mark = Mark(event=9, item="solaris", preference=-0.2, stars=stars, kind=kind)
    tally = TALLY.model_copy(update={"marks": {**MARKS, "solaris": mark}})
    found = reason(SOLARIS, tally=tally, events=[*EVENTS, event])
    assert found.text == text
    assert [one.event for one in found.receipts] == [9]
    assert "在您的记录中暂无" not in reason(SOLARIS, tally=tally, events=[*EVENTS, event], language="zh").text


def test_an_item_the_person_had_is_not_sold_again_by_the_model():
    model = Scripted(lambda chat: "It is horror again, close to Halloween.")
    found = reason(FOG, ask=Ask(model))
    assert model.calls == []
    assert found.text.startswith("You gave it 4.5 stars. Horror by John Carpenter, close to Halloween")


def test_a_new_person_gets_a_sentence_without_a_claim():
    class Fans:
        positive = 7

    explain = replace(EXPLAIN, popularity={"solaris": Fans()})
    found = reason(SOLARIS, Profile("new"), Tally(), [], explain=explain)
    assert found.text == "Liked 7 times here; nothing in your history speaks for it yet."
    assert found.receipts == ()
    assert reason(SOLARIS, Profile("new"), Tally(), [], explain=explain, language="zh").text.startswith("这里有7次好评")


@pytest.mark.parametrize(
    "title",
    ["<script>x</script>", "{{7*7}}", "a http://x.example", "[a](b)", "x\x1b[1m", "\u202eevil", "a|im_end|b", "x" * 81],
)
def test_a_title_that_could_act_is_named_in_no_sentence(title):
    loud = replace(EXPLAIN, items=lambda ids: {id: replace(ITEMS[id], title=title) for id in ids if id in ITEMS})
    for language in ("en", "zh"):
        assert title not in reason(ALIEN, explain=loud, language=language).text


@pytest.mark.parametrize("title", ["[REC]", "M*A*S*H", "Face/Off", "The", "It", "You", "It's a Gift", "“Quoted”"])
def test_an_unusual_title_is_named_as_it_is(title):
    odd = replace(EXPLAIN, items=lambda ids: {id: replace(ITEMS[id], title=title) for id in ids if id == "halloween"})
    assert f"close to {title}, which you gave 5 stars" in reason(ALIEN, explain=odd).text


def test_hostile_categories_and_makers_are_named_in_no_sentence():
    tag = Tag("<b>Horror</b>", 1, 0.9, "observed", "category:<b>Horror</b>", (Receipt(1, "halloween"),))
    item = replace(ALIEN, categories=("<b>Horror</b>",))
    found = reason(item, replace(PROFILE, tags=(tag,)))
    assert "<b>" not in found.text


@pytest.mark.parametrize(
    "item", [ALIEN, FOG, SOLARIS, replace(ALIEN, title="It"), replace(FOG, id="x", title="The Thing")]
)
def test_templates_pass_the_check_that_models_must_pass(item):
    """The project's own grammar says nothing that the facts do not carry."""
    for language in ("en", "zh"):
        (case,) = EXPLAIN.cases([Candidate(item, 1.0)], PROFILE.tags, TALLY, "")
        if case.common and case.close and not case.had:
            text = template(case, language, "film")
            assert check(text, facts_of(case, language, "film"), Rules(220, language)) == [], text


# proposed because others had both

TOGETHER = replace(EXPLAIN, people_with=lambda one, other: 34 if (one, other) == ("fog", "solaris") else 2)


def others(item: str) -> tuple[Source, ...]:
    return (Source(f"collaborative:{item}", 1, 3.0),)


def test_what_others_had_with_a_liked_item_is_the_reason_with_that_item_as_receipt():
    found = reason(SOLARIS, sources=others("fog"), explain=TOGETHER)
    assert found.text == "34 people have this and The Fog, which you gave 4.5 stars, in their history."
    assert found.by == "template"
    assert [one.item for one in found.receipts] == ["fog"]


def test_what_others_had_is_said_beside_what_speaks_against_it():
    """Nobody is shown an item with nothing but a reason not to take it, where there is one to take it."""
    musical = replace(SOLARIS, categories=("Musical",))
    found = reason(musical, sources=others("fog"), explain=TOGETHER)
    told = "34 people have this and The Fog, which you gave 4.5 stars, in their history"
    assert found.text == f"You tend not to like musical, but {told}."
    assert [one.item for one in found.receipts] == ["fog", "grease"]
    chinese = reason(musical, sources=others("fog"), explain=TOGETHER, language="zh").text
    assert chinese.endswith("不过有34人的记录中同时有它和您给了4.5星的《The Fog》。")


def test_it_is_said_in_chinese_too():
    found = reason(SOLARIS, sources=others("fog"), explain=TOGETHER, language="zh")
    assert found.text == "有34人的记录中同时有它和您给了4.5星的《The Fog》。"


@pytest.mark.parametrize("item", ["halloween", "grease", "nothing"])
def test_too_few_others_or_a_disliked_item_give_way_to_what_more_people_had(item):
    found = reason(SOLARIS, sources=others(item), explain=TOGETHER)
    assert found.text == "34 people have this and The Fog, which you gave 4.5 stars, in their history."
    assert [one.item for one in found.receipts] == ["fog"]


def test_a_number_so_small_that_it_could_name_somebody_is_not_told():
    found = reason(SOLARIS, sources=others("fog"), explain=replace(TOGETHER, people_with=lambda one, other: 2))
    assert found.text == "Others' histories suggest it beside The Fog, which you gave 4.5 stars."
    assert [one.item for one in found.receipts] == ["fog"]


@pytest.mark.parametrize("item", ["grease", "nothing", ""])
def test_a_disliked_item_or_no_name_are_no_such_reason(item):
    found = reason(SOLARIS, sources=others(item), explain=replace(TOGETHER, people_with=lambda one, other: 0))
    assert "others" not in found.text
    assert found.receipts == ()


def test_what_the_person_shares_with_the_item_is_said_first():
    found = reason(ALIEN, sources=others("fog"), explain=replace(TOGETHER, people_with=lambda one, other: 9))
    assert found.text.startswith("Horror, close to")


def test_a_receipt_must_still_be_in_the_history():
    found = reason(SOLARIS, sources=others("fog"), events=EVENTS[:1], explain=TOGETHER)
    assert "people have this" not in found.text


# nothing is shown without a receipt

PLACES = {
    "alien": (1.0, 0.0),
    "halloween": (0.8, 0.6),
    "fog": (0.6, 0.8),
    "grease": (0.0, 1.0),
    "solaris": (0.78, 0.6257),
}


def vectors(ids):
    return {id: np.array(PLACES[id], np.float32) for id in ids if id in PLACES}


BESIDE = replace(EXPLAIN, vectors=vectors)
UNTOLD = replace(BESIDE, items=lambda ids: {id: replace(ITEMS[id], title="x" * 90) for id in ids if id in ITEMS})


def test_where_nothing_is_shared_the_closest_of_what_was_liked_is_the_receipt():
    """An explored item, found by a tag's name, whose features nobody is known to like."""
    found = reason(GREASE, replace(PROFILE, tags=(HORROR,)), events=EVENTS[:2], sources=BY_TAG, explain=BESIDE)
    assert found.text == "Of what you like, the closest to it is The Fog, which you gave 4.5 stars."
    assert [one.event for one in found.receipts] == [2]
    told = reason(
        GREASE, replace(PROFILE, tags=(HORROR,)), events=EVENTS[:2], sources=BY_TAG, explain=BESIDE, language="zh"
    )
    assert told.text == "在您喜欢的内容中，与它最接近的是您给了4.5星的《The Fog》。"


BY_TAG = (Source("tag:Horror", 2, 0.4), Source("under-shown", 2, 0.1))


def test_how_many_liked_it_is_said_beside():
    class Fans:
        positive = 7

    explain = replace(BESIDE, popularity={"solaris": Fans()})
    assert reason(SOLARIS, explain=explain).text == (
        "Liked 7 times here; of what you like, the closest to it is Halloween, which you gave 5 stars."
    )


def test_a_title_that_stands_in_no_sentence_is_a_receipt_all_the_same():
    found = reason(SOLARIS, sources=others("fog"), explain=UNTOLD)
    assert found.text == "Others' histories suggest it beside something you gave 4.5 stars."
    assert [one.item for one in found.receipts] == ["fog"]
    found = reason(SOLARIS, explain=UNTOLD)
    assert found.text == "Of what you like, the closest to it is something you gave 5 stars."
    assert [one.item for one in found.receipts] == ["halloween"]
    assert reason(SOLARIS, explain=UNTOLD, language="zh").text == "在您喜欢的内容中，与它最接近的是您给了5星的作品。"


def test_what_was_asked_for_is_said_first():
    found = reason(SOLARIS, words="a planet", sources=(Source("words", 1, 0.9),), explain=BESIDE)
    assert found.text == (
        "One of the closest matches to what you asked for; "
        "of what you like, the closest to it is Halloween, which you gave 5 stars."
    )
    assert [one.item for one in found.receipts] == ["halloween"]


def test_a_failing_index_leaves_what_everybody_says():
    def broken(ids):
        raise StoreError("gone")

    found = reason(SOLARIS, explain=replace(EXPLAIN, vectors=broken))
    assert found.text == "Nothing in your history speaks for it or against it yet."
    assert found.receipts == ()


def test_what_the_person_said_themselves_is_told_as_said():
    spoken = replace(SPACE, kind="stated", receipts=())
    found = reason(SOLARIS, Profile("ann", (spoken,)), Tally(), [])
    assert found.text == "Science fiction, which you said that you like."
    averse = replace(spoken, polarity=-1)
    assert (
        reason(SOLARIS, Profile("ann", (averse,)), Tally(), []).text == "You said that you do not like science fiction."
    )
    assert reason(SOLARIS, Profile("ann", (averse,)), Tally(), [], language="zh").text == "您说过不喜欢科幻。"
    assert reason(SOLARIS, Profile("ann", (spoken,)), Tally(), [], language="zh").text == "属于您说过喜欢的科幻。"


def test_every_feature_that_is_named_has_its_receipt():
    tags = (replace(HORROR, receipts=(Receipt(1, "halloween"),)), CARPENTER, MUSICAL)
    item = replace(FOG, id="new", title="Prince")
    (case,) = EXPLAIN.cases([Candidate(item, 1.0)], tags, TALLY.model_copy(update={"marks": {}}), "")
    assert len(case.common) == 2
    assert {one.item for one in case.receipts} == {"halloween", "fog"}


RETRIEVERS = ["tag:Horror", "explore:Science Fiction", "persona", "popular", "under-shown", "model", "collaborative"]
RETRIEVERS += [f"{kind}:{id}" for kind in ("recent", "collaborative") for id in (*ITEMS, "gone")]


@given(
    st.sampled_from([ALIEN, SOLARIS, GREASE]),
    st.lists(st.builds(Source, st.sampled_from(RETRIEVERS), st.integers(1, 200), st.just(1.0)), max_size=4),
    st.sets(st.sampled_from([HORROR, CARPENTER, MUSICAL, SPACE])),
    st.sets(st.sampled_from(range(3)), min_size=1),
    st.sampled_from([BESIDE, UNTOLD, replace(BESIDE, people_with=lambda one, other: len(one))]),
    st.sampled_from(["en", "zh"]),
)
def test_whoever_likes_anything_gets_no_reason_without_a_receipt(item, sources, tags, kept, explain, language):
    events = [EVENTS[at] for at in kept]
    profile = replace(PROFILE, tags=tuple(sorted(tags, key=lambda tag: tag.name)))
    item = replace(item, id=f"new-{item.id}")
    at = replace(explain, vectors=lambda ids: {id: np.array(PLACES[id.removeprefix("new-")], np.float32) for id in ids})
    found = reason(item, profile, events=events, sources=tuple(sources), explain=at, language=language)
    known = {(one.id, one.item) for one in events}
    assert {(one.event, one.item) for one in found.receipts} <= known
    if kept != {2}:
        assert found.receipts, found.text
    elif not found.receipts:
        assert found.text in NO_CLAIM


NO_CLAIM = ("Nothing in your history speaks for it or against it yet.", "您的记录中暂无相关内容。")


def test_a_model_is_told_what_kind_of_thing_two_items_are():
    both = ("category:Crime", "category:Drama", "creator:Billy Wilder", "decade:1940s", "word:heist")
    assert things_en(both, "film") == "crime and drama films by Billy Wilder from the 1940s on the theme of “heist”"
    assert things_en(("category:Toys & Games",), "product") == "products in Toys & Games"
    assert things_en(("language:ko", "decade:2000s"), "film") == "Korean-language films from the 2000s"
    assert things_en(("word:harmony",), "artist") == "artists on the theme of “harmony”"


def test_a_title_may_be_called_as_people_call_it():
    liked = Item("b", "Breathless (À bout de souffle)", categories=("Drama",))
    mark = Mark(event=1, item="b", preference=0.9, stars=5.0, kind="rating")
    case = Case(Candidate(ALIEN, 1.0), ("category:Drama",), (), "", ((liked, mark),), None, None, None, None, (), 0, "")
    assert inputs(case, "en", "film")["liked"] == "Breathless"
    facts = facts_of(case, "en", "film")
    for name in ("Breathless", "Breathless (À bout de souffle)"):
        assert check(f"You gave {name} 5 stars; this brings more drama films.", facts, Rules(MAX_CHARS)) == []


def test_the_kind_of_thing_is_not_said_twice():
    mark = Mark(event=2, item="fog", preference=0.7, stars=4.5, kind="rating")
    case = Case(Candidate(ALIEN, 1.0), ("category:Horror",), (), "", ((FOG, mark),), None, None, None, None, (), 0, "")
    once = "You gave The Fog 4.5 stars; this brings more horror films."
    assert problems_of(once, case, "en", "film") == []
    assert problems_of(once.replace("films", "films films"), case, "en", "film") == ["says 'films' twice"]


def test_half_a_sentence_about_stars_is_refused():
    mark = Mark(event=2, item="fog", preference=0.7, stars=4.5, kind="rating")
    case = Case(Candidate(ALIEN, 1.0), ("category:Horror",), (), "", ((FOG, mark),), None, None, None, None, (), 0, "")
    whole = "The Fog has 4.5 stars from you, and this is a horror film, too."
    assert problems_of(whole, case, "en", "film") == []
    assert problems_of(whole.replace("Fog has", "Fog and has"), case, "en", "film")
    assert problems_of("You gave The Fog, and this is a horror film, too.", case, "en", "film")
    assert problems_of("You gave The Fog 4.5 stars, and here is another horror film, like this.", case, "en", "film")
    assert problems_of("Because you gave The Fog 4.5 stars to it: more horror films.", case, "en", "film")


@pytest.mark.parametrize(
    ("sources", "closest", "common"),
    [
        ((), "The Fog", ("category:Horror", "creator:John Carpenter")),
        # Loved more, and the vote that found it: but its maker is another.
        ((Source("recent:b", 1, 1.0),), "The Ring", ("category:Horror",)),
    ],
)
def test_what_is_told_of_two_things_holds_of_both(sources, closest, common):
    def film(id: str, title: str, maker: str) -> Item:
        return Item(id, title, categories=("Horror",), attributes={"creator": (maker,)})

    new = film("new", "Prince of Darkness", "John Carpenter")
    known = {"a": film("a", "The Fog", "John Carpenter"), "b": film("b", "The Ring", "Gore Verbinski")}
    had = (Receipt(1, "a"), Receipt(2, "b"))
    tags = [Tag(f.partition(":")[2], 1, 0.8, "observed", f, had) for f in ("category:Horror", "creator:John Carpenter")]
    marks = {
        "a": Mark(event=1, item="a", preference=0.5, stars=4.0, kind="rating"),
        "b": Mark(event=2, item="b", preference=0.9, stars=5.0, kind="rating"),
    }
    explain = Explain(lambda ids: {id: known[id] for id in ids}, {}, Population(), "film")
    (case,) = explain.cases([Candidate(new, 1.0, sources)], tags, Tally(events=2, marks=marks), "")
    assert case.close[0][0].title == closest
    assert (case.common, case.both) == (common, True)
    assert inputs(case, "en", "film")["liked"] == closest
