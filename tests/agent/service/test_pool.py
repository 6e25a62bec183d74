"""Bounded work: who comes too late is told so, who waits too long stops waiting, who has gone frees the model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from agent.errors import CallUnavailable, Overloaded, TimedOut, Unavailable
from agent.llm.scripted import Scripted
from agent.service.model import Patience, Patient, patience
from agent.service.pool import Gone, Pool

Chat = list[Any]


def run(work: Callable[[Pool], Coroutine[Any, Any, None]], threads=2, waiting=2, patience_s=30.0) -> None:
    async def whole() -> None:
        pool = Pool(threads, waiting, patience_s)
        try:
            await work(pool)
        finally:
            await asyncio.to_thread(pool.stop)

    asyncio.run(whole())


async def until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never became true")


def test_what_work_returns_and_raises():
    async def work(pool: Pool) -> None:
        assert await pool.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        await until(lambda: pool.busy == 0)

    run(work)


def test_as_many_as_there_are_threads_and_no_more_wait_than_may():
    go, at_work, most = threading.Event(), [], []

    def slow() -> None:
        at_work.append(1)
        most.append(len(at_work))
        go.wait()
        at_work.pop()

    async def work(pool: Pool) -> None:
        tasks = [asyncio.create_task(pool.run(slow)) for _ in range(4)]
        await until(lambda: len(most) == 2)
        for _ in range(3):
            with pytest.raises(Overloaded):
                await pool.run(slow)
        go.set()
        await asyncio.gather(*tasks)
        await until(lambda: pool.busy == 0)
        assert await pool.run(lambda: "again") == "again"

    run(work)
    assert max(most) == 2


def test_who_waits_too_long_is_told_and_the_place_stays_taken_until_the_work_has_ended():
    go = threading.Event()

    async def work(pool: Pool) -> None:
        with pytest.raises(TimedOut):
            await pool.run(lambda: go.wait(20))
        assert pool.busy == 1
        go.set()
        await until(lambda: pool.busy == 0)

    run(work, patience_s=0.05)


def test_who_has_gone_stops_what_waits_and_what_is_asked_of_a_model():
    asked, ended = threading.Event(), []
    llm = Patient(Scripted(lambda chat: asked.set() or time.sleep(0.2) or "late"))

    def talk() -> None:
        try:
            while True:
                llm.generate([[]])
        except CallUnavailable as error:
            ended.append(str(error))
            raise

    async def work(pool: Pool) -> None:
        gone = asyncio.Event()
        first = asyncio.create_task(pool.run(talk, gone))
        started = []
        second = asyncio.create_task(pool.run(lambda: started.append(1), gone))
        await until(asked.is_set)
        gone.set()
        for task in (first, second):
            with pytest.raises(Gone):
                await task
        await until(lambda: pool.busy == 0)
        assert started == []

    run(work, threads=1)
    assert len(ended) == 1


def test_stopping_tells_everybody_and_waits_for_them():
    ended = threading.Event()
    llm = Patient(Scripted(lambda chat: time.sleep(0.01) or "more"))

    def talk() -> None:
        try:
            while True:
                llm.generate([[]])
        finally:
            ended.set()

    async def whole() -> None:
        pool = Pool(2, 2, 30.0)
        task = asyncio.create_task(pool.run(talk))
        await until(lambda: pool.busy == 1)
        await asyncio.sleep(0.05)
        await asyncio.to_thread(pool.stop)
        assert ended.is_set()
        with pytest.raises(CallUnavailable):
            await task

    asyncio.run(whole())


def test_when_the_time_for_models_is_over_they_are_not_asked():
    scripted = Scripted(lambda chat: "x")
    calls = []
    llm = Patient(scripted, lambda *call: calls.append(call))
    with patience(Patience(time.monotonic() - 1)), pytest.raises(TimedOut):
        llm.generate([[]])
    assert scripted.calls == []
    with patience(Patience(time.monotonic() + 60)):
        assert llm.generate([[]])[0].text == "x"
        assert "".join(llm.stream([])) == "x"
        assert llm.choose([[]], ["a"]) == [[0.0]]
    assert llm.generate([[]])[0].text == "x", "outside a request there is no hurry"
    assert [(method, outcome) for method, outcome, _, _ in calls] == [
        ("generate", "TimedOut"), ("generate", "ok"), ("stream", "ok"), ("choose", "ok"), ("generate", "ok")
    ]  # fmt: skip


def test_a_model_that_fails_while_somebody_waits_is_unavailable():
    def fail(chat: Chat) -> str:
        raise Unavailable("down")

    terms = Patience(time.monotonic() + 60)
    with patience(terms), pytest.raises(Unavailable, match="down"):
        Patient(Scripted(fail)).generate([[]])
    terms.cancel.set()
    with patience(terms), pytest.raises(CallUnavailable):
        Patient(Scripted(fail)).generate([[]])


def test_closing_it_closes_the_model():
    closed = []
    scripted = Scripted(lambda chat: "")
    scripted.close = lambda: closed.append(1)  # type: ignore[method-assign]
    Patient(scripted).close()
    assert closed == [1]
