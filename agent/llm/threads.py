"""How many threads a local model should use on this machine, and how they share the work; knows no model."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

MOST = 8
"""Reading weights saturates the memory of a desktop with about this many threads; more only wait for each other."""

SMALL = 500_000_000
"""Parameters; of a model below this, threads that compute one batch wait for each other longer than they compute."""
MOST_LANES = 4
"""Each has memory for a whole context."""


def shared_out(threads: int, parameters: int) -> tuple[int, int]:
    """(lanes, threads of each) for a model of so many parameters on a processor.

    Two lanes of one thread against one of two, 135M parameters, two cores, 16 people with 600 tokens in common: 398 to
    415 tokens a second read and 255 to 272 written against 211 to 241 and 149 to 165; one answer alone 37 against 26
    to 41 (measured). A larger model is read from memory for every token, which more threads do faster.
    """
    lanes = min(threads, MOST_LANES) if parameters < SMALL else 1
    return lanes, threads // lanes


def default_threads(system: Path = Path("/sys")) -> int:
    """One thread per physical core that this process may use, by affinity and container quota; at most MOST.

    Two threads on one core (SMT) share the units that do the work. All cores are used, though others may want them
    too, because waiting threads sleep (native.library sees to it): under load this degrades to a fair share.
    """
    if sys.platform != "linux":
        return max(1, min((os.cpu_count() or 1) // 2, MOST))
    cores = _physical(os.sched_getaffinity(0), system)
    return max(1, min(cores, _quota(system) or cores, MOST))


def _physical(processors: Iterable[int], system: Path) -> int:
    """Distinct cores among `processors`; one each where the kernel does not tell."""
    return len({_core(processor, system) for processor in processors})


def _core(processor: int, system: Path) -> str:
    siblings = system / f"devices/system/cpu/cpu{processor}/topology/thread_siblings_list"
    return siblings.read_text().strip() if siblings.is_file() else str(processor)


def _quota(system: Path) -> int | None:
    """Processors that the container may use at a time, rounded down; None without a limit."""
    limit = system / "fs/cgroup/cpu.max"
    if not limit.is_file():
        return None
    quota, period = limit.read_text().split()
    return None if quota == "max" else max(1, int(quota) // int(period))
