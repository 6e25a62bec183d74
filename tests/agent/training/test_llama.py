"""PyTorch's model is llama.cpp's: same file, same tokens, same probabilities."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from agent.errors import SetupError
from agent.training.llama import Llama, Weights, read
from agent.training.parity import computed, largest_difference, served

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="training needs PyTorch")

PROMPTS = [[1, 40, 41, 42, 2], list(range(3, 90)), [200]]


def test_llama_cpp_and_pytorch_agree(tiny: Path):
    assert largest_difference(Llama(read(tiny)), tiny, PROMPTS) < 0.01  # llama.cpp keeps keys and values as half floats


def test_the_comparison_sees_a_difference(tiny: Path):
    weights = read(tiny)
    turned = dict(weights.tensors)
    turned["blk.0.attn_q.weight"] = np.roll(turned["blk.0.attn_q.weight"], 1, axis=0)
    assert largest_difference(Llama(Weights(weights.shape, turned)), tiny, PROMPTS) > 0.05


def test_both_are_probabilities(tiny: Path):
    for found in (computed(Llama(read(tiny)), PROMPTS[0]), served(tiny, PROMPTS[0])):
        assert np.exp(found.astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-4)


def test_a_fresh_adapter_changes_nothing(tiny: Path):
    weights = read(tiny)
    plain, adapted = computed(Llama(weights), PROMPTS[1]), computed(Llama(weights, rank=4, alpha=8.0), PROMPTS[1])
    assert np.array_equal(plain, adapted)


def test_another_architecture_is_refused_by_name(tmp_path: Path, write_model):
    with pytest.raises(SetupError, match="qwen2"):
        read(write_model(tmp_path / "other.gguf", architecture="qwen2"))


@pytest.mark.long
@pytest.mark.model
def test_the_built_in_model_agrees_too():
    from agent.llm.weights import smollm2
    from agent.settings import load
    from agent.training.parity import TOLERANCE

    path = smollm2(load().cache)
    if "F16" not in path.name:
        pytest.skip("a quantised layout rounds more than the comparison is about")
    assert largest_difference(Llama(read(path)), path, [list(range(100, 160))]) < TOLERANCE
