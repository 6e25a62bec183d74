"""What fits a person before what does not: the last word on an order, by what was counted and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.recommend.retrieve import COLLABORATIVE
from agent.types import Candidate, Item, Profile

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
        for_it = sum(likes.get(feature, 0.0) for feature in own)
        against = sum(dislikes.get(feature, 0.0) for feature in own)
        together = any(source.retriever.startswith(COLLABORATIVE) for source in one.sources)
        if against > for_it and (not together or not stated.isdisjoint(own)):
            return 2
        asked = any(source.retriever == "words" for source in one.sources)
        close = any(source.retriever.startswith("recent:") and source.rank <= NEAR for source in one.sources)
        return 0 if for_it or asked or close or together or not likes else 1

    return sorted(candidates, key=group)
