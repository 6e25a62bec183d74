"""One training run from end to end: examples, an estimate, learning, the adapter's file, and what it changed.

The only module here that opens models and writes into the home.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from agent.errors import SetupError, UsageError
from agent.llm import weights
from agent.llm.adapters import NAME, About, Base, merged, run_folder, write
from agent.llm.llamacpp import LlamaCpp
from agent.settings import Settings
from agent.training import judging, reading, wording
from agent.training.batches import Tokens, tokens_of
from agent.training.examples import Examples, Skill, mixed
from agent.training.learning import Course, Estimate, Learner, Recipe, curve
from agent.training.llama import Llama, read, torch_module
from agent.training.measure import Measured, measure
from agent.training.parity import TOLERANCE, largest_difference
from agent.wiring import Rapport

COUNTS: dict[Skill, tuple[int, int]] = {"wording": (3600, 300), "reading": (3000, 300), "judging": (2000, 300)}
"""Examples to train on and to measure with, unless told otherwise."""
COMPARED = 6
"""Prompts on which PyTorch and llama.cpp are compared."""
CONTEXT = 2048

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained."""

    skills: tuple[Skill, ...]
    name: str
    base: str = "builtin"
    """builtin, smollm2, gguf:/path or hf:OWNER/REPO:FILE: the model that the adapter is for."""
    count: int | None = None
    """Examples of each skill; None = COUNTS."""
    held: int | None = None
    minutes: float | None = 60.0
    """How long it may take, about; None = as long as the epochs do."""
    measured: int = 60
    """Examples held back that the served model is asked, before and after; 0 = none."""
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class Report:
    """What came of it."""

    adapter: Path
    curve: Path
    course: Course
    before_loss: float
    difference: float
    """Largest one between PyTorch and llama.cpp, in nats."""
    before: Measured | None
    after: Measured | None


def train(rapport: Rapport, order: Order, say: Say, progress: Callable[[Course], None] | None = None) -> Report:
    """The adapter of `order` in the home. Run again after an interruption it goes on from the last checkpoint.

    Raises SetupError, UsageError, and LLMError from measuring.
    """
    settings = rapport.settings
    base = weights.base(order.base)
    served = weights_of(base, settings)
    examples = gathered(rapport, order)
    say(f"{len(examples.training)} examples to train on, {len(examples.held)} held back")
    training, watched, before = prepared(served, examples, order)
    folder = run_folder(settings.adapters_folder, order.name)
    learner = planned(served, training, watched, order, folder)
    say(f"{learner.device}: {learner.estimate(order.minutes)}")
    learned = learner.run(progress)
    adapter = settings.adapters_folder / f"{order.name}.gguf"
    best = learned.course.best
    recipe = order.recipe.model_dump() | {
        "training": len(training),
        "watched": len(watched),
        "steps": learned.course.step,
        "seconds": round(learned.course.seconds),
        "loss_before": round(learned.before, 4),
        "loss_after": round(best.unseen, 4) if best else None,
    }
    about = About(
        skill="+".join(order.skills),
        base=base.identity,
        prompts=examples.prompts(),
        alpha=order.recipe.alpha,
        rank=order.recipe.rank,
        histories="judging" in order.skills,
        recipe=recipe,
    )
    write(adapter, learned.tensors, about)
    picture = folder / "loss.svg"
    picture.write_text(curve(learned.course), encoding="utf-8")
    say(f"written: {adapter}, {picture}")
    del learner
    gc.collect()
    difference = compared(base, adapter, settings, watched, order.recipe)
    say(f"PyTorch and llama.cpp differ by {difference:.3f} nats at most (up to {TOLERANCE} is rounding)")
    after = after_training(base, adapter, settings, examples, order)
    report = Report(adapter, picture, learned.course, learned.before, difference, before, after)
    (folder / "report.json").write_text(json.dumps(as_json(report), indent=2), encoding="utf-8")
    if difference > TOLERANCE:
        raise SetupError(f"{adapter} was trained, but llama.cpp answers otherwise than it was trained: do not use it")
    return report


