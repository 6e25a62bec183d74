"""Whether PyTorch and llama.cpp say the same of the same tokens: what was trained is what answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.training.llama import Llama, torch_module

TOLERANCE = 0.05
"""Largest difference of a log-probability among the likeliest tokens that is put down to rounding: half floats here,
32-bit floats there (0.01 measured)."""
LIKELIEST = 50


def largest_difference(model: Llama, path: Path, prompts: Sequence[Sequence[int]]) -> float:
    """Of the log-probabilities of the likeliest next tokens after each of `prompts`, in nats."""
    theirs = [served(path, prompt) for prompt in prompts]
    return max(
        float(np.abs(mine - other)[np.argsort(other)[-LIKELIEST:]].max())
        for mine, other in zip((computed(model, prompt) for prompt in prompts), theirs, strict=True)
    )


def computed(model: Llama, prompt: Sequence[int]) -> np.ndarray:
    """PyTorch's log-probabilities of every next token."""
    torch = torch_module()
    size = len(prompt)
    with torch.no_grad():
        logits = model.logits(prompt, size, (), [size - 1])[0]
        return torch.log_softmax(logits, -1).cpu().numpy()


def served(path: Path, prompt: Sequence[int]) -> np.ndarray:
    """llama.cpp's log-probabilities of every next token."""
    from agent.llm.decoder import Row
    from agent.llm.native import BATCH, Native

    native = Native(path, gpu_layers=0, repack=False)
    try:
        context = native.context(cells=max(256, len(prompt)), threads=1)
        try:
            rows = [Row(token, place, 0, place == len(prompt) - 1) for place, token in enumerate(prompt)]
            found = [one for start in range(0, len(rows), BATCH) for one in context.decode(rows[start : start + BATCH])]
            logits = np.array(found[-1], np.float64)
        finally:
            context.close()
    finally:
        native.close()
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())
