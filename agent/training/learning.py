"""The training loop: a low-rank adapter learns examples, with an estimate first, checkpoints, and an early stop.

Knows packs of tokens; knows no prompt, no person and no file format but that of its checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from agent.errors import SetupError
from agent.training.batches import Pack, Tokens, packs
from agent.training.llama import Llama, Weights, torch_module

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor  # pyright: ignore[reportMissingImports]

MEASURED_STEPS = 3
"""Steps that the estimate of a whole run rests on; the first of them is not counted, it also warms up."""
CHECKPOINT = "checkpoint.safetensors"
FINAL_RATE = 0.1
"""Share of the learning rate that is left at the end."""


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """How an adapter learns. Two runs with the same recipe and examples on one machine are the same."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    rate: float = Field(default=1e-3, gt=0)
    """Highest learning rate, after a warm-up of a twentieth of the steps; then it falls as a cosine."""
    epochs: int = Field(default=2, ge=1)
    pack_tokens: int = Field(default=1600, ge=64)
    pack_examples: int = Field(default=16, ge=1)
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradients."""
    check_every: int = Field(default=20, ge=1)
    """Steps between looks at unseen examples; after each, a checkpoint is kept."""
    check_packs: int = Field(default=8, ge=1)
    """How many packs of them are looked at."""
    patience: int = Field(default=6, ge=1)
    """Looks in a row without a better one after which it stops."""
    seed: int = 0
    recompute: bool = False
    """Compute layers again for the gradients: a third slower, a fraction of the memory."""
    precision: str = Field(default="float32", pattern="float32|bfloat16")
    """Of matrix products."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is going to take, from its first steps."""

    steps: int
    tokens: int
    tokens_a_second: float
    seconds: float
    peak_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.steps} steps of {self.tokens // max(1, self.steps)} tokens at {self.tokens_a_second:.0f} tokens a "
            f"second: about {self.seconds / 60:.0f} minutes, {self.peak_bytes / 2**30:.1f} GiB of memory"
        )


@dataclass(frozen=True, slots=True)
class Point:
    """One look at how it goes."""

    step: int
    loss: float
    """Of the training packs since the last look, per token of an answer."""
    unseen: float
    """Of examples that are not trained on."""


@dataclass
class Course:
    """What happened in a run so far; kept in the checkpoint."""

    steps: int
    """Planned."""
    step: int = 0
    points: list[Point] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = ""

    @property
    def best(self) -> Point | None:
        return min(self.points, key=lambda one: one.unseen, default=None)

    def worse_for(self) -> int:
        """Looks since the best one."""
        best = self.best
        return len(self.points) - 1 - self.points.index(best) if best else 0


@dataclass(frozen=True)
class Learned:
    """The adapter of the best look, and how it went."""

    tensors: dict[str, np.ndarray]
    course: Course
    before: float
    """Loss on unseen examples before the first step."""


Progress = Callable[[Course], None]


