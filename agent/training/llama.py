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
    from torch import Tensor  # pyright: ignore[reportMissingImports]

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
        import torch  # pyright: ignore[reportMissingImports]
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


@dataclass(frozen=True)
class Texts:
    """Which token of a row sees which, in the form that attention computes with."""

    shared: int
    """What every text begins with."""
    grid: Tensor
    """(texts, longest): places of each text's own tokens in the row, short ones filled up."""
    kept: Tensor
    """Where the own tokens of the row lie in the flattened grid."""
    before: Tensor
    """(shared, shared): minus infinity where a token would see a later one."""
    within: Tensor
    """(longest, longest): the same inside a text."""


def attention(query: Tensor, key: Tensor, value: Tensor, texts: Texts) -> Tensor:
    """What each token takes from those it sees. All (tokens, heads, head width); queries are scaled already.

    Scores against what is shared are one product for all texts, those inside a text one small product each: nothing is
    computed for pairs that do not see each other, which a mask over the whole row would do.
    """
    torch = torch_module()
    shared, (count, longest) = texts.shared, texts.grid.shape
    heads, head = query.shape[1:]
    lead_key, lead_value = key[:shared].transpose(0, 1), value[:shared].transpose(0, 1)
    lead = query[:shared].transpose(0, 1) @ lead_key.transpose(1, 2) + texts.before
    first = (lead.softmax(-1) @ lead_value).transpose(0, 1)
    if not count:
        return first
    mine, keys, values = (one[texts.grid].permute(2, 0, 1, 3) for one in (query, key, value))
    over = (mine.reshape(heads, count * longest, head) @ lead_key.transpose(1, 2)).view(heads, count, longest, shared)
    inside = mine @ keys.transpose(2, 3) + texts.within
    shares = torch.cat([over, inside], -1).softmax(-1)
    taken = shares[..., :shared].reshape(heads, count * longest, shared) @ lead_value
    taken = taken + (shares[..., shared:] @ values).reshape(heads, count * longest, head)
    return torch.cat([first, taken.transpose(0, 1)[texts.kept]])


def known(name: str) -> bool:
    """Whether a tensor is one of those that a plain Llama has."""
    if name.startswith("blk."):
        part = name.split(".", 2)[2]
        return part.removesuffix(".weight") in (*ADAPTED, *NORMS) and part.endswith(".weight")
    return name in ("token_embd.weight", "output_norm.weight", "output.weight")


class Llama:
    """Next-token logits of the model and its adapter. The base stands still; `adapter` is what learns.

    `precision`: of matrix products; the adapter's own values, the norms, sums and the loss are 32-bit floats.
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
        self, tokens: Sequence[int], shared: int, own: Sequence[int], wanted: Sequence[int], *, recompute: bool = False
    ) -> Tensor:
        """Logits after each of the places `wanted` in `tokens`, as (wanted, vocabulary) 32-bit floats.

        The first `shared` tokens are what every text begins with; then come the texts' own tokens, `own` of each in
        turn. A token sees what is shared and its own text, up to itself, at the place it would have if its text stood
        alone. `recompute`: layers are computed again for the gradients, which takes a third longer and a fraction of
        the memory.
        """
        torch = torch_module()
        # The first layer's input must ask for gradients where layers are computed again, or none would flow.
        hidden = self._tensors["token_embd.weight"][torch.tensor(list(tokens), device=self.device)]
        turn = self._turn([*range(shared), *(shared + place for count in own for place in range(count))])
        texts = self._texts(shared, own)
        for layer in range(self.shape.layers):
            if recompute:
                from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportMissingImports]

                hidden = checkpoint(self._layer, hidden, layer, turn, texts, use_reentrant=False)
            else:
                hidden = self._layer(hidden, layer, turn, texts)
        last = self._norm(hidden[torch.tensor(list(wanted), device=self.device)], "output_norm.weight")
        return (last.to(self._head.dtype) @ self._head.T).float()

    def _layer(self, hidden: Tensor, layer: int, turn: tuple[Tensor, Tensor], texts: Texts) -> Tensor:
        from torch.nn import functional  # pyright: ignore[reportMissingImports]

        name = f"blk.{layer}."
        shape, dtype = self.shape, self._head.dtype
        seen = self._norm(hidden, f"{name}attn_norm.weight").to(dtype)
        query = self._turned(self._linear(seen, f"{name}attn_q.weight").view(-1, shape.heads, shape.head), turn)
        key = self._turned(self._linear(seen, f"{name}attn_k.weight").view(-1, shape.kv_heads, shape.head), turn)
        value = self._linear(seen, f"{name}attn_v.weight").view(-1, shape.kv_heads, shape.head)
        groups = shape.heads // shape.kv_heads
        mixed = attention(
            query.to(dtype) / math.sqrt(shape.head),
            key.to(dtype).repeat_interleave(groups, 1),
            value.to(dtype).repeat_interleave(groups, 1),
            texts,
        )
        hidden = hidden + self._linear(mixed.flatten(1), f"{name}attn_output.weight")
        seen = self._norm(hidden, f"{name}ffn_norm.weight").to(dtype)
        gate = functional.silu(self._linear(seen, f"{name}ffn_gate.weight"))
        return hidden + self._linear(gate * self._linear(seen, f"{name}ffn_up.weight"), f"{name}ffn_down.weight")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        weight = self._tensors[name]
        if not self.adapter:
            return x @ weight.T
        down = self.adapter[f"{name}.lora_a"].to(weight.dtype)
        up = (self.scale * self.adapter[f"{name}.lora_b"]).to(weight.dtype)
        return torch_module().addmm(x @ weight.T, x @ down.T, up.T)

    def _texts(self, shared: int, own: Sequence[int]) -> Texts:
        torch = torch_module()
        dtype = self._head.dtype

        def later(size: int) -> Tensor:
            return torch.full((size, size), -math.inf, dtype=dtype, device=self.device).triu(1)

        longest, place = max(own, default=0), shared
        rows, kept = [], []
        for number, count in enumerate(own):
            # Short texts are filled up with their first token: nothing of theirs looks that far ahead.
            rows.append([*range(place, place + count), *([place] * (longest - count))])
            kept += range(number * longest, number * longest + count)
            place += count
        grid = torch.tensor(rows, dtype=torch.long, device=self.device).view(len(own), longest)
        return Texts(shared, grid, torch.tensor(kept, device=self.device), later(shared), later(longest))

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
