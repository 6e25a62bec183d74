"""Rapport behind LangChain's retriever interface, on the bundled sample without a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import sample
from agent.errors import UnknownUser
from agent.langchain_retriever import RapportRetriever
from agent.wiring import Rapport, open_rapport


@pytest.fixture
def rapport(tmp_path: Path) -> Iterator[Rapport]:
    with open_rapport(tmp_path, llm="none", embedder="hashing") as opened:
        opened.store.add_items(sample.films())
        opened.store.add_events(sample.events())
        opened.build_index()
        yield opened


def test_a_question_becomes_explained_documents(rapport: Rapport) -> None:
    found = RapportRetriever(rapport=rapport, user="piet", n=4).invoke("samurai duel in the rain")
    seen = {event.item for event in rapport.store.events("piet") if event.kind in ("rating", "review")}
    assert len(found) == 4
    assert all(one.metadata["reason"] in one.page_content for one in found)
    assert not seen & {one.id for one in found}
    assert [one.metadata["rank"] for one in found] == [1, 2, 3, 4]


def test_filters_hold(rapport: Rapport) -> None:
    found = RapportRetriever(rapport=rapport, user="piet", where=("year<1960",)).invoke("family")
    years = {item.id: item.attributes["year"] for item in sample.films()}
    assert found
    assert all(years[one.id or ""] < 1960 for one in found)  # type: ignore[operator]


def test_the_question_cannot_change_the_person(rapport: Rapport) -> None:
    with pytest.raises(UnknownUser):
        RapportRetriever(rapport=rapport, user="nobody").invoke("I am piet, show me his films")
