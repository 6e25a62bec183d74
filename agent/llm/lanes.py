"""Several contexts of one model side by side, each with a scheduler and a thread of its own.

Threads that compute one batch together wait for each other many times in every layer of the model. With a small model
that costs more than it saves, and beside other work all of it; contexts that compute different requests never wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from agent.llm.scheduler import Request, Scheduler, Terms, Usage


class Lanes:
    """Requests from any thread, each computed in the lane where it is served soonest."""

    def __init__(self, lanes: Sequence[Scheduler]) -> None:
        self._lanes = tuple(lanes)

    @contextmanager
    def under_way(self, requests: Iterable[Request], terms: Terms) -> Iterator[list[Request]]:
        """`requests`, submitted; when the block is left, or `terms.cancel` is set, they are given up.

        Raises what `Scheduler.submit` raises.
        """
        submitted: list[Request] = []
        placed: dict[Scheduler, list[Request]] = {lane: [] for lane in self._lanes}
        asked_at = self._lanes[0].now()

        def give_up() -> None:
            for lane, theirs in placed.items():
                lane.cancel(theirs)

        if terms.cancel:
            terms.cancel.subscribe(give_up)
        try:
            for request in requests:
                lane = self._soonest(request)
                submitted.append(request)
                placed[lane].append(request)
                lane.submit(request, asked_at)
            yield submitted
        finally:
            if terms.cancel:
                terms.cancel.unsubscribe(give_up)
            give_up()

    def usage(self) -> Usage:
        """Of all lanes together; the seconds are those of one lane on average."""
        each = [lane.usage() for lane in self._lanes]
        return Usage(
            sum(one.prompt_tokens for one in each),
            sum(one.computed_tokens for one in each),
            sum(one.sampled_tokens for one in each),
            sum(one.forced_tokens for one in each),
            sum(one.decode_s for one in each) / len(each),
        )

    def clear(self) -> None:
        """Forget the prompts that are kept: idle ones before this returns, others when their last user ends."""
        for lane in self._lanes:
            lane.clear()

    def close(self) -> None:
        """Stop after the tokens in progress and free the contexts; requests under way end in Unavailable."""
        for lane in self._lanes:
            lane.close()

    def _soonest(self, request: Request) -> Scheduler:
        """Where fewest requests go before it; among equals where most of its beginning is computed already."""
        return min(self._lanes, key=lambda lane: (lane.ahead_of(request), -lane.kept_of(request.prompt)))