def foretell(rapport: Rapport, order: Order) -> Estimate:
    """What `train` would take, from its first steps; writes nothing."""
    base = weights_of(weights.base(order.base), rapport.settings)
    training, watched, _ = prepared(base, gathered(rapport, order), order, measured=False)
    folder = run_folder(rapport.settings.adapters_folder, order.name)
    return planned(base, training, watched, order, folder).estimate(order.minutes)


def gathered(rapport: Rapport, order: Order) -> Examples:
    """The examples of every skill of `order`."""
    if not order.skills or not NAME.fullmatch(order.name):
        raise UsageError(f"{order.name!r} names no adapter: small letters, digits and hyphens, and at least one skill")
    parts = [made(rapport, skill, order) for skill in order.skills]
    seed = order.recipe.seed
    return Examples(
        mixed([one.training for one in parts], seed),
        mixed([one.watched for one in parts], seed),
        mixed([one.held for one in parts], seed),
    )


def made(rapport: Rapport, skill: Skill, order: Order) -> Examples:
    usual, usual_held = COUNTS[skill]
    count = usual if order.count is None else order.count
    held = usual_held if order.held is None else order.held
    if skill == "wording":
        return wording.examples(count, held, order.recipe.seed)
    if skill == "reading":
        return reading.examples(count, held, order.recipe.seed)
    found = judging.examples(rapport, count, held, order.recipe.seed)
    if not found.training or not found.held:
        raise UsageError("there is too little history to learn judging from: `rapport import`, then `rapport index`")
    return found


def skills(names: Sequence[str]) -> tuple[Skill, ...]:
    """The skills that `names` name, each once. Raises UsageError."""
    known = get_args(Skill)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"{unknown[0]!r} is no skill; there are {', '.join(known)}")
    return tuple(skill for skill in known if skill in names)


def weights_of(base: Base, settings: Settings) -> Path:
    """The file that holds `base` with the adapters that are part of it."""
    return merged(base, (), settings.cache) if base.adapters else base.path


def prepared(
    base: Path, examples: Examples, order: Order, *, measured: bool = True
) -> tuple[list[Tokens], list[Tokens], Measured | None]:
    """The examples in the engine's tokens, and what the model makes of those held back before it is trained."""
    with closing(LlamaCpp(base, context=CONTEXT)) as engine:
        training = [tokens_of(one, engine) for one in examples.training]
        watched = [tokens_of(one, engine) for one in examples.watched]
        some = examples.held[: order.measured] if measured else ()
        before = measure(engine, some, examples.training) if some else None
    return training, watched, before


def planned(base: Path, training: Sequence[Tokens], watched: Sequence[Tokens], order: Order, folder: Path) -> Learner:
    torch = torch_module()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Learner(read(base), training, watched, order.recipe, folder, device=device)


def compared(base: Base, adapter: Path, settings: Settings, watched: Sequence[Tokens], recipe: Recipe) -> float:
    """PyTorch with the adapter beside the weights against llama.cpp with the merged ones, in half floats."""
    torch = torch_module()
    model = Llama(read(weights_of(base, settings)), rank=recipe.rank, alpha=recipe.alpha)
    with torch.no_grad():
        for name, values in tensors_of(adapter).items():
            model.adapter[name].copy_(torch.from_numpy(values))
    file = merged(base, [adapter], settings.cache)
    return largest_difference(model, file, [one.prompt for one in watched[:COMPARED]])


def tensors_of(adapter: Path) -> dict[str, Any]:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    return {one.name: dequantize(one.data, one.tensor_type) for one in GGUFReader(adapter).tensors}


def after_training(base: Base, adapter: Path, settings: Settings, examples: Examples, order: Order) -> Measured | None:
    """What the served weights with the adapter make of the same examples as before."""
    from agent.llm import tiles

    if not order.measured:
        return None
    file = merged(base, [adapter], settings.cache, eight_bits=tiles.usable())
    with closing(LlamaCpp(file, context=CONTEXT)) as engine:
        return measure(engine, examples.held[: order.measured], examples.training)


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "adapter": str(report.adapter),
        "curve": str(report.curve),
        "course": asdict(report.course),
        "loss_before": report.before_loss,
        "difference": report.difference,
        "before": asdict(report.before) if report.before else None,
        "after": asdict(report.after) if report.after else None,
    }
