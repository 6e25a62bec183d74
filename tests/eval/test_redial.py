"""The measurement on dialogues: what is counted, and that no label reaches what is measured."""

from __future__ import annotations

import json

import pytest

from agent.chat.titles import Titles
from agent.errors import SetupError
from eval.redial import (
    DIALOGUES,
    FILMS,
    WRITTEN,
    Dialogue,
    Said,
    Verdicts,
    found_titles,
    in_the_end,
    markdown,
    read,
    read_by_rules,
    read_films,
    rewritten,
    run_on_data,
    scored,
    slip,
)

CATALOGUE = {
    str(n): {"name": name, "genre": ["Drama"], "plot": ""}
    for n, name in enumerate(["Heat (1995)", "Alien (1979)", "Paddington (2014)"])
}
ROW = {
    "conversationId": "7",
    "initiatorWorkerId": 1,
    "movieMentions": {"10": "Heat  (1995)", "11": "Alien (1979)", "12": None},
    "initiatorQuestions": {"10": {"liked": 1}, "11": {"liked": 0}, "12": {"liked": 2}},
    "messages": [
        {"senderWorkerId": 1, "text": "I loved @10"},
        {"senderWorkerId": 2, "text": "Have you seen @11 ?"},
        {"senderWorkerId": 1, "text": "It was boring"},
    ],
}


@pytest.fixture
def data(tmp_path):
    (tmp_path / FILMS).write_text(json.dumps(CATALOGUE), encoding="utf-8")
    (tmp_path / DIALOGUES).write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    return tmp_path


def test_a_dialogue_is_read_with_its_titles_and_its_labels_apart(data):
    ((dialogue, verdicts),) = read(data / DIALOGUES)
    assert [one.text for one in dialogue.messages] == [
        "I loved Heat (1995)",
        "Have you seen Alien (1979) ?",
        "It was boring",
    ]
    assert dialogue.messages[0].places == ((8, 19, "Heat (1995)"),)
    assert verdicts.of == {"Heat (1995)": 1, "Alien (1979)": 0}
    assert "liked" not in repr(dialogue)


def test_the_whole_measurement(data):
    result = run_on_data(data, "none", 10)
    rules = result["opinions"][1]
    assert (rules["liked_precision"], rules["liked_recall"], rules["disliked_precision"], rules["disliked_recall"]) == (
        1,
        1,
        1,
        1,
    )
    assert result["opinions"][0]["disliked_recall"] == 0
    assert [one["recall"] for one in result["titles"][:2]] == [1, 1]
    assert "| rules: what is said | 1.000 |" in markdown(result)


def test_what_is_measured_does_not_depend_on_the_labels(data):
    ((dialogue, _),) = read(data / DIALOGUES)
    titles = Titles(read_films(data / FILMS))
    answers = {dialogue.id: read_by_rules(dialogue, titles)}
    turned = Verdicts({"Heat (1995)": 0, "Alien (1979)": 1})
    wrong = scored("x", answers, [(dialogue, turned)])
    assert (wrong["liked_precision"], wrong["disliked_precision"]) == (0, 0)


def test_the_data_must_be_there(tmp_path):
    for folder in (None, tmp_path):
        with pytest.raises(SetupError, match="--data"):
            run_on_data(folder, "none", 1)


@pytest.mark.parametrize(
    ("stances", "end"),
    [
        (["liked", "disliked"], "disliked"),
        (["liked", "open"], "liked"),
        (["wanted", "unseen"], "wanted"),
        (["open", "seen"], "seen"),
    ],
)
def test_the_last_word_counts(stances, end):
    assert in_the_end(stances) == end


@pytest.mark.parametrize("way", WRITTEN)
def test_titles_are_rewritten_where_they_stand(way):
    said = Said(True, "I loved Paddington (2014) a lot", ((8, 25, "Paddington (2014)"),))
    new = rewritten(said, way)
    ((start, end, film),) = new.places
    assert film == "Paddington (2014)"
    assert new.text == f"I loved {new.text[start:end]} a lot"
    titles = Titles(read_films_of(CATALOGUE))
    assert found_titles([Dialogue("1", (said,))], titles, way)["recall"] == 1


def read_films_of(catalogue):
    from agent.types import Item

    return [Item(id, one["name"]) for id, one in catalogue.items()]


def test_a_slip_is_one_and_always_the_same():
    assert slip("Paddington") != "Paddington"
    assert slip("Paddington") == slip("Paddington")
    assert abs(len(slip("Paddington")) - len("Paddington")) <= 1
    assert slip("Heat") == "Heat"
