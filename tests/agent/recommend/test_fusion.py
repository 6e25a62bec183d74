from __future__ import annotations

import pytest

from agent.errors import SetupError
from agent.recommend.fusion import Fusion, Share, load, shipped


def share(at_least: int, at_most: int | None, weight: float) -> Share:
    return Share(
        at_least=at_least, at_most=at_most, weight=weight, ndcg=0.1, without=0.05, low=0, high=0.1, alone=0.09, cases=10
    )


@pytest.mark.parametrize(("items", "weight"), [(0, 0.0), (1, 2.0), (5, 2.0), (6, 8.0), (900, 8.0)])
def test_the_weight_is_that_of_the_history_s_length(items, weight):
    fusion = Fusion(shares=(share(1, 5, 2.0), share(6, None, 8.0)))
    assert fusion.weight(items) == weight


def test_what_was_not_measured_has_no_weight():
    assert Fusion().weight(50) == 0.0


def test_the_shipped_file_says_where_it_comes_from():
    found = shipped()
    assert found.measured_at is not None
    assert "validation" in found.data
    assert "; had," in found.data
    assert all(one.cases > 0 and one.low <= one.ndcg - one.without <= one.high for one in found.shares)
    assert all(dict(one.curve)[one.weight] == max(gain for _, gain in one.curve) for one in found.shares)
    assert [found.weight(items) > 0 for items in (3, 15, 60, 500)] == [True] * 4


def test_a_foreign_file_is_named(tmp_path):
    path = tmp_path / "fusion.json"
    path.write_text('{"weights": 1}')
    with pytest.raises(SetupError, match="fusion"):
        load(path)
