"""Intents, and what goes with them."""

from __future__ import annotations

from collections import Counter

import pytest

from agent import sample
from agent.ask import Ask
from agent.chat.titles import Titles
from agent.chat.understand import Context, Understand, language_of
from agent.chat.wishes import Catalogue, shown
from agent.errors import Unavailable
from agent.llm.scripted import Scripted

FILMS = sample.films()
BY_TITLE = {one.title: one for one in FILMS}
UNDERSTAND = Understand(Titles(FILMS), Catalogue.of(FILMS))
SHOWN = tuple(BY_TITLE[name] for name in ("Heat", "Alien", "Paddington 2", "Ran"))
LIST = Context(tuple(one.id for one in SHOWN), (), SHOWN)
NOTHING = Context()

CASES = [
    ("Hi", NOTHING, "chat"),
    ("thanks, that's great", LIST, "chat"),
    ("who are you?", NOTHING, "chat"),
    ("ok", LIST, "chat"),
    ("你好", NOTHING, "chat"),
    ("I want something slow and quiet, set in space", NOTHING, "ask"),
    ("what should I watch tonight?", NOTHING, "ask"),
    ("recommend me a comedy", NOTHING, "ask"),
    ("something by Hayao Miyazaki", NOTHING, "ask"),
    ("a quiet evening with my dad", NOTHING, "ask"),
    ("what else do you have?", LIST, "ask"),
    ("推荐一部科幻片", NOTHING, "ask"),
    ("shorter", LIST, "refine"),
    ("no horror please", LIST, "refine"),
    ("but not in English", LIST, "refine"),
    ("短一点，不要恐怖片", LIST, "refine"),
    ("more like this, but shorter and no horror", LIST, "more"),
    ("more like 2", LIST, "more"),
    ("something like Alien but newer", NOTHING, "more"),
    ("I saw Alien and loved it. Any more like that?", NOTHING, "more"),
    ("Seven Samurai", NOTHING, "more"),
    ("why?", LIST, "why"),
    ("why 2?", LIST, "why"),
    ("why the third one", LIST, "why"),
    ("为什么推荐第二部？", LIST, "why"),
    ("what do you know about me?", LIST, "me"),
    ("What do you think I like?", NOTHING, "me"),
    ("what's my taste", NOTHING, "me"),
    ("who am I?", LIST, "me"),
    ("describe my taste", NOTHING, "me"),
    ("你了解我什么？", NOTHING, "me"),
    ("what do you think I would like tonight", NOTHING, "ask"),
    ("do you know what I like in Heat", NOTHING, "more"),
    ("what is it about?", LIST, "about"),
    ("what's the second one about", LIST, "about"),
    ("tell me more about 3", LIST, "about"),
    ("what happens in Heat?", NOTHING, "about"),
    ("who directed Alien?", NOTHING, "about"),
    ("how long is it?", LIST, "about"),
    ("它讲什么？", LIST, "about"),
    ("介绍一下第二部", LIST, "about"),
    ("what is it about?", NOTHING, "chat"),
    ("a film about a lonely robot", LIST, "ask"),
    ("tell me about yourself", LIST, "chat"),
    ("compare these two", LIST, "compare"),
    ("compare 1 and 3", LIST, "compare"),
    ("which one is shorter, Heat or Ran?", NOTHING, "compare"),
    ("I loved Spirited Away and Paddington 2", NOTHING, "tell"),
    ("I did not like the second one", LIST, "tell"),
    ("I did not like that one", LIST, "tell"),
    ("I've seen all of these", LIST, "tell"),
    ("I love westerns but hate musicals", NOTHING, "tell"),
    ("I watch a lot of documentaries", NOTHING, "tell"),
    ("我喜欢科幻片，不喜欢恐怖片", NOTHING, "tell"),
    ("I'm not into horror any more", LIST, "correct"),
    ("that's wrong, I don't like musicals", LIST, "correct"),
    ("forget that", LIST, "undo"),
    ("forget the last thing", LIST, "undo"),
    ("start over", LIST, "undo"),
    ("why not Heat?", LIST, "why"),
    ("never mind", LIST, "undo"),
    ("drop the horror filter", LIST, "undo"),
    ("忘了吧", LIST, "undo"),
]


@pytest.mark.parametrize(("text", "context", "intent"), CASES, ids=[text for text, _, _ in CASES])
def test_the_intent(text, context, intent):
    assert UNDERSTAND(text, context).intent == intent


