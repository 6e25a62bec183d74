"""What may be said and what may not: a table of sentences, each with its own verdict."""

from __future__ import annotations

import pytest

from agent.grounding.check import LONGEST, Rules, check, harmless, lexicon, mask, nameable, plain
from agent.grounding.facts import Facts, numbers_in, stars, year

# A reason: Aliens is offered; Alien and Heat are known and liked; Cats was seen and not liked.
REASON = Facts(
    known={
        "Alien": stars(4.5) | year(1979),
        "Heat": stars(5.0) | year(1995),
        "Cats": stars(2.0) | year(2019),
    },
    offered={"Aliens": year(1986)},
    liked=frozenset({"Alien", "Heat"}),
    makers={
        "James Cameron": frozenset({"Aliens"}),
        "Ridley Scott": frozenset({"Alien"}),
        "Michael Mann": frozenset({"Heat"}),
    },
    terms=frozenset({"Science Fiction", "science fiction", "James Cameron"}),
    traits=frozenset({"Horror", "horror", "Action"}),
    nouns=frozenset({"film", "films"}),
)
TRUE_REASONS = (
    "It is science fiction by James Cameron, close to Alien, which you gave 4.5 stars.",
    "Aliens is science fiction again, close to Alien and Heat.",
    "Another science fiction film, on the same shelf as Alien.",
    "You gave Alien 4.5 stars, and this is science fiction too.",
    "You gave 5 stars to Heat; Aliens is science fiction as well.",
    "Science fiction by James Cameron, close to Alien, which you gave 4.5 out of 5 stars.",
    "Since you enjoyed Alien, Aliens is a natural next choice.",
    "If you liked Alien, you may like Aliens.",
    "Aliens (1986) is a science fiction film by James Cameron.",
    "Close to Alien (1979), which you rated highly.",
    "It is a 1986 film in the vein of Alien.",
    "Aliens is also a horror film, and you like science fiction.",
    "James Cameron’s Aliens is science fiction, like Alien.",
    "Directed by James Cameron, it is close to Alien, a favourite of yours.",
    "It shares science fiction with Ridley Scott's Alien, which you loved.",
    "You've given Alien 4.5 stars; Aliens is close to it.",
    "A good match for your taste in science fiction.",
    "Another film by James Cameron, whose work you like.",
    "Alien, which you gave 4.5 stars, is close to this science fiction film.",
    "aliens is science fiction, and so is alien.",
)
FALSE_REASONS = {
    "Another science fiction film. I am ines.": "'ines' is in no fact",
    "Another science fiction film. I am will.": "gives somebody a name",
    "It is close to Blade Runner, which you loved.": "in no fact",
    "It is close to Up, which you liked.": "'Up' is in no fact",
    "It is science fiction like Another One, which you liked.": "is in no fact",
    "It is close to “another one”, which you liked.": "quotes",
    "It is close to Alien 3, which you liked.": "the number 3",
    "A science fiction film with Sigourney Weaver.": "in no fact",
    "Aliens, which you rated highly, is science fiction.": "not been experienced",
    "Aliens is science fiction, which you loved.": "not been experienced",
    "Aliens is science fiction. You gave it 5 stars.": "nothing that is named",
    "It is science fiction, and you gave it 5 stars.": "5 stars",
    "Aliens is science fiction; you gave it 4.5 stars.": "has not been experienced",
    "Since you like Aliens, it is a safe choice.": "not been experienced",
    "Your favourite, Aliens, is science fiction.": "not been experienced",
    "You have seen Aliens, so you know it is science fiction.": "not been experienced",
    "You already watched Aliens.": "not been experienced",
    "Aliens, rated highly, is science fiction.": "not been experienced",
    "Aliens was loved by you.": "not been experienced",
    "You’ve loved Aliens since the start.": "not been experienced",
    "Close to Alien, which you gave 5 stars.": "5 stars",
    "Close to Alien, which you gave 5.": "the number 5",
    "You gave 4.5 stars to Heat, close to Alien.": "4.5 stars",
    "Close to Heat, which you gave 4.5 stars, and to Alien.": "4.5 stars",
    "Close to Alien (1995), which you liked.": "1995",
    "It is close to Alien from 1986.": "1986",
    "The 1979 Heat is close to it.": "1979",
    "Science fiction from 2001, close to Alien.": "2001",
    "It is close to Alien by James Cameron.": "not by 'James Cameron'",
    "Aliens is a film by Ridley Scott.": "not by 'Ridley Scott'",
    "It is another science fiction film by Ridley Scott.": "not by 'Ridley Scott'",
    "James Cameron's Heat is close to it.": "not by 'James Cameron'",
    "Alien, a science fiction film by Michael Mann, is close to it.": "not by 'Michael Mann'",
    "Ridley Scott directed Aliens.": "not by 'Ridley Scott'",
    "James Cameron's science fiction film Alien is close to it.": "not by 'James Cameron'",
    "It is horror, which you love.": "'horror' is liked",
    "You like horror, so this suits you.": "'horror' is liked",
    "Your taste in horror fits this.": "'horror' is liked",
    "For fans of horror, this is close to Alien.": "'horror' is liked",
    "A film by Ridley Scott, whom you admire.": "is liked",
    "It is not science fiction, close to Alien.": "is disliked",
    "You tend to avoid science fiction, and this is close to Alien.": "is disliked",
    "Close to Cats, a favourite of yours.": "'Cats' was not liked",
    "You loved Cats, so this suits you.": "'Cats' was not liked",
    "It is close to <b>Alien</b>.": "markup",
    "It is close to **Alien**.": "unusual",
    "It is close to Alien, see https://example.org now.": "markup",
    "It is close to Alien, see evil.com.": "markup",
    "It is close to Alien; write to me@example.org.": "markup",
    "It is close to [1], which you liked.": "unusual",
    "It is close to \x1b[31mAlien\x1b[0m.": "invisible",
    "It is close to Al\u200bien.": "invisible",
    "It is close to \u202eAlien.": "invisible",
    "It is close to Alien \U0001f600.": "unusual",
    "It is close to Alien.\n\nIt is science fiction.": "several paragraphs",
    "It is close to Alien and": "end like a sentence",
    "It is close to Alien, which you gave 4.5": "end like a sentence",
    "It is close to the.": "end like a sentence",
    "It is close to Alien...": "end like a sentence",
    "It is (close to Alien.": "left open",
    "Es ist nahe an Alien, das dir gefiel.": "in no fact",
    "它与Alien相近。": "in no fact",
    "A heart-warming film, close to Alien.": "'heart-warming'",
    "A thought-provoking, feel-good film.": "in no fact",
    "A great film, close to Alien.": "how good",
    "The best science fiction, close to Alien.": "'best'",
    "You always like science fiction.": "'always'",
    "Every science fiction film suits you.": "'Every'",
    "You often like science fiction.": "'often'",
    "Science fiction for your daughter, close to Alien.": "'daughter'",
    "Like Mara, you like science fiction.": "'Mara'",
    "Item: Aliens is close to Alien.": "repeats the question",
    "In common: science fiction.": "repeats the question",
    "c1 is close to Alien.": "in no fact",
    "It is close to Alien, says @critic.": "unusual",
    "You listened to Alien, and this is close.": "in no fact",
    "Based on a book, close to Alien.": "in no fact",
    "": "empty",
    "...!?": "empty",
}

