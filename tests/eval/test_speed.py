"""The arithmetic of the speed table; what is timed is timed by `rapport eval run speed`."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from agent.llm.base import Message
from agent.llm.scheduler import Usage
from agent.llm.scripted import Scripted
from agent.settings import Settings
from eval.recording import Asked, Recording
from eval.speed import Rates, Row, copied, difference, floor_s, markdown, percentile, ratio, total


def test_the_floor_is_the_time_of_the_tokens_at_the_best_rates():
    used = Usage(prompt_tokens=1000, computed_tokens=300, sampled_tokens=50, forced_tokens=9, decode_s=4.0)
    assert floor_s(used, Rates(prompt=100.0, decode=25.0)) == pytest.approx(3.0 + 2.0)


def test_usage_is_counted_from_one_moment_to_another_and_added_up():
    before, now = Usage(1, 2, 3, 4, 0.5), Usage(11, 12, 13, 14, 2.5)
    assert difference(now, before) == Usage(10, 10, 10, 10, 2.0)
    assert total(difference(now, before), before) == now


def test_a_ratio_is_the_median_of_those_of_the_slices():
    assert ratio([2.0, 9.0, 4.0], [1.0, 1.0, 1.0]) == 4.0


@pytest.mark.parametrize(("share", "value"), [(50, 2.0), (95, 4.0), (1, 1.0), (100, 4.0)])
def test_a_percentile_is_one_of_the_values(share, value):
    assert percentile([3.0, 1.0, 2.0, 4.0], share) == value


def test_a_bar_is_met_from_the_right_side():
    assert Row("", "", 5.0, 5.0, "x", "").met
    assert not Row("", "", 4.9, 5.0, "x", "").met
    assert Row("", "", 39.0, 40.0, "%", "", at_most=True).met
    assert not Row("", "", 41.0, 40.0, "%", "", at_most=True).met


def test_the_table_says_which_bars_are_met():
    row = {"what": "w", "against": "a", "figure": 3.25, "bar": 5.0, "unit": "x", "met": False, "detail": "d"}
    assert markdown({"rows": [row]}).splitlines()[-1] == "| w | a | 3.25 x | 5 x | no | d |"


def test_a_recording_keeps_every_question_also_those_from_the_background():
    recording = Recording(Scripted(lambda chat: "yes"))
    chat = (Message("user", "hello"),)
    recording.in_background().generate([chat], max_tokens=7, temperature=0.5, seed=3)
    recording.choose([chat], ["a", "b"])
    assert recording.asked == [Asked(chat, 7, 0.5, 3), Asked(chat, choices=("a", "b"))]


def test_a_home_is_copied_without_profiles_and_stays_as_it_is(tmp_path):
    settings = Settings(home=tmp_path)
    with closing(sqlite3.connect(settings.database_file)) as database:
        database.execute("CREATE TABLE profiles (user TEXT)")
        database.execute("INSERT INTO profiles VALUES ('ann')")
        database.commit()
    with copied(settings) as copy:
        assert copy.home != settings.home
        assert _profiles(copy) == 0
    assert _profiles(settings) == 1
    assert not copy.home.exists()


def _profiles(settings: Settings) -> int:
    with closing(sqlite3.connect(settings.database_file)) as database:
        return database.execute("SELECT count(*) FROM profiles").fetchone()[0]
