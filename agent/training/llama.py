"""A Llama in PyTorch over the weights of a GGUF file, dequantised, with room for low-rank adapters.

The file's own layout is kept (llama.cpp interleaves the halves that rotary embedding turns), so that an adapter trained
here fits the file without a permutation. Knows tokens; knows no text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.errors import SetupError

if TYPE_CHECKING:
    from torch import Tensor

ADAPTED = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
"""The matrices of a layer that an adapter changes: all of them."""
NORMS = ("attn_norm", "ffn_norm")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a Llama is built like."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    """Width of one head."""
    feed: int
    vocabulary: int
    epsilon: float
    base: float
    """Of the rotary angles."""


@dataclass(frozen=True)
class Weights:
    """A model file's tensors as 32-bit floats, by the names they have there."""

    shape: Shape
    tensors: dict[str, np.ndarray]


def torch_module() -> Any:
    """The module torch; SetupError where it is missing."""
    try:
        import torch
    except ImportError as error:
        raise SetupError("training needs PyTorch: pip install '.[train]'") from error
    return torch


def read(path: Path) -> Weights:
    """The weights in `path`. Raises SetupError for a model that is no plain Llama."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    file = GGUFReader(path)
    fields = {name: field.contents() for name, field in file.fields.items() if not name.startswith("tokenizer.ggml.")}
    kind = fields.get("general.architecture")
    if kind != "llama":
        raise SetupError(f"{str(path)!r} is of the architecture {kind!r}; adapters are trained for llama alone")
    if any(name.startswith("llama.rope.scaling.") for name in fields) or "llama.expert_count" in fields:
        raise SetupError(f"{str(path)!r} scales its positions or has experts, which training does not know")
    tensors = {one.name: np.array(dequantize(one.data, one.tensor_type), np.float32) for one in file.tensors}
    width, heads = int(fields["llama.embedding_length"]), int(fields["llama.attention.head_count"])
    shape = Shape(
        layers=int(fields["llama.block_count"]),
        width=width,
        heads=heads,
        kv_heads=int(fields.get("llama.attention.head_count_kv", heads)),
        head=int(fields.get("llama.rope.dimension_count", width // heads)),
        feed=int(fields["llama.feed_forward_length"]),
        vocabulary=tensors["token_embd.weight"].shape[0],
        epsilon=float(fields["llama.attention.layer_norm_rms_epsilon"]),
        base=float(fields.get("llama.rope.freq_base", 10_000.0)),
    )
    unknown = {name for name in tensors if not known(name)}
    if unknown:
        raise SetupError(f"{str(path)!r} holds {min(unknown)!r}, which training does not know")
    return Weights(shape, tensors)


def known(name: str) -> bool:
    """Whether a tensor is one of those that a plain Llama has."""
    if name.startswith("blk."):
        part = name.split(".", 2)[2]
        return part.removesuffix(".weight") in (*ADAPTED, *NORMS) and part.endswith(".weight")
    return name in ("token_embd.weight", "output_norm.weight", "output.weight")


class Llama:
    """Next-token logits of the model and its adapter. The base stands still; `adapter` is what learns.

    `precision`: of the base's matrix products; the adapter, the norms and the loss are 32-bit floats throughout.
    """

    def __init__(self, weights: Weights, *, rank: int = 0, alpha: float = 0.0, seed: int = 0, device: str = "cpu",
                 precision: str = "float32") -> None:  # fmt: skip
        torch = torch_module()
        self.shape = weights.shape
        self.device = torch.device(device)
        self.scale = alpha / rank if rank else 0.0
        dtype = getattr(torch, precision)
        matrices = {f"blk.{layer}.{name}.weight" for layer in range(self.shape.layers) for name in ADAPTED}
        self._tensors: dict[str, Tensor] = {
            name: torch.from_numpy(values).to(self.device, dtype if name in matrices else torch.float32)
            for name, values in weights.tensors.items()
        }
        self._head = self._tensors.get("output.weight", self._tensors["token_embd.weight"]).to(dtype)
        self.adapter: dict[str, Tensor] = {}
        made = torch.Generator().manual_seed(seed)
        for name in sorted(matrices) if rank else ():
            wide, deep = weights.tensors[name].shape
            # The second factor is nothing at first, so that training begins at the base itself (Hu et al. 2021, LoRA).
            start = torch.randn(rank, deep, generator=made) / math.sqrt(deep)
            self.adapter[f"{name}.lora_a"] = start.to(self.device).requires_grad_()
            self.adapter[f"{name}.lora_b"] = torch.zeros(wide, rank, device=self.device).requires_grad_()

    def logits(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        sees: Tensor,
        wanted: Sequence[int],
        *,
        recompute: bool = False,
    ) -> Tensor:
        """Logits after each of the places `wanted` in `tokens`, as (wanted, vocabulary) 32-bit floats.

        `positions`: of each token in its own text. `sees[i, j]`: whether token i may attend to token j. `recompute`:
        layers are computed again for the gradients, which takes a third longer and a fraction of the memory.
        """
        torch = torch_module()
        # The first layer's input must ask for gradients where layers are computed again, or none would flow.
        hidden = self._tensors["token_embd.weight"][torch.tensor(list(tokens), device=self.device)]
        turn = self._turn(positions)
        for layer in range(self.shape.layers):
            if recompute:
                from torch.utils.checkpoint import checkpoint

                hidden = checkpoint(self._layer, hidden, layer, turn, sees, use_reentrant=False)
            else:
                hidden = self._layer(hidden, layer, turn, sees)
        last = self._norm(hidden[torch.tensor(list(wanted), device=self.device)], "output_norm.weight")
        return (last.to(self._head.dtype) @ self._head.T).float()

    def _layer(self, hidden: Tensor, layer: int, turn: tuple[Tensor, Tensor], sees: Tensor) -> Tensor:
        from torch.nn import functional

        name = f"blk.{layer}."
        shape = self.shape
        seen = self._norm(hidden, f"{name}attn_norm.weight")
        query = self._turned(self._linear(seen, f"{name}attn_q.weight").view(-1, shape.heads, shape.head), turn)
        key = self._turned(self._linear(seen, f"{name}attn_k.weight").view(-1, shape.kv_heads, shape.head), turn)
        value = self._linear(seen, f"{name}attn_v.weight").view(-1, shape.kv_heads, shape.head)
        groups = shape.heads // shape.kv_heads
        mixed = functional.scaled_dot_product_attention(
            query.transpose(0, 1)[None],
            key.transpose(0, 1).repeat_interleave(groups, 0)[None],
            value.transpose(0, 1).repeat_interleave(groups, 0)[None],
            attn_mask=sees,
        )[0]
        hidden = hidden + self._linear(mixed.transpose(0, 1).flatten(1), f"{name}attn_output.weight")
        seen = self._norm(hidden, f"{name}ffn_norm.weight")
        gate = functional.silu(self._linear(seen, f"{name}ffn_gate.weight"))
        return hidden + self._linear(gate * self._linear(seen, f"{name}ffn_up.weight"), f"{name}ffn_down.weight")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        weight = self._tensors[name]
        out = (x.to(weight.dtype) @ weight.T).float()
        if not self.adapter:
            return out
        return out + self.scale * ((x @ self.adapter[f"{name}.lora_a"].T) @ self.adapter[f"{name}.lora_b"].T)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + self.shape.epsilon).rsqrt() * self._tensors[name]

    def _turn(self, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the rotary angles. Source: Su et al. 2021, RoFormer."""
        torch = torch_module()
        half = torch.arange(0, self.shape.head, 2, dtype=torch.float64) / self.shape.head
        angles = torch.tensor(list(positions), dtype=torch.float64)[:, None] / self.shape.base**half
        return angles.cos().float().to(self.device)[:, None], angles.sin().float().to(self.device)[:, None]

    @staticmethod
    def _turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """(tokens, heads, head width) with neighbouring numbers turned as a pair, as llama.cpp lays Llamas out."""
        torch = torch_module()
        cosine, sine = turn
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2)
