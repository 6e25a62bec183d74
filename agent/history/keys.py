"""API keys: made, found, revoked; what is kept of one is its hash. Knows what a key allows, not what it opens."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal, cast, get_args

from sqlalchemy import insert, literal, select, update

from agent.errors import UsageError
from agent.history import codec
from agent.history.schema import api_keys
from agent.history.store import Store
from agent.history.text import clean_id
from agent.history.values import Unusable

Scope = Literal["read", "write", "proxy", "admin"]
"""read: everything about everybody. write: items and events, and what people say about their tags. proxy: may speak for
whom it names, for programs that sign people in themselves. admin: all of these, and to export and erase people.
A key for one person needs none: it opens what is theirs."""
SCOPES = cast(tuple[Scope, ...], get_args(Scope))
PREFIX = "rapport"
MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    user: str
    """The one person that it speaks for; "" for everybody."""
    made: datetime
    revoked: datetime | None = None


class Keys:
    """The keys of one store. Safe to use from several threads; every method raises StoreError and StoreBusy."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, name: str, scopes: Sequence[str] = (), user: str = "") -> tuple[Key, str]:
        """A new key, and the secret that is shown this once. Raises UsageError."""
        clean = " ".join(name.split())
        if not 1 <= len(clean) <= MAX_NAME or not clean.isprintable():
            raise UsageError(f"a key's name has 1 to {MAX_NAME} plain characters: {name!r}")
        try:
            user = clean_id(user, "user") if user else ""
        except Unusable as error:
            raise UsageError(str(error)) from error
        if bool(user) == bool(scopes):
            raise UsageError(f"a key is for one person, or has scopes: {', '.join(SCOPES)}")
        if unknown := set(scopes) - set(SCOPES):
            raise UsageError(f"there is no scope {', '.join(sorted(unknown))}; there are {', '.join(SCOPES)}")
        id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        kept: tuple[Scope, ...] = tuple(scope for scope in SCOPES if scope in scopes)
        key = Key(id, clean, kept, user, datetime.now(UTC))
        row = {
            "id": id,
            "name": clean,
            "hash": _hash(secret),
            "scopes": " ".join(kept),
            "user": user,
            "made": codec.to_micros(key.made),
        }
        with self._store.writing() as connection:
            connection.execute(insert(api_keys), row)
        return key, f"{PREFIX}_{id}_{secret}"

    def every(self) -> list[Key]:
        """All keys, the revoked ones too, oldest first."""
        with self._store.reading() as connection:
            return [_key(row) for row in connection.execute(select(api_keys).order_by(api_keys.c.made, api_keys.c.id))]

    def any(self) -> bool:
        """Whether a key was ever made. Revoking the last one closes a service; it does not open it again."""
        with self._store.reading() as connection:
            return bool(connection.execute(select(select(literal(1)).select_from(api_keys).exists())).scalar())

    def revoke(self, id: str) -> bool:
        """From now on the key opens nothing; says whether it did before."""
        still_good = (api_keys.c.id == id) & api_keys.c.revoked.is_(None)
        with self._store.writing() as connection:
            done = connection.execute(update(api_keys).where(still_good).values(revoked=codec.to_micros(_now())))
            return done.rowcount > 0

    def find(self, presented: str) -> Key | None:
        """The key that somebody presents, if it is one and not revoked."""
        prefix, _, rest = presented.partition("_")
        id, _, secret = rest.partition("_")
        if prefix != PREFIX or not id or not secret or len(presented) > 200 or not presented.isascii():
            return None
        with self._store.reading() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == id)).first()
        if row is None or row.revoked is not None or not hmac.compare_digest(row.hash, _hash(secret)):
            return None
        return _key(row)

    def still(self, id: str) -> Key | None:
        """The key of that id, unless it was revoked: for whoever has shown its secret before."""
        with self._store.reading() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == id)).first()
        return None if row is None or row.revoked is not None else _key(row)


def _hash(secret: str) -> str:
    # 256 random bits cannot be guessed from a fast hash, and it is looked at on every request.
    return sha256(secret.encode()).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)


def _key(row: Any) -> Key:
    scopes = cast(tuple[Scope, ...], tuple(row.scopes.split()))
    made, revoked = codec.from_micros(row.made), codec.from_micros(row.revoked)
    assert made is not None
    return Key(row.id, row.name, scopes, row.user, made, revoked)
