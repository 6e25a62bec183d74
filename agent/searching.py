"""Looking for items by words and filters, for nobody in particular. Knows the catalogue and its index; no person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from agent.errors import SetupError, StoreError, UsageError
from agent.recommend.catalogue import filters, plain
from agent.recommend.retrieve import fits, index_errors
from agent.types import Condition, Item
from agent.wiring import MAX_WORDS, Rapport

MOST = 100
"""Items of one answer at most."""


@dataclass(frozen=True, slots=True)
class Found:
    """Items, best first; by id where no words were given."""

    items: tuple[Item, ...]
    degraded: str = ""
    """Why only titles were looked at; "" when the index answered."""


def search(
    rapport: Rapport, words: str = "", *, where: Sequence[str | Condition] = (), n: int = 20, after: str = ""
) -> Found:
    """Up to `n` items that fit `words` and fulfil `where`: first those with the words in their title, then those
    that are close in meaning. Without words: by id, those after the id `after`. Raises BadFilter, UsageError."""
    if not 1 <= n <= MOST:
        raise UsageError(f"n is {n}; 1 to {MOST} items can be asked for")
    conditions = tuple(rapport.condition(one) for one in where)
    words = plain(words, MAX_WORDS)
    if not words:
        return Found(tuple(islice(listed(rapport, conditions, after), n)))
    titled = [item for item in rapport.store.items_titled(words, n) if fits(item, conditions)]
    try:
        close, why = meant(rapport, words, conditions, n), rapport.without_index
    except (StoreError, SetupError) as error:
        close, why = [], str(error)
    unique = {item.id: item for item in (*titled, *close)}
    return Found(tuple(unique.values())[:n], why)


def listed(rapport: Rapport, conditions: Sequence[Condition], after: str) -> Iterator[Item]:
    """Every item with a title that fulfils the conditions, by id."""
    return (item for item in rapport.store.all_items(after) if item.title and fits(item, conditions))


def meant(rapport: Rapport, words: str, conditions: Sequence[Condition], n: int) -> list[Item]:
    """Items close to the words in meaning; none without an index. Raises StoreError, SetupError."""
    if rapport.without_index:
        return []
    with index_errors():
        (hits,) = rapport.index.search(rapport.embedder.embed([words]), n, where=filters(conditions))
    items = rapport.store.items([hit.id for hit in hits])
    # The index may be older than the catalogue.
    return [item for item in items.values() if item.title and fits(item, conditions)]