# A persona: what is liked and what is not, nothing is offered.
PERSONA = Facts(
    known={"Heat": stars(5.0) | year(1995), "Up": stars(4.5) | year(2009)},
    liked=frozenset({"Heat", "Up"}),
    makers={"Michael Mann": frozenset({"Heat"}), "Pete Docter": frozenset()},
    terms=frozenset({"Drama", "drama", "Comedy", "comedy", "1990s", "the 1990s", "Michael Mann", "Crime", "crime"}),
    aversions=frozenset({"Horror", "horror", "War", "war"}),
    nouns=frozenset({"film", "films"}),
    numbers=numbers_in("the 1990s", "5"),
)
TRUE_PERSONAS = (
    "Mostly drawn to drama and comedy films from the 1990s; Heat is a favourite.",
    "Keeps coming back to drama, with Heat and Up among the favourites. Tends to avoid horror.",
    "Loves drama and comedy but not horror.",
    "Likes comedies and dramas, not horror or war films.",
    "Likes drama and dislikes horror.",
    "Likes drama and comedy, and avoids war and horror.",
    "A clear liking for drama, crime and the work of Michael Mann. Not drawn to horror, war.",
    "Prefers drama over horror.",
    "Enjoys not only drama but also comedy.",
    "Drawn to crime by Michael Mann; rated Heat 5 stars.",
    "Horror is avoided, while comedy is enjoyed.",
    "Fond of Up, Heat and drama.",
)
FALSE_PERSONAS = {
    "Drama and comedy films, with Heat and Up, are not their favourites.": "is disliked",
    "Mostly drawn to horror and drama.": "'horror' is liked",
    "Likes drama, comedy and horror.": "'horror' is liked",
    "Likes drama, comedy, horror.": "'horror' is liked",
    "Avoids war but loves horror.": "'horror' is liked",
    "Likes not only drama but also horror.": "'horror' is liked",
    "Enjoys not just drama, also horror.": "'horror' is liked",
    "Never tires of horror.": "'horror' is liked",
    "Does not avoid war films.": "'war' is liked",
    "Dislikes horror and loves war films.": "'war' is liked",
    "Avoids horror, and war is a favourite.": "'war' is liked",
    "Avoids drama and comedy.": "is disliked",
    "Tends not to like horror, war and drama.": "'drama' is disliked",
    "Likes comedy but not drama.": "'drama' is disliked",
    "Prefers comedy over drama.": "'drama' is disliked",
    "Drama isn’t a favourite.": "'drama' is disliked",
    "Used to like drama.": "'drama' is disliked",
    "Rates drama low.": "'drama' is disliked",
    "Has nothing for drama.": "'drama' is disliked",
    "Heat by Pete Docter is a favourite.": "not by 'Pete Docter'",
    "Gave Heat 4.5 stars.": "4.5 stars",
    "Rated 1990 stars high, likes drama.": "1990 stars",
    "Gave Up 5 stars and likes drama.": "5 stars",
    "Likes Ups and drama.": "'Ups'",
    "Loves drama films of the 1980s.": "1980",
    "Likes drama; your mother does too.": "'mother'",
    "A reader of drama and comedy.": "'reader'",
}

