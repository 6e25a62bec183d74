"""Sessions: only what this service signed is believed, for a month, and nothing in the cookie opens anything alone."""

from __future__ import annotations

import stat

import pytest

from agent.errors import SetupError
from agent.service.pages import session
from agent.service.pages.session import LASTS_S, Seal, Session, begun

SEAL = Seal(b"secret")


@pytest.mark.parametrize("user", ["mara", "né", "a/b;c,d", "😀" * 100, "x" * 200])
def test_what_was_written_is_read(user):
    made = begun("1a2b3c4d", user)
    cookie = SEAL.write(made)
    assert cookie.isascii()
    assert not set(cookie) & set(' ;,"\\')
    assert SEAL.read(cookie) == made


@pytest.mark.parametrize("change", [0, 5, 40, -1])
def test_what_was_changed_is_not(change):
    cookie = SEAL.write(begun("", "mara"))
    other = "A" if cookie[change] != "A" else "B"
    assert SEAL.read(cookie[:change] + other + (cookie[change + 1 :] if change >= 0 else "")) is None


@pytest.mark.parametrize("cookie", ["", ".", "x", "x.y", "é.é", "." * 9000, "W10=.0"])
def test_what_is_no_cookie_is_not(cookie):
    assert SEAL.read(cookie) is None


def test_another_secret_signs_another_name():
    assert Seal(b"other").read(SEAL.write(begun("", "mara"))) is None


def test_it_ends(monkeypatch):
    made = begun("", "mara")
    cookie = SEAL.write(made)
    monkeypatch.setattr(session.time, "time", lambda: made.since + LASTS_S + 1)
    assert SEAL.read(cookie) is None


def test_a_token_is_of_one_session():
    one, other = begun("k", "mara"), begun("k", "mara")
    assert SEAL.holds(one, SEAL.token(one))
    assert not SEAL.holds(one, SEAL.token(other))
    assert not SEAL.holds(one, "é")
    assert SEAL.token(one) not in SEAL.write(one)


def test_the_secret_outlives_a_restart_and_is_its_owners(tmp_path):
    file = tmp_path / "home" / "pages.key"
    cookie = Seal.of(file).write(Session("", "mara", begun().since, "n"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Seal.of(file).read(cookie) is not None


def test_a_secret_that_is_none_is_said(tmp_path):
    file = tmp_path / "pages.key"
    file.write_text("no hex")
    with pytest.raises(SetupError, match="delete it"):
        Seal.of(file)