class Learner:
    """A run in `folder`, which may have begun before: what is kept there is gone on with.

    Raises SetupError when `folder` holds a run
    with another recipe or other examples.
    """

    def __init__(
        self,
        weights: Weights,
        training: Sequence[Tokens],
        watched: Sequence[Tokens],
        recipe: Recipe,
        folder: Path,
        *,
        device: str = "cpu",
    ) -> None:
        if not training or not watched:
            raise SetupError("there are no examples to train on or none to measure with")
        torch = torch_module()
        self._torch = torch
        self._recipe, self._folder = recipe, folder
        self._model = Llama(
            weights,
            rank=recipe.rank,
            alpha=recipe.alpha,
            seed=recipe.seed,
            device=device,
            precision=recipe.precision,
        )
        self._training, self._watched = training, self._packed(watched, recipe.seed)[: recipe.check_packs]
        self._parts = self._model.adapter
        self._optimiser = torch.optim.AdamW(list(self._parts.values()), lr=recipe.rate, weight_decay=0.0)
        self._mark = digest(recipe, training, watched)
        self._best = self._adapter()
        self._before = math.nan
        self._epoch: tuple[int, list[Pack]] = (0, [])
        self.course = Course(steps=0)
        self._resume()

    @property
    def device(self) -> str:
        return str(self._model.device)

    def estimate(self, minutes: float | None = None) -> Estimate:
        """Measure a few steps, undo them, and plan the run so that it takes about `minutes` at most.

        A run that is gone on with keeps its plan.
        """
        first = self._packed(self._training, self._recipe.seed)
        per_epoch = len(first)
        kept, moments = self._adapter(), deepcopy(self._optimiser.state_dict())
        seconds, tokens = 0.0, 0
        for number, pack in enumerate((first * MEASURED_STEPS)[:MEASURED_STEPS]):
            started = time.perf_counter()
            self._learn(pack, 0.0)
            if number:
                seconds += time.perf_counter() - started
                tokens += len(pack.tokens)
        self._optimiser.load_state_dict(moments)
        self._load(kept)
        rate = tokens / seconds
        mean = sum(len(one.tokens) for one in first) / per_epoch
        # Looks at unseen examples are forward passes only: about a third of a step each.
        looks = sum(len(one.tokens) for one in self._watched) / 3 / self._recipe.check_every
        steps = self.course.steps or self._recipe.epochs * per_epoch
        if minutes is not None and not self.course.steps:
            steps = max(1, min(steps, int(minutes * 60 * rate / (mean + looks))))
        self.course.steps = steps
        left = steps - self.course.step
        return Estimate(steps, int(steps * mean), rate, left * (mean + looks) / rate, peak_memory(self._torch))

    def run(self, progress: Progress | None = None) -> Learned:
        """Learn until the plan is done or nothing gets better. `estimate` comes first."""
        if not self.course.steps:
            raise SetupError("a run is planned before it begins: see `estimate`")
        if math.isnan(self._before):
            self._before = self.unseen_loss()
        started, earlier = time.perf_counter(), self.course.seconds
        sums, counted = 0.0, 0
        while self.course.step < self.course.steps and not self.course.stopped:
            pack = self._pack_of(self.course.step)
            sums += self._learn(pack, self._rate(self.course.step))
            counted += 1
            self.course.step += 1
            self.course.seconds = earlier + time.perf_counter() - started
            if self.course.step % self._recipe.check_every == 0 or self.course.step == self.course.steps:
                self.course.points.append(Point(self.course.step, sums / counted, self.unseen_loss()))
                sums, counted = 0.0, 0
                self._look()
            if progress:
                progress(self.course)
        return Learned({name: values.numpy() for name, values in self._best.items()}, self.course, self._before)

    def unseen_loss(self) -> float:
        """Mean loss per token of the answers to unseen examples."""
        with self._torch.no_grad():
            losses = [(float(self._loss(pack)), len(pack.answers)) for pack in self._watched]
        return sum(loss * count for loss, count in losses) / sum(count for _, count in losses)

    def _look(self) -> None:
        if self.course.best == self.course.points[-1]:
            self._best = self._adapter()
        elif self.course.worse_for() >= self._recipe.patience:
            self.course.stopped = f"no better for {self._recipe.patience} looks"
        self._keep()

    def _learn(self, pack: Pack, rate: float) -> float:
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        loss = self._loss(pack)
        loss.backward()
        self._torch.nn.utils.clip_grad_norm_(list(self._parts.values()), self._recipe.clip)
        self._optimiser.step()
        return float(loss.detach())

    def _loss(self, pack: Pack) -> Tensor:
        torch = self._torch
        logits = self._model.logits(
            pack.tokens,
            pack.shared,
            pack.own,
            pack.wanted,
            recompute=self._recipe.recompute and torch.is_grad_enabled(),
        )
        answers = torch.tensor(pack.answers, device=self._model.device)
        return torch.nn.functional.cross_entropy(logits, answers)

    def _rate(self, step: int) -> float:
        steps, warm = self.course.steps, max(1, self.course.steps // 20)
        if step < warm:
            return self._recipe.rate * (step + 1) / warm
        done = (step - warm) / max(1, steps - warm)
        return self._recipe.rate * (FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * done)) / 2)

    def _packed(self, examples: Sequence[Tokens], seed: int) -> list[Pack]:
        return list(packs(examples, seed, tokens=self._recipe.pack_tokens, most=self._recipe.pack_examples))

    def _pack_of(self, step: int) -> Pack:
        """The pack of a step, the same whenever it is asked for; another order in every epoch."""
        start, packs_of = self._epoch
        if not start <= step < start + len(packs_of):
            start, packs_of, epoch = 0, list[Pack](), 0
            while step >= start + len(packs_of):
                start += len(packs_of)
                packs_of = self._packed(self._training, self._recipe.seed * 1000 + epoch)
                epoch += 1
            self._epoch = (start, packs_of)
        return packs_of[step - start]

    # What is kept

    def _adapter(self) -> dict[str, Tensor]:
        return {name: values.detach().to("cpu", copy=True) for name, values in self._parts.items()}

    def _load(self, tensors: dict[str, Tensor]) -> None:
        with self._torch.no_grad():
            for name, values in self._parts.items():
                values.copy_(tensors[name])

    def _keep(self) -> None:
        """The checkpoint, whole or not at all."""
        from safetensors.torch import save_file

        self._folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"now.{name}": values for name, values in self._adapter().items()}
        tensors |= {f"best.{name}": values for name, values in self._best.items()}
        for name, part in self._parts.items():
            state = self._optimiser.state[part]
            tensors |= {f"{key}.{name}": state[key].detach().cpu() for key in ("exp_avg", "exp_avg_sq")}
            tensors[f"step.{name}"] = self._torch.tensor(float(state["step"]))
        course = json.dumps({**asdict(self.course), "before": self._before})
        made = self._folder / f"{CHECKPOINT}.part"
        save_file(tensors, made, metadata={"mark": self._mark, "course": course})
        os.replace(made, self._folder / CHECKPOINT)

    def _resume(self) -> None:
        from safetensors import safe_open

        path = self._folder / CHECKPOINT
        if not path.exists():
            return
        with safe_open(path, "pt") as file:
            about = file.metadata()
            if about["mark"] != self._mark:
                raise SetupError(
                    f"{self._folder} holds a run with another recipe or other examples: name another folder"
                )
            tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        course = json.loads(about["course"])
        self._before = course.pop("before")
        self.course = Course(**{**course, "points": [Point(**one) for one in course["points"]]})
        self._load({name: tensors[f"now.{name}"] for name in self._parts})
        self._best = {name: tensors[f"best.{name}"] for name in self._parts}
        for name, part in self._parts.items():
            self._optimiser.state[part] = {
                "step": tensors[f"step.{name}"],
                **{key: tensors[f"{key}.{name}"].to(part.device) for key in ("exp_avg", "exp_avg_sq")},
            }