CHINESE = Facts(
    known={"重庆森林": stars(4.5) | year(1994), "Heat": stars(5.0) | year(1995), "英雄": stars(2.0) | year(2002)},
    offered={"一一": year(2000)},
    liked=frozenset({"重庆森林", "Heat"}),
    makers={"杨德昌": frozenset({"一一"}), "王家卫": frozenset({"重庆森林"})},
    terms=frozenset({"剧情", "爱情", "杨德昌"}),
    traits=frozenset({"恐怖"}),
    aversions=frozenset({"动作", "战争"}),
    nouns=frozenset({"电影", "films"}),
    numbers=frozenset({"3"}),
)
TRUE_CHINESE = (
    "同样是杨德昌的剧情，与您给了4.5星的《重庆森林》相近。",
    "又一部您喜欢的剧情电影，与《重庆森林》相近。",
    "《一一》是杨德昌执导的剧情电影。",
    "与《Heat》一样属于剧情，您给了5星。",
    "主要喜欢剧情和爱情，不太喜欢动作。",
    "喜欢剧情，最爱《重庆森林》和《Heat》，不太喜欢动作、战争。",
    "王家卫的《重庆森林》是您的心头好，《一一》与它相近。",
    "不仅喜欢剧情，也喜欢爱情。",
    "杨德昌的作品适合您的口味。",
    "不妨试试《一一》，它与《重庆森林》相近。",
    "偏爱剧情，避开战争。",
)
FALSE_CHINESE = {
    "与您喜欢的《花样年华》相近。": "in no fact",
    "与您喜欢的《小》相近。": "in no fact",
    "与您喜欢的《这样》相近。": "quotes",
    "《一一》您给了5星。": "has not been experienced",
    "您看过《一一》，它是剧情电影。": "has not been experienced",
    "您喜欢的《一一》是剧情电影。": "has not been experienced",
    "与您给了5星的《重庆森林》相近。": "5 stars",
    "与您给了2星的《英雄》相近，您最爱《英雄》。": "'英雄' was not liked",
    "《一一》是王家卫执导的剧情电影。": "not by '王家卫'",
    "王家卫的《一一》是剧情电影。": "not by '王家卫'",
    "您喜欢恐怖，所以适合您。": "'恐怖' is liked",
    "适合您的恐怖口味。": "'恐怖' is liked",
    "主要喜欢剧情和动作。": "'动作' is liked",
    "不太喜欢剧情。": "'剧情' is disliked",
    "对剧情没有兴趣。": "'剧情' is disliked",
    "避开战争，但喜欢动作。": "'动作' is liked",
    "不讨厌动作。": "'动作' is liked",
    "这是一部感人的剧情电影。": "in no fact",
    "您总是喜欢剧情。": "in no fact",
    "适合您和女儿的剧情电影。": "in no fact",
    "Science fiction by another one, close to Heat.": "not in Chinese",
    "与《重庆森林》相近，见<b>此处</b>。": "markup",
    "与《重庆森林》相近": "end like a sentence",
    "与《重庆森林》相近，属于。": "end like a sentence",
    "推荐：《一一》，剧情。": "repeats the question",
    "与《重庆森林相近。": "left open",
    "与小明喜欢的《重庆森林》相近。": "in no fact",
    "1999年的剧情，与《重庆森林》相近。": "1999",
}