def test_every_intent_is_among_the_cases():
    assert set(Counter(intent for _, _, intent in CASES)) == {
        "ask", "refine", "more", "why", "about", "me", "compare", "tell", "correct", "undo", "chat"}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("why 2?", [1]),
        ("why?", [0]),
        ("compare 1 and 3", [0, 2]),
        ("compare the first and the last", [0, 3]),
        ("more like 4", [3]),
    ],
)
def test_which_items_of_the_list_are_meant(text, places):
    assert UNDERSTAND(text, LIST).meant == tuple(LIST.shown[place] for place in places)


@pytest.mark.parametrize(
    ("text", "places"),
    [("what is it about?", (0,)), ("what is 3 about", (2,)), ("what are these about?", (0, 1, 2))],
)
def test_which_items_are_asked_about(text, places):
    assert UNDERSTAND(text, LIST).meant == tuple(SHOWN[place].id for place in places)
    assert UNDERSTAND(text, LIST).wishes == ()


@pytest.mark.parametrize(
    "text", ["i love all movies Tom Hanks is in", "they made it already, it is very interesting", "I love all kinds"]
)
def test_all_of_something_else_is_not_all_that_was_shown(text):
    assert UNDERSTAND(text, LIST).opinions == ()


def test_the_first_hours_are_no_first_film():
    assert UNDERSTAND("I hated that, too slow in the first 2 hours", LIST).opinions == ()


def test_a_kind_of_films_that_the_catalogue_does_not_name_is_searched_with():
    assert [shown(one) for one in UNDERSTAND("I like political movies", NOTHING).wishes] == ["“political”"]


@pytest.mark.parametrize("text", ["I loved Heat and hate musicals", "我喜欢《不存在的片子》，讨厌歌舞片"])
def test_a_taste_goes_on_behind_a_title(text):
    assert [(one.name, one.polarity) for one in UNDERSTAND(text, NOTHING).tastes] == [("Musical", -1)]


def test_what_is_liked_stays_liked_beside_some_of_it_that_is_not():
    found = UNDERSTAND("I like comedies but not grossout comedies", NOTHING)
    assert [(one.name, one.polarity) for one in found.tastes] == [("Comedy", 1)]
    again = UNDERSTAND("but no stupid comedies", Context(LIST.shown, (), LIST.reference, wanted=("Comedy",)))
    assert (again.intent, again.wishes) == ("refine", ())
    assert again.notes == ("the catalogue cannot tell “stupid comedies” apart",)


def test_shorter_is_held_against_the_one_that_is_pointed_at():
    (_, wish) = UNDERSTAND("more like 1 but newer", LIST).wishes
    assert shown(wish) == f"after {SHOWN[0].attributes['year']}"


def test_tastes_last_and_are_no_wishes():
    found = UNDERSTAND("I love westerns but hate musicals", NOTHING)
    assert [(one.feature, one.polarity) for one in found.tastes] == [("category:Western", 1), ("category:Musical", -1)]
    assert found.tastes[1].quote == "hate musicals"
    assert not found.wishes


def test_numbers_are_those_of_the_list():
    found = UNDERSTAND("I've already seen 1 and 3", Context(LIST.shown, LIST.shown[1:2], LIST.reference))
    assert [(one.item, one.stance) for one in found.opinions] == [(LIST.shown[0], "seen"), (LIST.shown[2], "seen")]
    assert [one.item for one in UNDERSTAND("I loved 2!", LIST).opinions] == [LIST.shown[1]]
    for text in ("I saw 3 films this week", "我看过3部"):
        assert not UNDERSTAND(text, LIST).opinions, text


def test_starting_over_takes_every_wish_back():
    assert UNDERSTAND("OK, let's start over", LIST).revoked == ("*",)
    assert UNDERSTAND("films that start over and over", LIST).revoked == ()


def test_what_was_never_said_is_no_taste_and_no_wish():
    found = UNDERSTAND("I don't like musicals, and I never said I liked westerns", NOTHING)
    assert [(one.feature, one.polarity) for one in found.tastes] == [("category:Musical", -1)]
    assert not found.wishes


def test_what_is_wanted_now_is_no_taste():
    found = UNDERSTAND("I'd like a western tonight", NOTHING)
    assert not found.tastes
    assert [shown(one) for one in found.wishes] == ["Western"]


def test_of_several_shown_that_one_is_unclear_and_of_one_it_is_not():
    assert UNDERSTAND("I did not like that one", LIST).unclear == LIST.shown
    one = Context(LIST.shown, (LIST.shown[1],))
    found = UNDERSTAND("I did not like that one", one)
    assert not found.unclear
    assert [(said.item, said.stance) for said in found.opinions] == [(LIST.shown[1], "disliked")]


def test_why_wishes_for_nothing():
    assert not UNDERSTAND("why is it so long, and no horror?", LIST).wishes