def digest(recipe: Recipe, training: Sequence[Tokens], watched: Sequence[Tokens]) -> str:
    """Changes whenever the recipe or an example does."""
    found = hashlib.sha256(recipe.model_dump_json().encode())
    for one in (*training, *watched):
        found.update(repr((one.prompt, one.answer)).encode())
    return found.hexdigest()


def peak_memory(torch: Any) -> int:
    """Bytes that this process, or the accelerator, held at most."""
    import resource
    import sys

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def curve(course: Course, width: int = 640, height: int = 320) -> str:
    """The losses of a run as an SVG picture: training and unseen, by step."""
    points = course.points
    top = max((max(one.loss, one.unseen) for one in points), default=1.0) * 1.05
    last = max((one.step for one in points), default=1)

    def line(values: Sequence[tuple[int, float]], colour: str) -> str:
        places = " ".join(
            f"{40 + step / last * (width - 60):.1f},{height - 30 - value / top * (height - 50):.1f}"
            for step, value in values
        )
        return f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{places}"/>'

    def text(x: float, y: float, words: str, anchor: str = "start") -> str:
        return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>'

    marks = [text(36, height - 30 - share * (height - 50), f"{share * top:.2f}", "end") for share in (0, 0.5, 1)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
            'font-size="11">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            f'<path d="M40 20V{height - 30}H{width - 20}" fill="none" stroke="black"/>',
            *marks,
            text(width - 20, height - 12, f"{last} steps", "end"),
            line([(one.step, one.loss) for one in points], "#1f77b4"),
            line([(one.step, one.unseen) for one in points], "#d62728"),
            text(60, 16, "loss per token: training (blue), unseen (red)"),
            "</svg>",
            "",
        ]
    )
