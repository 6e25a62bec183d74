"""A blocking iterator read on the event loop: order, errors, silence, and readers who leave."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from agent.errors import CallUnavailable, Overloaded, TimedOut
from agent.service.model import still_wanted
from agent.service.pool import Gone, Pool
from agent.service.streaming import Stream, lively


def run(work: Callable[[Pool], Coroutine[Any, Any, None]], threads=2, waiting=2, patience_s=30.0) -> None:
    async def whole() -> None:
        pool = Pool(threads, waiting, patience_s)
        try:
            await work(pool)
            for _ in range(2000):
                if pool.busy == 0:
                    return
                await asyncio.sleep(0.005)
            raise AssertionError("a place in the pool was not given back")
        finally:
            await asyncio.to_thread(pool.stop)

    asyncio.run(whole())


def test_parts_come_in_order_as_they_are_made():
    go = threading.Event()

    def make() -> Generator[str]:
        yield "first"
        assert go.wait(20)
        yield "second"

    async def work(pool: Pool) -> None:
        stream = Stream(pool, make)
        assert await stream.next() == "first"
        with pytest.raises(TimeoutError):
            await stream.next(0.01)
        go.set()
        assert [await stream.next(), await stream.next(), await stream.next()] == ["second", None, None]

    run(work)


def test_what_is_raised_comes_behind_the_parts_before_it():
    def make() -> Generator[str]:
        yield "first"
        raise ZeroDivisionError

    async def work(pool: Pool) -> None:
        stream = Stream(pool, make)
        assert await stream.next() == "first"
        with pytest.raises(ZeroDivisionError):
            await stream.next()

    run(work)


def test_a_reader_who_is_slow_keeps_no_thread():
    async def work(pool: Pool) -> None:
        stream = Stream(pool, lambda: (number for number in range(1000)))
        for _ in range(2000):
            if pool.busy == 0:
                break
            await asyncio.sleep(0.005)
        assert pool.busy == 0
        assert [await stream.next() for _ in range(1000)] == list(range(1000))

    run(work)


def test_a_reader_who_leaves_ends_the_iterator_in_its_thread():
    ended: list[str] = []
    left = threading.Event()

    def make() -> Generator[int]:
        try:
            yield 1
            assert left.wait(20)
            yield 2
            yield 3
        except GeneratorExit:
            ended.append(threading.current_thread().name)
            raise

    async def work(pool: Pool) -> None:
        stream = Stream(pool, make)
        assert await stream.next() == 1
        stream.close()
        await asyncio.sleep(0.05)
        left.set()

    run(work)
    assert len(ended) == 1
    assert ended[0].startswith("rapport")


def test_what_asks_a_model_hears_at_once_that_nobody_waits():
    heard = threading.Event()

    def make() -> Generator[int]:
        yield 1
        try:
            while True:
                still_wanted()
        except CallUnavailable:
            heard.set()
            raise

    async def work(pool: Pool) -> None:
        stream = Stream(pool, make)
        assert await stream.next() == 1
        stream.close()
        assert await asyncio.to_thread(heard.wait, 20)
        with pytest.raises(Gone):
            await stream.next()

    run(work)


def test_in_a_silence_a_sign_of_life_is_due(monkeypatch):
    monkeypatch.setattr("agent.service.streaming.ALIVE_S", 0.01)
    go = threading.Event()

    def make() -> Generator[str]:
        yield "first"
        assert go.wait(20)
        yield "second"

    async def work(pool: Pool) -> None:
        stream = Stream(pool, make)
        seen = []
        async for part in lively(stream, await stream.next()):
            seen.append(part)
            if len(seen) == 3:
                go.set()
        assert seen[:3] == ["first", None, None]
        assert [one for one in seen if one] == ["first", "second"]

    run(work)


def test_who_comes_too_late_or_waits_too_long_is_told():
    go = threading.Event()

    def make() -> Generator[str]:
        go.wait(20)
        yield "late"

    async def work(pool: Pool) -> None:
        first = Stream(pool, make)
        with pytest.raises(TimedOut):
            await first.next()
        with pytest.raises(Overloaded):
            await Stream(pool, make).next()
        go.set()

    run(work, threads=1, waiting=0, patience_s=0.1)