@pytest.mark.parametrize("text", TRUE_REASONS)
def test_a_true_reason_passes(text):
    assert check(text, REASON, Rules(220)) == []


@pytest.mark.parametrize(("text", "problem"), FALSE_REASONS.items())
def test_a_false_reason_fails_for_what_is_wrong(text, problem):
    assert any(problem in found for found in check(text, REASON, Rules(220))), check(text, REASON, Rules(220))


@pytest.mark.parametrize("text", TRUE_PERSONAS)
def test_a_true_persona_passes(text):
    assert check(text, PERSONA, Rules()) == []


@pytest.mark.parametrize(("text", "problem"), FALSE_PERSONAS.items())
def test_a_false_persona_fails_for_what_is_wrong(text, problem):
    assert any(problem in found for found in check(text, PERSONA, Rules())), check(text, PERSONA, Rules())


def test_a_part_of_a_liked_term_is_not_said_to_be_disliked():
    facts = Facts(terms=frozenset({"All Electronics"}), aversions=frozenset({"Toys"}))
    assert check("A fan of All Electronics. Tends to avoid electronics.", facts, Rules())
    assert check("A fan of All Electronics. Tends to avoid toys.", facts, Rules()) == []


@pytest.mark.parametrize("text", TRUE_CHINESE)
def test_a_true_chinese_sentence_passes(text):
    assert check(text, CHINESE, Rules(220, "zh")) == []


@pytest.mark.parametrize(("text", "problem"), FALSE_CHINESE.items())
def test_a_false_chinese_sentence_fails_for_what_is_wrong(text, problem):
    found = check(text, CHINESE, Rules(220, "zh"))
    assert any(problem in one for one in found), found


def test_the_table_is_a_table():
    assert len(TRUE_REASONS) + len(FALSE_REASONS) + len(TRUE_PERSONAS) + len(FALSE_PERSONAS) >= 60
    assert len(TRUE_CHINESE) + len(FALSE_CHINESE) >= 25


def test_a_rating_is_never_taken_for_what_it_is_out_of():
    seen = Facts(known={"Heat": stars(3.0)}, liked=frozenset({"Heat"}), terms=frozenset({"drama"}))
    assert check("Drama, close to Heat, which you gave 3 out of 5 stars.", seen, Rules()) == []
    assert check("Drama, close to Heat, which you gave 5 stars.", seen, Rules()) == ["5 stars are in no fact"]


def test_what_was_not_rated_cannot_be_called_rated():
    seen = Facts(known={"Heat": year(1995)}, liked=frozenset({"Heat"}), terms=frozenset({"drama"}))
    assert check("Drama, close to Heat, which you liked.", seen, Rules()) == []
    assert check("Drama, close to Heat, which you rated highly.", seen, Rules()) == ["'Heat' was not rated"]


