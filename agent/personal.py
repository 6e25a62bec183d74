"""What one person can ask and say through a tool: the same things for MCP and LangChain, as plain JSON values.

The person is bound when it is made, and no method takes another: whoever calls the tools, a model included, cannot ask
or speak in another name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from agent import correcting, searching, shapes
from agent.chat.noting import Verdict, note
from agent.wiring import Rapport

Opinion = Literal["like", "dislike", "seen", "not_interested"]
MEANT: dict[Opinion, Verdict] = {
    "like": "liked", "dislike": "disliked", "seen": "seen", "not_interested": "not_interested"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Personal:
    """One person's Rapport. Every method raises RapportError."""

    rapport: Rapport
    user: str

    def chat(self, message: str, conversation: str = "tools", n: int = 5) -> dict[str, Any]:
        """One turn of this person's conversation: words, items with reasons, perhaps a question, what was understood
        and written down, and the wishes in force. A conversation begins with its first message."""
        return shapes.reply(self.rapport.chat.reply(self.user, conversation, message, n=n))

    def recommend(self, words: str = "", n: int = 5, where: Sequence[str] = ()) -> dict[str, Any]:
        """Items for this person, best first, each with a true reason; also for somebody who is new."""
        return shapes.answer(self.rapport.recommend(self.user, n, words=words, where=where, allow_new=True))

    def explain(self, item: str) -> dict[str, Any]:
        """Why an item would, or would not, suit this person. `item`: its id."""
        return shapes.recommendation(self.rapport.explain(self.user, item))

    def search(self, words: str, n: int = 10, where: Sequence[str] = ()) -> dict[str, Any]:
        """Items of the catalogue by words and filters, the same for everybody."""
        return shapes.found(searching.search(self.rapport, words, where=where, n=n))

    def profile(self) -> dict[str, Any]:
        """What is believed about this person, with receipts."""
        return shapes.profile(correcting.believed(self.rapport, self.user))

    def remember(self, tag: str, likes: bool = True) -> dict[str, Any]:
        """Writes down an interest (or an aversion) that the person stated; no model ever overrides it."""
        change = correcting.Change("add", tag, 1 if likes else -1)
        return shapes.profile(correcting.save(self.rapport, self.user, change))

    def feedback(self, item: str, opinion: Opinion) -> dict[str, Any]:
        """Writes down what the person did with an item; it counts at once. `item`: its id. Raises UnknownItem."""
        event, found = note(self.rapport.store, self.user, item, MEANT[opinion], datetime.now(UTC))
        return {"event": event.id, "item": item, "title": found.title, "kind": event.kind}