@pytest.mark.parametrize(("yes", "intent"), [(2.0, "ask"), (-2.0, "chat")])
def test_the_model_is_asked_where_no_rule_knows(yes, intent):
    model = Scripted(lambda chat: "", lambda chat, choices: [yes, 0.0])
    found = UNDERSTAND("dreams within dreams", NOTHING, Ask(model))
    assert (found.intent, found.by) == (intent, "model")
    assert len(model.calls) == 1
    UNDERSTAND("recommend me a comedy", NOTHING, Ask(model))
    assert len(model.calls) == 1


def test_without_a_model_words_to_search_with_are_a_request():
    def dead(chat, choices):
        raise Unavailable("gone")

    assert UNDERSTAND("dreams within dreams", NOTHING).intent == "ask"
    found = UNDERSTAND("dreams within dreams", NOTHING, Ask(Scripted(lambda chat: "", dead)))
    assert (found.intent, found.by) == ("ask", "rules")


@pytest.mark.parametrize(("text", "language"), [("hello", "en"), ("你好", "zh"), ("123", "en"), ("", "en")])
def test_language(text, language):
    assert language_of(text) == language


def test_a_sensitive_taste_is_not_written_down():
    from agent.types import Item

    films = [Item(f"f{n}", f"Film{n}", categories=("LGBT", "Drama")) for n in range(3)]
    understand = Understand(Titles(films), Catalogue.of(films))
    assert [one.name for one in understand("I love drama and lgbt films", NOTHING).tastes] == ["Drama"]


@pytest.mark.parametrize(
    "text",
    [
        "yes I havent seen that one in a long time",
        "thanks for the recomendations",
        "hope you have a lovely day",
        "that is a true clasic mine too",
        "I was reminded of somebody when I was watching",
        "Is it kid friendly?",
        "what is it about?",
        "im good how are you",
    ],
)
def test_what_is_told_or_said_politely_is_not_searched_with(text):
    found = UNDERSTAND(text, LIST)
    assert not [one for one in found.wishes if one.words], found.wishes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I would love a film about robots and loneliness", "robots"),
        ("I have a free evening. Something slow and quiet, set in space", "slow"),
        ("a heist that goes wrong", "heist"),
        ("I like movies where everything goes horribly wrong", "horribly"),
        ("that was great, thanks. What about submarines?", "submarines"),
    ],
)
def test_what_is_asked_for_is(text, words):
    found = UNDERSTAND(text, NOTHING)
    assert words in " ".join(one.words for one in found.wishes)
    assert not {"free", "evening", "great", "thanks"} & set(" ".join(one.words for one in found.wishes).split())


@pytest.mark.parametrize("text", ["a good horroe movie", "some horor please"])
def test_a_kind_with_a_slip_is_that_kind(text):
    assert [one.slot for one in UNDERSTAND(text, NOTHING).wishes] == ["category:Horror"]


def test_a_rom_com_is_both():
    slots = {one.slot for one in UNDERSTAND("a rom com for tonight", NOTHING).wishes}
    assert slots == {"category:Romance", "category:Comedy"}


@pytest.mark.parametrize(
    ("text", "old"), [("some old classics", True), ("that is a classic", False), ("Total classic!", False)]
)
def test_a_classic_is_old_only_where_it_is_asked_for(text, old):
    assert any(one.slot == "year<" for one in UNDERSTAND(text, NOTHING).wishes) == old


@pytest.mark.parametrize(
    "text",
    [
        "Alien is fantasy if you ask me",
        "Haha. I saw it. It was so funny",
        "ok, is it a war movie?",
        "I haven't seen that one, is it funny or serious?",
        "Yes, watched that horror movie and liked it",
        "I never knew a doll could be so scary",
        "that one is good not very funny though",
        "Thank you for the four new suggestions",
        "I just recently saw Heat and it was great",
        "the story is as important to me as the action",
    ],
)
def test_what_is_told_or_asked_of_a_film_is_no_filter(text):
    assert not [one for one in UNDERSTAND(text, LIST).wishes if one.condition]


@pytest.mark.parametrize(
    ("text", "wishes"),
    [
        ("I want comedies", ["Comedy"]),
        ("Hi, I'm seeking an action comedy", ["Action", "Comedy"]),
        ("it should be a comedy", ["Comedy"]),
        ("I don't want horror", ["no Horror"]),
        ("my kids are here, so nothing scary", ["Family", "no Horror"]),
        ("I am a horror movie addict", ["Horror"]),
        ("I love dramas like Heat", ["Drama"]),
        ("are there any war movies?", ["War"]),
    ],
)
def test_what_is_asked_for_in_a_sentence_is_a_filter(text, wishes):
    found = UNDERSTAND(text, NOTHING)
    assert sorted(shown(one) for one in found.wishes if one.condition) == sorted(wishes)
    assert not [one.words for one in found.wishes if one.words]