@pytest.mark.parametrize(
    "title", ["9", "300", "3", "8½", "Up", "It", "Her", "M*A*S*H", "[REC]", "WALL·E", "$9.99", "What?"]
)
def test_awkward_titles_can_be_named(title):
    seen = Facts(
        known={title: stars(4.5), "Heat": stars(5.0)}, liked=frozenset({title, "Heat"}), terms=frozenset({"drama"})
    )
    assert nameable(title)
    assert check(f"Drama, close to {title}, which you gave 4.5 stars.", seen, Rules()) == []
    assert check(f"{title} and Heat are favourites.", seen, Rules()) == []
    assert check(f"Drama, close to {title}, which you gave 5 stars.", seen, Rules()) != []
    assert check(f"Drama, close to {title}, which you gave 1 star.", seen, Rules()) != []


def test_a_title_in_another_normal_form_is_the_same_title():
    import unicodedata

    composed = "Amélie"
    apart = unicodedata.normalize("NFD", composed)
    for named, said in ((composed, apart), (apart, composed)):
        seen = Facts(known={named: stars(5.0)}, liked=frozenset({named}))
        assert check(f"{said} is a favourite.", seen, Rules()) == []


def test_a_mark_can_not_be_forged():
    found = check("It is \ue100 and \ue0005\ue001 and \uf8ff.", REASON, Rules())
    assert any("invisible" in one for one in found)


def test_masking_replaces_in_one_pass_and_longest_first():
    marked = mask("Alien Resurrection and Alien", ["Alien Resurrection", "Alien"], ["Alien Resurrection", "Alien"])
    assert marked == "\ue100 and \ue101"


def test_a_title_may_lose_its_last_sign():
    seen = Facts(known={"Shall We Dance?": stars(5.0)}, liked=frozenset({"Shall We Dance?"}))
    assert check("Shall We Dance is a favourite.", seen, Rules()) == []
    assert check("Shall We Dance? is a favourite.", seen, Rules()) == []


def test_a_title_takes_no_plural():
    assert mask("Aliens", ["Alien"], ["Alien"]) == "Aliens"
    assert mask("comedies", ["comedy"]) == "\ue100"


@pytest.mark.parametrize(
    "name",
    ["", " ", "<b>x</b>", "a\nb", "x\x1b[0m", "a\u200bb", "https://example.org", "see example.com", "![a](b)",
     "x" * 101, "…",
     "{{7*7}}", "{% raw %}", "a|b", "\u0301x", "\ue100", "&lt;x"],
)  # fmt: skip
def test_names_that_could_act_are_not_named(name):
    assert not nameable(name)


@pytest.mark.parametrize("name", ["Heat", "M*A*S*H", "重庆森林", "Toys & Games", "8½", "Dr. No", "¡Three Amigos!"])
def test_ordinary_names_are_named(name):
    assert nameable(name)


def test_the_harmless_words_hold_no_claims():
    claims = """always every all never often usually rarely best worst award classic masterpiece daughter son wife
    mother beautiful funny dark moving gripping recently yesterday years many several few most""".split()  # noqa: SIM905
    assert not set(claims) & harmless("en")
    assert not {"总是", "经常", "最好", "经典", "感人", "精彩", "女儿", "最近", "所有"} & harmless("zh")


def test_words_for_what_is_done_belong_to_their_catalogue():
    films, books = lexicon("en")[1]["film"], lexicon("en")[1]["book"]
    assert "watched" in films
    assert "watched" not in books
    assert not films & harmless("en")
    assert not books & harmless("en")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('"A fan of drama."', "A fan of drama."),
        ("Persona: Likes\n drama. ", "Likes drama."),
        ("理由：喜欢剧情。", "喜欢剧情。"),
        ("“Up” is “Up”", "Up” is “Up"),
        ("plain", "plain"),
        ("A IMAX film, as is A Is for Alibi.", "An IMAX film, as is A Is for Alibi."),
        ("A eye for a animation, an drama and a IMAX film", "An eye for an animation, a drama and an IMAX film"),
        ("a European, a one-off, an hour with a union, an mp3", "a European, a one-off, an hour with a union, an mp3"),
    ],
)
def test_a_models_wrapping_is_taken_off(raw, text):
    assert plain(raw) == text


def test_a_long_text_is_refused_unread():
    assert check("drama " * 2_000_000, REASON, Rules(220)) == ["longer than 220 characters"]
    assert len(plain("drama " * 2_000_000)) <= 2 * LONGEST
