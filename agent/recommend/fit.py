"""What fits a person before what does not: the last word on an order, by what was counted and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.recommend.retrieve import COLLABORATIVE
from agent.types import Candidate, Item, Profile, Source

NEAR = 5
"""A liked item's vote counts as closeness only among its nearest this many."""


def fitting_first(
    candidates: Sequence[Candidate], profile: Profile, features: Callable[[Item], Sequence[str]]
) -> list[Candidate]:
    """The same candidates: first those that fit, then those that nothing speaks for, last those the person tends not to
    like; each group in its order. A dislike that was only observed counts less than that the item goes together with
    what they had; one that they stated counts more. Popularity alone does not make an item fit somebody who is known;
    that it goes together with what they had does."""
    likes = {tag.feature: tag.weight for tag in profile.tags if tag.polarity > 0 and tag.feature}
    dislikes = {tag.feature: tag.weight for tag in profile.tags if tag.polarity < 0 and tag.feature}
    stated = {tag.feature for tag in profile.tags if tag.polarity < 0 and tag.kind == "stated"}

    def group(one: Candidate) -> int:
        own = features(one.item)
        for_it = sum([likes[feature] for feature in own if feature in likes])
        against = sum([dislikes[feature] for feature in own if feature in dislikes])
        if against > for_it and (not stated.isdisjoint(own) or not any(map(together, one.sources))):
            return 2
        return 0 if for_it or not likes or any(together(vote) or asked(vote) for vote in one.sources) else 1

    return sorted(candidates, key=group)


def together(vote: Source) -> bool:
    return vote.retriever.startswith(COLLABORATIVE)


def asked(vote: Source) -> bool:
    """By the person's own words, or as one of those closest to what they like."""
    return vote.retriever == "words" or (vote.rank <= NEAR and vote.retriever.startswith("recent:"))
