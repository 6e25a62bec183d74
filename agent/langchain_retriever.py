"""Rapport as a LangChain retriever: what is asked becomes the request words, what comes back are explained documents.

One of the very few files that know LangChain; needs the package langchain-core and imports it when it is imported.
"""

from __future__ import annotations

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from agent import shapes
from agent.recommend.catalogue import headline
from agent.wiring import Rapport


class RapportRetriever(BaseRetriever):
    """Recommendations for one person as documents.

    The person is fixed when the retriever is made, never taken from the question: whoever writes the question, a model
    included, cannot ask in another name. Raises UnknownUser for somebody who is not known, as Rapport does.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    rapport: Rapport
    user: str
    n: int = Field(default=5, ge=1, le=50)
    """Documents for each question."""
    where: tuple[str, ...] = ()
    """Filters such as "year>=1990"."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        answer = self.rapport.recommend(self.user, self.n, words=query, where=self.where)
        return [
            Document(
                id=one.item.id,
                page_content=f"{headline(one.item)}. {one.item.text}\n{one.reason}".strip(),
                metadata=shapes.recommendation(one),
            )
            for one in answer.items
        ]
