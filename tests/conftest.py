"""Every test is offline and starts from nothing: no network beyond this machine, no settings, no state of its own."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from platformdirs import user_cache_path

# The same examples in every run: a red test is red for everybody. No deadline: machines differ.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

CACHE = user_cache_path("rapport")
"""Read before any test: where the model files lie that the tests marked `model` need and nobody wants to make twice."""


def is_here(address: object) -> bool:
    """Whether a socket address is this machine: loopback, or a file."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def refusing(connect: Callable[..., object]) -> Callable[..., object]:
    def guarded(self: socket.socket, address: object) -> object:
        if not is_here(address):
            raise OSError(f"tests are offline: refused to connect to {address!r}")
        return connect(self, address)

    return guarded


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", refusing(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", refusing(socket.socket.connect_ex))


@pytest.fixture(autouse=True)
def from_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, request) -> None:
    """No settings in the environment, and a home and a cache that are empty; model files stay where they are."""
    for name in list(os.environ):
        if name.startswith(("RAPPORT_", "OPENAI_")):
            monkeypatch.delenv(name)
    state: Path = tmp_path_factory.mktemp("state")
    cache = CACHE if request.node.get_closest_marker("model") else state / "cache"
    monkeypatch.setenv("RAPPORT_HOME", str(state / "home"))
    monkeypatch.setenv("RAPPORT_CACHE", str(cache))
    monkeypatch.setenv("XDG_DATA_HOME", str(state / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE.parent if cache == CACHE else state / "caches"))
