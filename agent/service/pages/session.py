"""Who is signed in to the pages: a signed cookie that names a key, never holds one. Knows no page and no right.

What somebody may do is asked of the key on every request, so a revoked key is signed out at once.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from agent.errors import SetupError

COOKIE = "rapport_session"
LASTS_S = 30 * 24 * 3600
"""Seconds after which one has to sign in again."""
LONGEST = 4000
"""Characters of a cookie that are read."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser."""

    key: str = ""
    """The id of the key that was shown; "" without one."""
    user: str = ""
    """The person whose pages these are; "" when none was chosen."""
    since: int = 0
    """When it began, in seconds since 1970."""
    nonce: str = ""
    """Makes the tokens of two sessions different."""


def begun(key: str = "", user: str = "") -> Session:
    return Session(key, user, int(time.time()), secrets.token_urlsafe(9))


class Seal:
    """Signs and reads sessions with one secret. Any thread may call."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @staticmethod
    def of(file: Path) -> Seal:
        """With the secret in `file`, made where there is none: sessions outlive a restart. Raises SetupError."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                # Only its owner may read it, from the first moment on.
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
                    made.write(secrets.token_hex(32))
            except FileExistsError:
                pass
            return Seal(bytes.fromhex(file.read_text().strip()))
        except (OSError, ValueError) as error:
            raise SetupError(f"{file}, which signs the pages' cookies, cannot be used: {error}; delete it") from error

    def write(self, session: Session) -> str:
        body = json.dumps([session.key, session.user, session.since, session.nonce], ensure_ascii=False)
        packed = urlsafe_b64encode(body.encode()).decode()
        return f"{packed}.{self._sign('session', packed)}"

    def read(self, cookie: str) -> Session | None:
        """The session that was written; None for what we did not write, or long ago."""
        packed, _, signature = cookie.rpartition(".")
        if len(cookie) > LONGEST or not cookie.isascii():
            return None
        if not hmac.compare_digest(self._sign("session", packed), signature):
            return None
        session = Session(*json.loads(urlsafe_b64decode(packed)))
        return session if 0 <= time.time() - session.since <= LASTS_S else None

    def token(self, session: Session) -> str:
        """What forms of this session carry, and no other site can know."""
        return self._sign("form", f"{session.key} {session.since} {session.nonce}")

    def holds(self, session: Session, token: str) -> bool:
        return token.isascii() and hmac.compare_digest(self.token(session), token)

    def _sign(self, what: str, text: str) -> str:
        return hmac.new(self._secret, f"{what}:{text}".encode(), sha256).hexdigest()
