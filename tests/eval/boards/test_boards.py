"""The boards on invented data: exact figures of a small slice, and labels planted where a system could reach them."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ask import Ask
from agent.chat.titles import Titles
from agent.errors import SetupError
from agent.llm.scripted import NoModel, Scripted
from agent.types import Item
from eval.board import Part
from eval.boards import (
    BOARDS,
    board,
    chat,
    conversation,
    explanation,
    formats,
    importers,
    interests,
    persona,
    preference,
    robustness,
    sentiment,
)
from eval.cli import TASKS
from eval.data import found
from eval.runner import Run, run
from tests.eval.test_board_a import walks, write


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("RAPPORT_EMBEDDER", "hashing")


def lines(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def answers(part: Part, name: str, cases=None) -> list:
    (system,) = [one for one in part.systems if one.name == name]
    assert system.many
    return list(system.many([case.shown for case in cases or part.cases]))


def test_every_board_can_be_run_by_name_and_says_what_it_asks():
    for name in BOARDS:
        found = board(name)
        assert found.name == name
        assert found.title
        assert found.protocol
        assert TASKS[name].about == BOARDS[name][1]


@pytest.mark.parametrize("name", [name for name in BOARDS if name != "robustness"])
def test_data_that_are_absent_are_named(name, tmp_path):
    with pytest.raises(SetupError, match="is not there"):
        found(tmp_path, board(name).files)


# B


def tallrec(folder: Path, answers: list[str], films: int = 12) -> None:
    chance = random.Random(0)
    rows = []
    for answer in answers:
        titles = [f'"Film {at} (199{at % 10})"' for at in chance.sample(range(films), 6)]
        liked = chance.randrange(1, 5)
        text = f"User Preference: {', '.join(titles[:liked])}\nUser Unpreference: {', '.join(titles[liked:5])}\n"
        rows.append({"instruction": "", "input": f"{text}Whether the user will like the target movie {titles[5]}?"})
        rows[-1]["output"] = answer
    for name in ("valid", "test"):
        (folder / preference.FOLDER).mkdir(parents=True, exist_ok=True)
        kept = rows if name == "test" else [{**row, "output": ("Yes.", "No.")[at % 2]} for at, row in enumerate(rows)]
        (folder / preference.FOLDER / f"{name}.json").write_text(json.dumps(kept))
    movies = folder / preference.FILMS
    movies.mkdir(exist_ok=True)
    rated = [f"{user},{film},{chance.choice((2, 3, 4, 5))},{film}" for user in range(9) for film in range(films)]
    (movies / "movies.csv").write_text(
        "movieId,title,genres\n" + "".join(f"{at},Film {at} (199{at % 10}),Drama\n" for at in range(films))
    )
    (movies / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "\n".join(rated) + "\n")


def test_a_row_of_board_b_is_read_with_its_answer_apart(tmp_path):
    text = 'User Preference: "A, B (1990)", "C (1991)"\nUser Unpreference: \n'
    text += "Whether the user will like the target movie \"D 'x' (1992)\"?"
    assert preference.parsed(text) == preference.Row(("A, B (1990)", "C (1991)"), (), "D 'x' (1992)")


def test_board_b_says_the_same_whatever_the_answers_are(tmp_path):
    said = []
    for name, told in (("a", ["Yes.", "No."] * 10), ("b", ["No."] * 7 + ["Yes."] * 13)):
        tallrec(tmp_path / name, told)
        (part,) = preference.load(tmp_path / name)
        said.append([answers(part, system.name) for system in part.systems if system.many])
    assert np.array_equal(said[0], said[1])


def test_board_b_asks_a_model_the_products_question(tmp_path):
    tallrec(tmp_path, ["Yes.", "No."] * 5)
    (part,) = preference.load(tmp_path)
    case = part.cases[0]
    model = Scripted(lambda chat: "", lambda chat, words: [2.0, 0.0])
    said = {one.name: one.one(case.shown, Ask(model)) for one in part.systems if one.one}
    assert [round(one.answer, 6) for one in said.values()][:2] == [2.0, 2.0]
    (known,) = answers(part, preference.ALL, [case])
    odds = float(np.log(known / (1 - known)))
    assert said[preference.POOLED].answer == pytest.approx((2.0 + odds) / 2)
    alone, told, _ = (call.chat[-1].content for call in model.calls)
    assert alone == (
        f"Liked: {'; '.join(case.shown.liked)}\nDid not like: {'; '.join(case.shown.disliked)}\n"
        f"Liked {len(case.shown.liked)} of 5\nNew: {case.shown.film}\nWill they like it?"
    )
    others = preference.Others(tmp_path / preference.FILMS)
    share = others.share(others.place(case.shown.film))
    assert f"Of other people, {round(100 * share.liked / share.said)} % like it" in told


@pytest.mark.parametrize(
    ("written", "meant"), [("Film 3 (1993)", 3), ("Film, 3 (1994)", 3), ("Nothing of the kind (1993)", None)]
)
def test_titles_are_found_as_they_are_written(tmp_path, written, meant):
    tallrec(tmp_path, ["Yes.", "No."])
    others = preference.Others(tmp_path / preference.FILMS)
    place = others.place(written)
    assert place == (None if meant is None else others.films[str(meant)])


def test_the_area_inside_equal_shares_by_hand():
    rows = np.array([[0.9, 1, 0.5], [0.1, 0, 0.5], [0.3, 1, 0.2], [0.3, 0, 0.2], [0.7, 1, 0.8]])
    # One pair in order, one tied; the last row has nobody to be compared with.
    assert preference.inside_equal_shares(rows) == 75.0
    assert preference.inside_equal_shares(rows[:1]) == 50.0


# D


NAMES = tuple(f"Film {at} (2000)" for at in range(30))


def redial(folder: Path, planted: int = 0) -> None:
    """20 dialogues of films that go together by tens; `planted`: what the first one recommends in the end."""
    film = {"genre": ["Drama"], "director": [], "writer": [], "star": ["Somebody"]}
    folder = folder / conversation.FOLDER
    folder.mkdir(parents=True)
    info = {
        str(at): {"name": name, "plot": f"About {'war' if at % 2 else 'love'}", **film} for at, name in enumerate(NAMES)
    }
    (folder / "id2info.json").write_text(json.dumps(info))
    dialogues, turns = [], []
    chance = random.Random(1)
    for number in range(20):
        named = chance.sample(range(number % 3 * 10, number % 3 * 10 + 10), 3)
        if number == 0:
            named[-1] = planted or named[-1]
        said = [
            {"text": f"I want war @{named[0]}", "senderWorkerId": 1},
            {"text": f"see @{named[2]}", "senderWorkerId": 2},
        ]
        dialogues.append(
            {"conversationId": number, "movieMentions": {str(at): NAMES[at] for at in named}, "messages": said}
        )
        context = [f"I want war {NAMES[named[0]]}", f"and {NAMES[named[1]]}"]
        entity = [NAMES[at] for at in named[:2]]
        turns.append(
            {"dialog_id": str(number), "context": context, "entity": entity, "rec": [NAMES[named[2]]], "resp": ""}
        )
    lines(folder / "valid_data.jsonl", dialogues)
    lines(folder / "valid_data_processed.jsonl", turns)


def test_board_d_says_the_same_whatever_is_recommended_in_the_end(tmp_path):
    said = []
    for name, planted in (("a", 0), ("b", 25)):
        redial(tmp_path / name, planted)
        (part,) = conversation.load(tmp_path / name)
        first = [case for case in part.cases if case.unit == "0"]
        assert len(first) == 1
        said.append([answers(part, one.name)[part.cases.index(first[0])] for one in part.systems])
    assert all(np.allclose(one, other) for one, other in zip(*said, strict=True))


def test_board_d_ranks_what_goes_together_first(tmp_path):
    redial(tmp_path)
    (found,) = run(conversation.BOARD, Run(tmp_path, tmp_path, draws=20))["parts"]
    ours, popular = (
        found["systems"][name]["metrics"]["R@10"][0]
        for name in (conversation.TOGETHER, "popularity in other dialogues")
    )
    assert ours > popular
    assert found["counts"]["turns"] == {"found": 20, "expected": 2716}


# D through the chat


def spoken(folder: Path, planted: int) -> None:
    """70 dialogues: "something like A", answered with B, where A and B go together; `planted`: what is recommended in
    the first one, and what its seeker says they liked."""
    film = {"genre": ["Drama"], "director": [], "writer": [], "star": []}
    folder = folder / chat.FOLDER
    folder.mkdir(parents=True)
    names = [f"{WORDS[at % 5]}ville {WORDS[at // 5]}berg (2000)" for at in range(20)]
    info = {str(at): {"name": name, "plot": "", **film} for at, name in enumerate(names)}
    (folder / chat.FILMS).write_text(json.dumps(info))
    dialogues, turns = [], []
    for number in range(70):
        # Seven pairs, so that each is in every one of the five folds.
        first, second = number % 7, planted if number == 0 else number % 7 + 10
        said = [
            (1, "hi there"),
            (2, "hello"),
            (1, f"something like @{first}"),
            (2, f"see @{second}"),
            (1, "thank you, bye"),
        ]
        dialogues.append(
            {
                "conversationId": number,
                "initiatorWorkerId": 1,
                "movieMentions": {str(at): names[at] for at in (first, second)},
                "initiatorQuestions": {str(at): {"liked": 1} for at in (first, second)},
                "messages": [{"senderWorkerId": who, "text": text} for who, text in said],
            }
        )
        turn = {"dialog_id": str(number), "turn_id": 3, "entity": [names[first]], "rec": [names[second]]}
        turns.append(turn)
    lines(folder / chat.DIALOGUES, dialogues)
    lines(folder / chat.TURNS, turns)


WORDS = ("Amber", "Birch", "Cedar", "Delta", "Ember")


def test_the_chat_is_asked_what_the_seeker_said_and_brings_what_goes_with_it(tmp_path):
    spoken(tmp_path, planted=10)
    with chat.opened(tmp_path) as made:
        (found,) = run(made, Run(tmp_path, tmp_path / "results", NoModel(), limit=3, draws=20))["parts"]
    ours = found["systems"][chat.OURS]
    assert ours["n"] == 3
    figures = {name: value[0] for name, value in ours["metrics"].items()}
    assert figures["turn R@10"] == figures["liked R@10"] == 1.0
    assert figures["cards by the third message"] == 1.0
    assert figures["films outside the catalogue"] == 0.0
    assert found["counts"]["films liked later"]["found"] == 70


def test_the_chat_says_the_same_whatever_is_recommended_in_the_end(tmp_path):
    said = []
    for name, planted in (("a", 10), ("b", 17)):
        spoken(tmp_path / name, planted)
        with chat.opened(tmp_path / name) as made:
            (part,) = made.load(tmp_path / name)
            systems = {one.name: one for one in part.systems}
            baselines = [answers(part, one.name, part.cases[:1]) for one in part.systems if one.many]
            one = systems[chat.OURS].one
            assert one is not None
            said.append((baselines, one(part.cases[0].shown, Ask(NoModel())).answer))
    assert said[0] == said[1]


def test_a_film_that_the_words_give_away_is_no_target():
    films = [Item("1", "Heat (1995)"), Item("2", "It (2017)"), Item("3", "The Big Sleep (1946)")]
    aliases = [chat.alias(one.title) for one in films]
    talk = chat.Talk(0, ("I liked the big sleep", "and HEAT!"), ((), ()))
    at_id = {one.id: at for at, one in enumerate(films)}
    assert chat.given_away(talk, aliases, Titles(films), at_id) == (frozenset({2}), frozenset({0, 2}))


# E


def lastfm(folder: Path, planted: int | None = None) -> None:
    """10 people, 6 artists, 6 tags that everybody uses; `planted`: person 0 gives all tags to one artist instead."""
    folder = folder / interests.FOLDER
    folder.mkdir(parents=True)
    chance = random.Random(2)
    plays = [(user, artist, chance.randrange(1, 99)) for user in range(10) for artist in range(6)]
    tagged = [(user, (user + tag) % 6, tag) for user in range(10) for tag in range(6)]
    if planted is not None:
        tagged = [(user, planted if user == 0 else artist, tag) for user, artist, tag in tagged]
        tagged += [(0, artist, planted) for artist in range(6)]

    def table(name: str, head: str, rows) -> None:
        (folder / f"{name}.dat").write_text(
            "\n".join(["\t".join(head.split()), *("\t".join(map(str, r)) for r in rows)]) + "\n"
        )

    table("artists", "id name url pictureURL", [(at, f"Artist {at}", "", "") for at in range(6)])
    table("tags", "tagID tagValue", [(at, f"style {at}") for at in range(6)])
    table("user_artists", "userID artistID weight", plays)
    table("user_taggedartists", "userID artistID tagID day month year", [(*row, 1, 1, 2009) for row in tagged])


def test_board_e_says_the_same_whatever_tags_the_person_gave(tmp_path):
    said, gold = [], []
    for name, planted in (("a", None), ("b", 3)):
        lastfm(tmp_path / name, planted)
        (part,) = interests.load(tmp_path / name)
        said.append([answers(part, one.name, part.cases[:1]) for one in part.systems if "else" not in one.name])
        gold.append(part.labels.of["0"])
    assert said[0] == said[1]
    assert gold[0] != gold[1]


def test_tags_by_log_plays_by_hand():
    artists = (interests.Artist("1", "A", 9, {"1": 3, "2": 1}), interests.Artist("2", "B", 0, {"3": 5}))
    listener = interests.Listener(artists, {"1": 1, "2": 5}, interests.Population())
    assert interests.aggregated(listener) == pytest.approx({"1": np.log(10) * 0.75, "2": np.log(10) * 0.25, "3": 0.0})
    assert interests.best(interests.popular(listener)) == ["2", "1"]


# F


def amazon(folder: Path, held_text: str = "fine", held_stars: float = 5.0) -> None:
    def review(user: int, at: int, text: str, stars: float) -> dict:
        product = {"title": f"Thing {user} {'red' if user % 2 else 'blue'} model {at}", "brand": None, "price": None}
        product["main_category"] = "Toys"
        told = {"review_title": "T", "review_full": text, "rating": stars, "timestamp_ms": 10**12 + at * 10**9}
        return {"parent_asin": f"P{user}-{at}", **told, "product": product}

    rows = [
        {
            "user_id": f"u{user}",
            "category": "Toys",
            "history": [review(user, at, f"I like model {at} a lot.", 5.0) for at in range(4)],
            "heldout": review(user, 4, held_text, held_stars),
        }
        for user in range(22)
    ]
    lines(folder / persona.FOLDER / persona.FILE, rows)


def test_board_f_shows_the_same_whatever_the_held_out_review_says(tmp_path):
    amazon(tmp_path / "a")
    amazon(tmp_path / "b", "PLANTED", 1.0)
    (one,), (other,) = persona.load(tmp_path / "a"), persona.load(tmp_path / "b")
    assert [case.shown for case in one.cases] == [case.shown for case in other.cases]
    assert one.labels != other.labels
    shown = one.cases[3].shown
    right, _ = one.labels.of["3"]
    assert shown.titles[right] == "Thing 3 red model 4"
    assert "model 4" not in " ".join((*shown.own.titles, shown.own.profile))
    assert shown.own.receipts


def test_swaps_are_of_the_same_category_and_nobody_s_own():
    swapped = persona.swaps({"a": [0, 1, 2], "b": [3, 4]})
    assert sorted(swapped.values()) == [0, 1, 2, 3, 4]
    assert all(one != other and (one < 3) == (other < 3) for one, other in swapped.items())


# G


def test_a_review_is_read_from_its_text_alone():
    model = Scripted(lambda chat: "", lambda chat, choices: [2.0 * ("good" in chat[-1].content), 0, 0])
    review = sentiment.Review("This was really good.", "u")
    assert sentiment.zero_shot("en", 2, review, Ask(model)).answer == 1
    assert sentiment.zero_shot("en", 3, review, Ask(model)).answer == 2
    assert sentiment.zero_shot("en", 3, replace(review, text="This was a thing."), Ask(model)).answer == 1
    assert sentiment.zero_shot("en", 2, review, Ask(NoModel())).invalid


@pytest.mark.parametrize("group", ["", "u"])
def test_the_anchor_learns_and_reads_out_of_fold(group):
    reviews = [
        sentiment.Review("good soup" if at % 2 else "bad soup", group and f"{group}{at // 2}") for at in range(40)
    ]
    right = [at % 2 for at in range(40)]
    assert sentiment.anchored(reviews, right, "en") == right


# C


words = st.lists(st.sampled_from("abc"), max_size=8)


@settings(max_examples=60, deadline=None)
@given(words, words)
def test_the_longest_common_subsequence(one, other):
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    for at, x in enumerate(one):
        for to, y in enumerate(other):
            table[at + 1, to + 1] = table[at, to] + 1 if x == y else max(table[at, to + 1], table[at + 1, to])
    assert explanation.longest_common(one, other) == table[-1, -1]


def test_board_c_never_reads_a_reference(tmp_path):
    said = []
    for name, secret in (("a", "because of the soup"), ("b", "PLANTED")):
        row = {"uid": 1, "iid": 2, "title": "Hall", "user_summary": "The user likes soup and rooms."}
        row |= {"item_summary": "Fans of quiet rooms and hot soup would enjoy this place.", "explanation": secret}
        lines(tmp_path / name, [row] * 3)
        part = explanation.xrec("Google", tmp_path / name)
        said.append([answers(part, one.name) for one in part.systems])
    assert said[0] == said[1]
    assert said[0][-1][0] == "The user would enjoy Hall for quiet rooms, hot soup this place."


FACTS = explanation.Facts(
    {"1": 5.0, "2": 2.0}, {"1": "Heat", "2": "Jaws", "3": "Ran"}, {"1": frozenset({"crime"}), "3": frozenset({"war"})},
    {"3": 1985}, {"1": frozenset("abcde"), "3": frozenset("bcdefg")},
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("War from the 1980s, close to Heat, which you gave 5 stars.", [True, True, True]),
        ("Close to Heat, which you gave 4 stars.", [False]),
        ("Close to Alien, which you gave 4 stars.", [False]),
        ("4 people have this and Heat, which you gave 5 stars, in their history.", [True, True]),
        ("You tend not to like war, but 9 people have this and Heat, in their history.", [True, False, True]),
        ("9 people have this and Heat, which you gave 5 stars, in their history.", [True, False]),
        ("Crime, close to Jaws.", [True, False]),
        ("War from the 1990s.", [True, False]),
        ("Nothing in your history speaks for it.", []),
    ],
)
def test_claims_are_looked_up(text, holds):
    assert explanation.claims(explanation.Reason("3", text, "model", ()), FACTS) == holds


def test_reasons_of_the_product_are_counted_on_invented_films(tmp_path):
    write(tmp_path / explanation.FILMS, walks())
    found = run(
        replace(explanation.BOARD, files=(), load=lambda data: [explanation.films(data)]),
        Run(tmp_path, tmp_path, draws=20),
    )
    row = found["parts"][0]["systems"][explanation.REASONS]["metrics"]
    assert row["claims grounded"][0] == 1.0
    assert row["reasons with receipts"][0] == 1.0
    assert row["reasons"][0] == explanation.EACH


# H, robustness, importers


def test_formats_on_a_scripted_model_with_exact_figures(tmp_path):
    """A model that always takes the first letter gives the order back; one that writes no order changes nothing."""
    write(tmp_path / formats.FOLDER, walks())
    model = Scripted(lambda chat: '{"order": []}')
    (part,) = run(formats.BOARD, Run(tmp_path, tmp_path, model, limit=5, draws=20))["parts"]
    rows = part["systems"]
    name = "NDCG@10[blend top 20]"
    assert rows["the blend's order"]["metrics"][name][0] > rows["shuffled, seed 0"]["metrics"][name][0]
    for one in ("letters, 2 orders", "an order written under a grammar"):
        assert rows[one]["n"] == 5
        assert rows[one]["minus"]["the blend's order"][name] == [0.0, 0.0, 0.0]
    assert rows["an order written under a grammar"]["invalid"] == {"repaired": 5}
    assert rows["letters, 2 orders"]["invalid"] == {}


def test_an_obedient_model_moves_the_attacker_no_further_than_the_bound(tmp_path):
    def obeys(chat, choices):
        """Takes the line that holds an order."""
        at = [line[:1] for line in chat[-1].content.splitlines() if any(a[:20] in line for a in robustness.ATTACKS)]
        return [9.0 * (choice in at) for choice in choices]

    (part,) = run(robustness.BOARD, Run(tmp_path, tmp_path, Scripted(lambda chat: "", obeys), draws=20))["parts"]
    row = part["systems"][robustness.RERANKED]
    assert row["metrics"]["whole lists"][0] == 1.0
    assert 0 < row["metrics"]["places won by the attack"][0] <= 10
    plain = part["systems"]["retrieval order"]["metrics"]
    assert plain["places won by the attack"][0] == plain["more often in the top 3"][0] == 0


def test_an_import_is_counted_in_the_store(tmp_path):
    write(tmp_path / "movielens-latest-small", walks())
    rows = importers.import_one(tmp_path / "movielens-latest-small")
    assert rows == importers.Rows(
        len({film for films in walks().values() for film in films}), sum(map(len, walks().values()))
    )
