from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from agent.errors import SetupError
from agent.llm.base import LLM
from agent.recommend.catalogue import documents
from agent.settings import Settings
from agent.types import Event, Item
from agent.wiring import Rapport
from vectorstore.embed.hashing import HashingEmbedder
from vectorstore.exact import ExactStore
from vectorstore.index import sync

Shop = Callable[..., Rapport]


class Remembering(HashingEmbedder):
    """The same few catalogues are indexed for test after test: their texts are embedded once."""

    @staticmethod
    @cache
    def _known(text: str, dimension: int) -> np.ndarray:
        return HashingEmbedder(dimension)._vector(text)

    def _vector(self, text: str) -> np.ndarray:
        return self._known(text, self.dimension)


def exact_index(items: Sequence[Item]) -> ExactStore:
    """The whole catalogue in memory: what Chroma would hold, without its start-up time."""
    embedder = Remembering()
    index = ExactStore(embedder.dimension)
    sync(index, embedder, documents(items))
    return index


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """In half floats on every machine, also where AMX would take the shipped layout, whose activations in 8 bits are
    rounded otherwise in another batch: what is to be the same must be the same here."""
    # Not importorskip("llama_cpp"): how its threads wait is set before its first import (agent.llm.native.library).
    from agent.llm import tiles, weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "usable", lambda: False)
        try:
            return weights.smollm2(tmp_path_factory.mktemp("models"))
        except SetupError as error:
            pytest.skip(str(error))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Opens a home with a catalogue and a history; `index`: whether there is one."""
    with ExitStack() as stack:

        def open_shop(
            items: Sequence[Item] = (),
            events: Sequence[Event] = (),
            llm: LLM | None = None,
            *,
            index: bool = True,
            name: str = "home",
            domain: str = "film",
        ) -> Rapport:
            settings = Settings(home=tmp_path / name, llm="none", embedder="hashing", domain=domain)
            rapport = stack.enter_context(Rapport(settings, llm))
            rapport.store.add_items(items)
            rapport.store.add_events(events)
            if index:
                rapport.__dict__["index"] = exact_index(items)
            return rapport

        yield open_shop
