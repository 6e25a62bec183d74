from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.recommend.fuse import Ballot, fuse

IDS = st.sampled_from("abcdefgh")
BALLOTS = st.lists(
    st.builds(
        Ballot,
        st.text("tuvw", min_size=1, max_size=3),
        st.floats(-2, 3).map(lambda weight: round(weight, 2)),
        st.lists(st.tuples(IDS, st.floats(-1, 1)), max_size=8, unique_by=lambda hit: hit[0]),
    ),
    max_size=6,
)


def by_hand(ballots: list[Ballot], k: int) -> dict[str, float]:
    """The formula, id by id."""
    scores = {}
    for id in "abcdefgh":
        worths = [
            ballot.weight / (k + [hit for hit, _ in ballot.hits].index(id) + 1)
            for ballot in ballots
            if id in [hit for hit, _ in ballot.hits]
        ]
        if any(worth > 0 for worth in worths):
            scores[id] = sum(worths)
    return scores


@settings(deadline=None, derandomize=True)
@given(BALLOTS, st.integers(1, 100))
def test_it_is_the_formula(ballots, k):
    fused = fuse(ballots, k)
    wanted = by_hand(ballots, k)
    assert {one.id: one.score for one in fused} == pytest.approx(wanted)
    assert [one.id for one in fused] == sorted([one.id for one in fused], key=lambda id: (-fused_score(fused, id), id))


def fused_score(fused, id):
    return next(one.score for one in fused if one.id == id)


@settings(deadline=None, derandomize=True)
@given(BALLOTS)
def test_every_vote_is_kept(ballots):
    for one in fuse(ballots):
        cast = sum(id == one.id for ballot in ballots for id, _ in ballot.hits)
        assert len(one.sources) == cast


def test_a_vote_against_only_lowers_what_others_propose():
    fused = fuse([Ballot("for", 1.0, [("a", 0.9), ("b", 0.8)]), Ballot("against", -0.9, [("a", 0.9), ("c", 0.8)])])
    assert [one.id for one in fused] == ["b", "a"]


def test_the_loudest_vote_comes_first():
    one, _ = fuse([Ballot("whisper", 0.1, [("a", 0.9)]), Ballot("shout", 4.0, [("z", 0.9), ("a", 0.2)])])
    assert [source.retriever for source in one.sources] == ["shout", "whisper"]
    assert (one.sources[0].rank, one.sources[0].score) == (2, 0.2)


def test_of_a_repeated_id_the_first_place_counts():
    (one,) = fuse([Ballot("stutter", 1.0, [("a", 0.9), ("a", 0.1)])], k=60)
    assert one.score == pytest.approx(1 / 61)
