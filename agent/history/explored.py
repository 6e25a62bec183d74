"""Which places of which answers were given to exploration, and with what probability: a person's own rows, erased and
exported with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, insert, select

from agent.history import codec
from agent.history.schema import explored
from agent.history.store import Store
from agent.types import Arm, Slot

_PAGE = 500
_OF = select(explored).where(explored.c.user == bindparam("of")).order_by(explored.c.seq)


class Explored:
    """The log of exploration, in the order it was written."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, slots: Sequence[Slot]) -> None:
        if not slots:
            return
        with self._store.writing() as connection:
            connection.execute(insert(explored), [_row(one) for one in slots])

    def of(self, user: str) -> list[Slot]:
        """This person's, oldest first."""
        with self._store.reading() as connection:
            return [_slot(row) for row in connection.execute(_OF, {"of": user})]

    def everybodys(self) -> Iterator[Slot]:
        last = 0
        while True:
            query = select(explored).where(explored.c.seq > last).order_by(explored.c.seq).limit(_PAGE)
            with self._store.reading() as connection:
                page = connection.execute(query).all()
            if not page:
                return
            yield from map(_slot, page)
            last = page[-1].seq


def _row(one: Slot) -> dict[str, Any]:
    arms = json.dumps([asdict(arm) for arm in one.arms], ensure_ascii=False)
    return asdict(one) | {"at": codec.to_micros(one.at), "arms": arms}


def _slot(row: Any) -> Slot:
    at = codec.from_micros(row.at)
    assert at is not None  # the column is never null
    arms = tuple(Arm(one["name"], one["yes"], one["no"], tuple(one["items"])) for one in json.loads(row.arms))
    return Slot(row.user, at, row.place, row.item, row.arm, row.probability, arms)
