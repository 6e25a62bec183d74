from __future__ import annotations

import numpy as np
import pytest

from eval.baselines import transitions


def rows(*histories):
    return [np.array(one, np.intp) for one in histories]


def test_transitions_by_hand():
    found = transitions(rows([0, 1, 2], [0, 2]), 3, window=2, damping=1.0)
    # From 0: to 1 at distance 1; to 2 at distance 2 and at distance 1.
    assert found[0] == pytest.approx([0, 1 / 3.5, 1.5 / 3.5])
    assert found[1] == pytest.approx([0, 0, 0.5])
    assert found[2] == pytest.approx([0, 0, 0])
