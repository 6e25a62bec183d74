"""How many threads a model gets, from an invented /sys."""

from __future__ import annotations

import os
import sys

import pytest

from agent.llm.threads import MOST, default_threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /sys")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    def build(processors: int, per_core: int, quota: str | None = None):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
        for n in range(processors):
            topology = tmp_path / f"devices/system/cpu/cpu{n}/topology"
            topology.mkdir(parents=True)
            first = n // per_core * per_core
            (topology / "thread_siblings_list").write_text(f"{first}-{first + per_core - 1}\n")
        if quota:
            (tmp_path / "fs/cgroup").mkdir(parents=True)
            (tmp_path / "fs/cgroup/cpu.max").write_text(quota + "\n")
        return tmp_path

    return build


@pytest.mark.parametrize(
    ("processors", "per_core", "quota", "threads"),
    [
        (1, 1, None, 1),
        (2, 1, None, 2),
        (8, 2, None, 4),
        (64, 2, None, MOST),
        (8, 1, "max 100000", 8),
        (8, 1, "250000 100000", 2),
        (8, 1, "50000 100000", 1),
    ],
)
def test_physical_cores_within_the_quota(machine, processors, per_core, quota, threads):
    assert default_threads(machine(processors, per_core, quota)) == threads


def test_without_a_topology_every_processor_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert default_threads(tmp_path) == 3
