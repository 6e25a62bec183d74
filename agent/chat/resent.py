"""Conversations that are sent whole each time, as OpenAI's clients do: found again among those that are kept.

What the client edited or had answered again is taken back first, so that nothing is learned twice. Knows no protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from agent.chat.conversation import MOST_TEXT, Chat
from agent.chat.memory import Exchange
from agent.errors import UsageError
from agent.recommend.catalogue import plain

PREFIX = "sent-"


def found_again(chat: Chat, user: str, said: Sequence[str]) -> str:
    """The conversation in which the last of `said` is the next message; `said`: all that the person said, oldest first.

    It is the kept one that begins with the longest stretch of the earlier messages; turns that it has beyond them are
    taken back and dropped. A first message that was said before, and to which nothing followed, is answered again; else
    it begins a conversation. Raises UsageError without a last message.
    """
    texts = [plain(one, MOST_TEXT) for one in said]
    if not texts or not texts[-1]:
        raise UsageError("there is nothing to answer: the last message of the user is empty")
    *earlier, _ = [one for one in texts if one]
    stem = PREFIX + blake2b(next(one for one in texts if one).encode(), digest_size=9).hexdigest()
    kept = {id: chat.history(user, id) for id, _, _ in chat.conversations(user) if id.rpartition("-")[0] == stem}
    if earlier:
        # The longest stretch; of equals the one that has nothing beyond it, then the newest.
        best = max(kept, key=lambda id: (alike(kept[id], earlier), -len(spoken(kept[id]))), default="")
    else:
        best = next((id for id, turns in kept.items() if len(spoken(turns)) == 1), "")
    if not best:
        return f"{stem}-{len(kept) + 1}"
    chat.rewind(user, best, last_of(kept[best], alike(kept[best], earlier)))
    return best


def spoken(turns: Sequence[Exchange]) -> list[Exchange]:
    """Those that a message began, not a button."""
    return [one for one in turns if one.text]


def alike(turns: Sequence[Exchange], texts: Sequence[str]) -> int:
    """How many messages of a conversation's beginning are among `texts`, one behind the other: from the first on, or
    from where it was brought here from elsewhere."""
    mine = [one.text for one in spoken(turns)]
    start = texts.index(mine[0]) if mine and mine[0] in texts else 0
    same = 0
    for one, text in zip(mine, texts[start:], strict=False):
        if one != text:
            break
        same += 1
    return same


def last_of(turns: Sequence[Exchange], messages: int) -> int:
    """The number of the turn that the first `messages` messages end with, buttons behind it included."""
    over = spoken(turns)[messages:]
    return over[0].number - 1 if over else (turns[-1].number if turns else 0)
