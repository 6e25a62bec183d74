"""Whose fault a failed call is: the question that somebody asked, or a model that is away for everybody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from agent.errors import LLMError, Refused, Unavailable
from agent.llm.base import LLM, Message

DELAYS_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Waits between looking whether the model is back; after the last one it is given up."""
ANSWER = 16
"""Tokens that the answer to the trial may have; some hosted models take no fewer."""


class Outage:
    """Tries the model with `trial`, a harmless question, once for all threads whose calls failed together.

    `wait(seconds)`: sleeps, and says whether the run is being stopped meanwhile.
    """

    def __init__(
        self,
        llm: LLM,
        trial: Sequence[Message],
        wait: Callable[[float], bool],
        delays_s: Sequence[float] = DELAYS_S,
    ) -> None:
        self._llm = llm
        self._trial = trial
        self._wait = wait
        self._delays_s = delays_s
        self._trying = threading.Lock()
        self._answers = 0
        self._outages = 0

    @property
    def moment(self) -> tuple[int, int]:
        """Where things stand; taken before a call, it tells later what happened since."""
        return self._answers, self._outages

    def answered(self) -> None:
        """The model answered somebody."""
        # Not locked: an answer that is counted once with another costs a trial at most.
        self._answers += 1

    def over(self, since: tuple[int, int]) -> bool:
        """After a call that failed as Unavailable: True when the model was away and is back, so that nobody is to
        blame; False when it answers others. Raises Unavailable when it stays away, and LLMError for another refusal.
        """
        with self._trying:
            answers, outages = since
            if self._outages > outages:
                return True
            if self._answers > answers:
                return False
            if self._try():
                return False
            for delay in self._delays_s:
                if self._wait(delay):
                    return True
                if self._try():
                    self._outages += 1
                    return True
            raise Unavailable(f"no answer for {sum(self._delays_s):.0f} s")

    def refuses(self) -> LLMError | None:
        """After a call that was refused: the error with which the model refuses everything, e.g. a wrong key; None when
        it has answered anybody."""
        with self._trying:
            if self._answers:
                return None
            try:
                self._try()
            except Refused as error:
                return error
            return None

    def _try(self) -> bool:
        """Whether the model is there. Raises LLMError for what waiting does not mend."""
        try:
            self._llm.generate([self._trial], max_tokens=ANSWER)
        except Unavailable:
            return False
        self._answers += 1
        return True
