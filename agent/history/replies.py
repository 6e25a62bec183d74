"""Replies to requests that may come again under the same idempotency key: one effect, the same reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, insert, select

from agent.errors import OtherRequest
from agent.history import codec
from agent.history.schema import replies
from agent.history.store import Store

KEPT = timedelta(hours=24)
"""How long a reply is kept."""


@dataclass(frozen=True, slots=True)
class Reply:
    request: str
    """A digest of what was asked."""
    body: str


@dataclass(frozen=True, slots=True)
class Replies:
    """The replies kept in one store. Safe to use from several threads and processes."""

    store: Store

    def find(self, caller: str, key: str) -> Reply | None:
        """What was answered when `caller` used `key` before."""
        with self.store.reading() as connection:
            row = connection.execute(select(replies).where(replies.c.caller == caller, replies.c.key == key)).first()
        return None if row is None else Reply(row.request, row.body)

    def once(self, caller: str, key: str, request: str, user: str, act: Callable[[], str]) -> str:
        """What `act` answers, or what it answered when `caller` used `key` before.

        `act` and the reply are kept in one transaction, all or nothing, and whoever comes with the same key meanwhile
        waits. `request`: a digest of what is asked. `user`: about whom. Raises OtherRequest when the key was used for
        something else, StoreError, and what `act` raises.
        """
        with self.store.writing() as connection:
            now = datetime.now(UTC)
            connection.execute(delete(replies).where(replies.c.at < codec.to_micros(now - KEPT)))
            known = connection.execute(select(replies).where(replies.c.caller == caller, replies.c.key == key)).first()
            if known is not None:
                if known.request != request:
                    raise OtherRequest("this idempotency key was used for another request before: take a new one")
                return known.body
            body = act()
            row = {
                "caller": caller,
                "key": key,
                "request": request,
                "body": body,
                "user": user,
                "at": codec.to_micros(now),
            }
            connection.execute(insert(replies), row)
            return body
