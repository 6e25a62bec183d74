"""The guard of all tests (conftest.py) guards."""

from __future__ import annotations

import os
import socket

import pytest


def test_the_network_is_refused_by_address():
    with socket.socket() as one, pytest.raises(OSError, match=r"tests are offline.*192\.0\.2\.1"):
        one.connect(("192.0.2.1", 80))
    with socket.socket() as one, pytest.raises(OSError, match=r"example\.org"):
        one.connect_ex(("example.org", 80))
    with pytest.raises(OSError, match="offline"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_this_machine_is_not():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as one,
    ):
        assert one.getpeername() == server.getsockname()


def test_nothing_of_the_machines_own_settings_is_seen():
    from agent.settings import load

    assert not [name for name in os.environ if name.startswith("OPENAI_")]
    assert {name for name in os.environ if name.startswith("RAPPORT_")} == {"RAPPORT_HOME", "RAPPORT_CACHE"}
    assert not load().home.exists()
