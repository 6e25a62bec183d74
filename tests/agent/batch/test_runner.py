"""A batch from end to end in one process: what is tagged, skipped, tried again, failed, and why it stops."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import pytest

from agent.batch import runner
from agent.batch.budget import Budget, Limits
from agent.batch.jobs import Queue
from agent.batch.runner import PROMPTS, Order, prompts, tag, work_of
from agent.errors import Deferred, Refused, StoreBusy, TimedOut, Unavailable, UsageError
from agent.history.jobs import ATTEMPTS
from agent.llm.base import Chat
from agent.llm.scripted import Scripted
from agent.types import Event, Item, TagEdit
from tests.agent.batch.conftest import PERSONA, crime_fan, names, rated

CURSES = {
    "Refusing Reel": Refused("the prompt is refused"),
    "Absent Reel": Unavailable("the connection broke"),
    "Slow Reel": TimedOut("too slow"),
    "Buggy Reel": ZeroDivisionError("a bug that cites private words"),
}


def cursed(chat: Chat) -> str:
    """Fails for whoever says that they love a cursed film, however often it is asked."""
    for title, error in CURSES.items():
        if title in chat[-1].content:
            raise error
    return PERSONA


def model(reply=lambda chat: PERSONA, name: str = "model") -> Scripted:
    return Scripted(reply, name=name)


def curse(rapport, user: str, title: str) -> None:
    rapport.store.add_edit(TagEdit(user, title, "", "add"))


def damage(rapport, user: str) -> None:
    """A kept profile that nobody can read."""
    with rapport.store.writing() as connection:
        row = (user, 1, 1, "{torn")
        connection.exec_driver_sql('INSERT INTO profiles ("user", version, seq, body) VALUES (?, ?, ?, ?)', row)


def versions(rapport, people: Sequence[str]) -> list[int]:
    return [len(rapport.store.profile_history(user)) for user in people]


def test_everybody_is_tagged_once_and_then_nobody(town):
    llm = model()
    rapport = town(30, llm)
    report = tag(rapport)
    assert (report.people, report.tagged, report.unchanged, report.remaining) == (30, 30, 0, 0)
    assert (report.failures, report.stopped, report.unknown) == ((), "", ())
    assert report.prompt_tokens > 1000
    assert report.completion_tokens > 0
    assert versions(rapport, names(30)) == [1] * 30
    assert {rapport.store.profile(user).persona_by for user in names(30)} == {"model"}
    assert len(llm.calls) == 30
    again = tag(rapport)
    assert (again.tagged, again.unchanged, again.prompt_tokens) == (0, 30, 0)
    assert len(llm.calls) == 30


def test_a_new_event_or_edit_makes_one_person_new_and_keeps_what_was_counted(town):
    llm = model()
    rapport = town(5, llm)
    tag(rapport)
    rapport.store.add_events([rated("u0001", "f20", 5.0, 90)])
    rapport.store.add_edit(TagEdit("u0003", "Jazz", "", "add"))
    report = tag(rapport)
    assert (report.tagged, report.unchanged) == (2, 3)
    assert versions(rapport, names(5)) == [1, 2, 1, 2, 1]
    assert rapport.store.profile("u0001").events == 8


def test_another_model_another_prompt_and_another_language_are_other_work(town, monkeypatch):
    assert tag(town(4, model())).tagged == 4
    assert tag(town(4, model(name="better"))).tagged == 4
    assert tag(town(4, model(name="better"))).unchanged == 4
    other = town(4, model(name="better"), language="zh")
    assert tag(other).tagged == 4
    assert versions(other, names(4)) == [3] * 4
    before = work_of(other)
    monkeypatch.setattr("agent.batch.runner.prompts", lambda: {"persona.en@2-00000000"})
    assert work_of(other) != before
    assert tag(other).tagged == 4


def test_a_profile_that_was_asked_for_one_by_one_is_taken_as_it_is_when_the_same_model_made_it(town):
    llm = model()
    rapport = town(3, llm)
    rapport.profile("u0000")
    with_other = town(3, model(name="other"))
    with_other.profile("u0001")
    asked = len(llm.calls)
    report = tag(rapport)
    assert (report.tagged, report.unchanged) == (2, 1)
    assert versions(rapport, names(3)) == [1, 2, 1]
    assert len(llm.calls) == asked + 2


def test_without_a_model_templates_answer_and_a_model_makes_them_anew(town):
    report = tag(town(3))
    assert (report.tagged, report.failures) == (3, ())
    rapport = town(3, model())
    assert tag(rapport).tagged == 3
    assert rapport.store.profile("u0001").persona_by == "model"


def test_the_first_person_has_a_head_start_which_the_others_do_not_wait_out(town, monkeypatch):
    begun, others = [], threading.Event()

    def slow_for_the_first(chat: Chat) -> str:
        begun.append(chat)
        if len(begun) == 1:
            assert others.wait(30), "whoever is slow first holds up everybody"
        else:
            others.set()
        return PERSONA

    monkeypatch.setattr(runner, "HEAD_START_S", 0.05)
    assert tag(town(6, model(slow_for_the_first))).tagged == 6

    monkeypatch.setattr(runner, "HEAD_START_S", 1000)
    together: list[int] = []
    known = set(threading.enumerate())

    def alone_at_first(chat: Chat) -> str:
        together.append(len(set(threading.enumerate()) - known))
        return PERSONA

    assert tag(town(6, model(alone_at_first, name="another"))).tagged == 6
    assert together[0] == 1


def test_who_is_meant(town):
    rapport = town(6, model())
    report = tag(rapport, Order(users=["u0004", "u0002", "u0002", "stranger"]))
    assert (report.people, report.tagged, report.unknown) == (2, 2, ("stranger",))
    assert tag(rapport, Order(limit=3)).tagged == 2
    assert tag(rapport, Order(users=["u0005", "u0004"], limit=1)).unchanged == 1
    assert tag(rapport, Order(users=[])).people == 0
    assert not rapport.store.has_user("stranger")
    with pytest.raises(UsageError, match="workers is 0"):
        tag(rapport, Order(workers=0))


def test_poison_fails_with_its_reason_after_three_attempts_and_costs_nobody_else_anything(town):
    assert_poison_fails_alone(town, people=40, of_each=2)


@pytest.mark.long
def test_a_thousand_people_with_fifty_poisoned_ones(town):
    assert_poison_fails_alone(town, people=1000, of_each=10)


def assert_poison_fails_alone(town, people: int, of_each: int) -> None:
    llm = model(cursed)
    rapport = town(people, llm)
    poisoned: dict[str, str] = {}
    for number, title in enumerate([*CURSES, "damaged"]):
        for user in names(people)[number::7][:of_each]:
            poisoned[user] = title
            curse(rapport, user, title) if title in CURSES else damage(rapport, user)
    report = tag(rapport, Order(delays_s=(0.0,)))
    well = [user for user in names(people) if user not in poisoned]
    assert (report.tagged, report.remaining, report.stopped) == (people - len(poisoned), 0, "")
    assert versions(rapport, well) == [1] * len(well)
    reasons = {title: type(error).__name__ for title, error in CURSES.items()} | {"damaged": "StoreError"}
    assert {one.user: one.reason for one in report.failures} == {u: reasons[why] for u, why in poisoned.items()}
    assert {one.attempts for one in report.failures} == {ATTEMPTS}
    asked = Counter(title for call in llm.calls for title in CURSES if title in call.chat[-1].content)
    assert asked == dict.fromkeys(CURSES, ATTEMPTS * of_each)
    bug = next(one for one in report.failures if one.reason == "ZeroDivisionError")
    assert "private" not in bug.message
    assert "test_runner.py" in bug.message or "scripted.py" in bug.message
    # They stay failed until somebody asks, and then each has three attempts again.
    assert set(tag(rapport).failures) == set(report.failures)
    assert len(tag(rapport, Order(retry_failed=True, delays_s=(0.0,))).failures) == len(poisoned)


def test_an_odd_history_is_no_poison(town):
    rapport = town(1, model())
    store = rapport.store
    store.add_items([Item(f"n{number}", "") for number in range(5)])
    store.add_events(rated("bare", f"n{number}", 5.0, number) for number in range(5))
    store.add_events(
        [Event(1, "silent", "n1", "view"), Event(2, "o'brien; \u202e --", "f0", "search", None, "x" * 3000)]
    )
    store.add_items([Item(f"m{number}", f"Film {number}", categories=("Crime",)) for number in range(3000)])
    store.add_events(rated("glutton", f"m{number}", 5.0, number) for number in range(3000))
    report = tag(rapport)
    assert (report.tagged, report.failures) == (5, ())


def test_answers_of_a_lost_job_are_not_asked_for_again(town):
    """The third question of a person is the one that the process dies on: the first two were paid for."""
    answers = {"fails": True}

    def reply(chat: Chat) -> str:
        if answers["fails"] and len(llm.calls) == 3:
            raise KeyError
        return "An owner of something else." if len(llm.calls) < 4 else PERSONA

    llm = model(reply)
    rapport = town(1, llm)
    answers["fails"] = True
    report = tag(rapport)
    assert report.tagged == 1
    # Two texts that are refused, one that breaks; then only what was not answered.
    assert len(llm.calls) == 4


def test_a_model_that_is_away_for_a_while_costs_nobody_an_attempt(town):
    away = {"left": 6}
    lock = threading.Lock()

    def reply(chat: Chat) -> str:
        with lock:
            if away["left"]:
                away["left"] -= 1
                raise Unavailable("no route")
        return PERSONA

    rapport = town(8, model(reply))
    report = tag(rapport, Order(workers=3, delays_s=(0.0,) * 10))
    assert (report.tagged, report.failures, report.stopped) == (8, (), "")
    assert away["left"] == 0
    with rapport.store.reading() as connection:
        assert list(connection.exec_driver_sql("SELECT DISTINCT attempts FROM jobs").scalars()) == [0]


def test_a_model_that_stays_away_stops_the_run_and_everybody_waits(town):
    def reply(chat: Chat) -> str:
        if len(llm.calls) > 3:
            raise Unavailable("no route")
        return PERSONA

    llm = model(reply)
    rapport = town(10, llm)
    report = tag(rapport, Order(workers=2, delays_s=(0.0, 0.0)))
    assert (report.tagged, report.remaining, report.failures) == (3, 7, ())
    assert "the model stays away" in report.stopped
    assert "run the same command again" in report.stopped
    assert tag(town(10, model())).tagged == 7


def test_a_model_that_refuses_everything_stops_the_run_at_once(town):
    def reply(chat: Chat) -> str:
        raise Refused("wrong key")

    llm = model(reply)
    report = tag(town(50, llm), Order(workers=4))
    assert (report.tagged, report.remaining, report.failures) == (0, 50, ())
    assert "wrong key" in report.stopped
    assert len(llm.calls) <= 8


def test_a_budget_that_is_spent_stops_the_run_before_it_is_passed(town):
    rapport = town(20, model())
    budget = Budget(limits=Limits(tokens=3000))
    report = tag(rapport, Order(workers=4, budget=budget))
    assert 0 < report.tagged < 20
    assert report.remaining == 20 - report.tagged
    assert report.prompt_tokens + report.completion_tokens <= 3000
    assert "limit of 3000 tokens" in report.stopped
    assert tag(rapport).tagged == report.remaining


def test_who_waits_for_a_later_run_is_neither_tagged_nor_failed(town):
    class Later(Scripted):
        def generate(self, *args, **options):
            raise Deferred("tomorrow")

    rapport = town(4, model())
    report = tag(rapport, journal=lambda user: Later(lambda chat: "", name="model"))
    assert (report.tagged, report.remaining, report.failures, report.stopped) == (0, 4, (), "")
    assert tag(rapport).tagged == 4


def test_a_store_that_is_busy_stops_the_run_with_its_own_error(town, monkeypatch):
    rapport = town(3, model())

    def busy(*_):
        raise StoreBusy("another process is writing")

    monkeypatch.setattr("agent.history.jobs.keep_profile", busy)
    with pytest.raises(StoreBusy):
        tag(rapport)
    monkeypatch.undo()
    assert tag(rapport).tagged == 3


@pytest.mark.parametrize("bug", [ZeroDivisionError, SystemExit])
def test_a_bug_outside_of_a_profile_ends_the_run_instead_of_leaving_it_waiting(town, monkeypatch, bug):
    rapport = town(3, model())
    take, taken = Queue.take, []

    def breaks(queue):
        taken.append(take(queue))
        if len(taken) == 2:
            raise bug("of the queue")
        return taken[-1]

    monkeypatch.setattr(Queue, "take", breaks)
    with pytest.raises(bug, match="of the queue"):
        tag(rapport)
    monkeypatch.undo()
    assert tag(rapport).remaining == 0
    assert versions(rapport, names(3)) == [1] * 3


def test_whoever_is_forgotten_while_they_are_worked_on_stays_forgotten(town):
    asked, gone = threading.Event(), threading.Event()

    def reply(chat: Chat) -> str:
        asked.set()
        assert gone.wait(10)
        return PERSONA

    rapport = town(1, model(reply))

    def forget() -> None:
        asked.wait(10)
        rapport.store.erase_user("u0000")
        gone.set()

    eraser = threading.Thread(target=forget)
    eraser.start()
    report = tag(rapport)
    eraser.join()
    assert report.tagged == 0
    assert not rapport.store.has_user("u0000")
    assert {table: rows for table, rows in rapport.store.export_user("u0000").items() if rows} == {"user": "u0000"}


def test_ctrl_c_gives_every_lease_back(town, monkeypatch):
    monkeypatch.setattr(runner, "HEAD_START_S", 0.05)
    monkeypatch.setattr(runner, "FAREWELL_S", 0.1)
    release, known = threading.Event(), set(threading.enumerate())

    def reply(chat: Chat) -> str:
        assert release.wait(60)
        return PERSONA

    rapport = town(6, model(reply))

    def interrupt(now) -> None:
        with rapport.store.reading() as connection:
            if connection.exec_driver_sql("SELECT count(*) FROM jobs WHERE state = 'leased'").scalar() == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tag(rapport, Order(workers=3, progress=interrupt))
    release.set()
    for thread in set(threading.enumerate()) - known:
        thread.join(60)
    with rapport.store.reading() as connection:
        rows = list(connection.exec_driver_sql("SELECT state, owner, losses, attempts FROM jobs"))
    assert rows == [("waiting", "", 0, 0)] * 6
    assert versions(rapport, names(6)) == [0] * 6, "what was in flight came too late to be written"
    assert tag(rapport).tagged == 6


def test_progress_counts_up_to_the_whole(town):
    seen = []
    tag(town(20, model(cursed)), Order(progress=seen.append))
    assert [now.done for now in seen] == sorted(now.done for now in seen)
    last = seen[-1]
    assert (last.total, last.done, last.tagged, last.failed) == (20, 20, 20, 0)
    assert last.tokens > 0


def test_the_prompts_that_count_are_those_that_a_profile_asks(town):
    """What a profile may be made with is listed once; a new prompt in agent/persona must be added to the list."""
    import ast
    from pathlib import Path

    import agent.ask
    import agent.persona

    folder = Path(agent.persona.__file__).parent
    asked = {
        node.args[0].value
        for path in [*folder.glob("*.py"), Path(agent.ask.__file__)]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id)
        in ("answer", "write", "choose", "template_of")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }
    assert asked == set(PROMPTS)
    assert len(prompts()) == 2 * len(PROMPTS)


def test_crime_fans_are_what_these_tests_take_them_for(town):
    llm = model()
    rapport = town(1, llm)
    assert rapport.profile("u0000").persona == PERSONA
    assert len(llm.calls) == 1
    assert len(crime_fan("u0000")) == 7
