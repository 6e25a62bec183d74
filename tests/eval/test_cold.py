from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from eval import cold
from eval.cold import LENGTHS, Answered, markdown, run, scored, shortened, warm
from eval.movielens import FOLDER, Rating
from tests.eval.test_board_a import PEOPLE, walks, write

SEEN = tuple(Rating("ann", movie, 5.0, datetime(2026, 1, day, tzinfo=UTC)) for day, movie in enumerate("abcde", 1))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("RAPPORT_EMBEDDER", "hashing")


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Everything that systems were shown, and the result."""
    shown = list[cold.Newcomer]()

    def spied(rapport, one):
        shown.append(one)
        return answered(rapport, one)

    answered = cold.answered
    monkeypatch.setattr(cold, "answered", spied)
    write(tmp_path / FOLDER, walks())
    return run(tmp_path, 4), shown


def test_a_history_is_known_by_its_last_events_and_the_rest_is_away():
    one = shortened("ann", SEEN, 2)
    assert ["".join(each.movie for each in part) for part in (one.known, one.away)] == ["de", "abc"]
    assert one.had == set("abcde")
    assert shortened("ann", SEEN, 0).known == ()


def test_films_without_events_are_no_part_of_a_history():
    assert [one.movie for one in warm(SEEN, frozenset("bd"))] == ["a", "c", "e"]


def test_figures_are_of_the_label_and_differences_of_the_first_system():
    found = [Answered({"one": ("x", "y"), "two": ("y",)}, 1.0), Answered({"one": ("x",), "two": ("x", "z")}, 0.5)]
    result = scored(found, ["y", "z"])
    assert result["people"] == 2
    assert result["systems"]["one"]["R@10"] == 0.5
    assert result["systems"]["two"]["R@10"] == 1.0
    assert result["systems"]["two"]["minus one"][0] == pytest.approx(0.5, abs=1e-3)
    assert result["reasons with receipts"] == 0.75


def test_every_length_is_asked_and_nobody_is_shown_what_was_held_out(asked):
    result, shown = asked
    json.dumps(result)
    held = {str(user): films for user, films in walks().items()}
    cold_films = {str(film) for film in range(1, 31, cold.EVERY)}
    for one in shown:
        kept = [str(film) for film in held[one.user] if str(film) not in cold_films]
        assert kept[-1] not in one.had
        assert one.had == set(kept[:-1])
    assert [one["events"] for one in result["by length"]] == list(LENGTHS)
    assert [one["people"] for one in result["by length"]] == [4, 4, 4, 4, 4, 0]
    assert result["data"] == {"set": FOLDER, "people": PEOPLE - 4, "films": 30, "cold films": 3}


def test_what_follows_what_carries_after_one_event_and_genres_are_named_before(asked):
    result, _ = asked
    none, *some = result["by length"]
    assert set(none["systems"]) >= {"popularity within the named genres", "Rapport, genres named"}
    assert none["reasons with receipts"] == 0.0
    assert all(one["reasons with receipts"] == 1.0 for one in some if one["people"])
    assert some[0]["systems"]["Rapport"]["NDCG@10"][0] > some[0]["systems"]["popularity"]["NDCG@10"][0]


def test_labels_move_no_answer(monkeypatch, tmp_path):
    """Another last film of those who are kept out: the same lists."""
    one, other = walks(), walks()
    for user in other:
        if user in list(other)[:: PEOPLE // 4][:4]:
            other[user][-1] = next(film for film in range(2, 30) if film not in one[user] and film % 10 != 1)
    lists = []
    answered = cold.answered
    for name, histories in (("a", one), ("b", other)):
        found = list[Answered]()
        monkeypatch.setattr(cold, "answered", lambda rapport, who, found=found: kept(found, answered(rapport, who)))
        write(tmp_path / name / FOLDER, histories)
        run(tmp_path / name, 4)
        lists.append(found)
    assert lists[0] == lists[1]
    assert len(lists[0]) == 4 * (len(LENGTHS) - 1)


def kept(found, one):
    found.append(one)
    return one


def test_the_tables_hold_every_system(asked):
    result, _ = asked
    told = markdown(result)
    for one in (*result["by length"], result["cold films"]):
        assert all(name in told for name in one["systems"])
