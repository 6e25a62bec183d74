"""A tiny model learns, stops, goes on where it stopped, and answers the same in llama.cpp."""

from __future__ import annotations

import ctypes
import os
import random
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from agent.errors import SetupError
from agent.llm.adapters import About, Base, about, merged, write
from agent.llm.files import sha256
from agent.training.batches import Tokens, pack
from agent.training.learning import Course, Learner, Point, Recipe, curve
from agent.training.llama import Llama, read
from agent.training.parity import largest_difference, served

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="training needs PyTorch")

RECIPE = Recipe(
    rank=4, alpha=8.0, rate=0.01, epochs=3, pack_tokens=120, pack_examples=4, check_every=4, patience=50, seed=3
)
NUMBERS = (60, 64)
HEAD = (1, 50, 51, 52, 53, 54)


def examples(count: int, seed: int) -> list[Tokens]:
    """After a number comes the next one; before it a head that all begin with, and something that does not matter."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        number = rng.choice(NUMBERS)
        found.append(Tokens((*HEAD, rng.randint(150, 250), number, 55), (number + 1, 2), "next"))
    return found


@pytest.fixture(scope="module")
def learner(tiny, tmp_path_factory) -> Learner:
    learner = Learner(read(tiny), examples(48, 1), examples(12, 2), RECIPE, tmp_path_factory.mktemp("run"))
    learner.estimate()
    return learner


@pytest.fixture(scope="module")
def learned(learner):
    return learner.run()


def test_it_learns_what_it_was_not_shown(learned):
    best = learned.course.best
    assert best is not None
    assert best.unseen < 0.6 * learned.before


def test_a_pack_is_its_examples_one_by_one(tiny):
    import torch

    model = Llama(read(tiny), rank=4, alpha=8.0, seed=1)
    with torch.no_grad():
        for name, part in model.adapter.items():
            if name.endswith("lora_b"):
                part.normal_(generator=torch.Generator().manual_seed(5))
    first, second, third = examples(3, 7)
    three = [first, replace(second, answer=(*second.answer, *first.answer)), replace(third, prompt=third.prompt * 2)]

    def logits(packed):
        return model.logits(packed.tokens, packed.shared, packed.own, packed.wanted)

    together = logits(pack(three))
    apart = torch.cat([logits(pack([one])) for one in three])
    assert len(pack(three).tokens) < sum(len(pack([one]).tokens) for one in three)
    assert torch.allclose(together, apart, atol=1e-4)


def test_computing_layers_again_gives_the_same_gradients(tiny):
    import torch

    found = []
    for recompute in (False, True):
        model = Llama(read(tiny), rank=2, alpha=4.0, seed=1)
        one = pack(examples(2, 4))
        logits = model.logits(one.tokens, one.shared, one.own, one.wanted, recompute=recompute)
        torch.nn.functional.cross_entropy(logits, torch.tensor(one.answers)).backward()
        found.append(model.adapter["blk.0.attn_q.weight.lora_b"].grad)
    assert found[0].abs().max() > 0
    assert torch.allclose(*found)


def test_the_same_recipe_gives_the_same_adapter(tiny, learned, tmp_path):
    again = Learner(read(tiny), examples(48, 1), examples(12, 2), RECIPE, tmp_path)
    again.estimate()
    done = again.run()
    assert all(np.array_equal(done.tensors[name], values) for name, values in learned.tensors.items())


def test_a_stopped_run_goes_on_and_ends_the_same(tiny, learned, tmp_path):
    first = Learner(read(tiny), examples(48, 1), examples(12, 2), RECIPE, tmp_path)
    first.estimate()

    def stop(course: Course) -> None:
        if course.step == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(stop)
    second = Learner(read(tiny), examples(48, 1), examples(12, 2), RECIPE, tmp_path)
    assert second.course.step == 8  # the last look before it was stopped
    second.estimate()
    done = second.run()
    assert [one.step for one in done.course.points] == [one.step for one in learned.course.points]
    assert all(np.allclose(done.tensors[name], values, atol=1e-6) for name, values in learned.tensors.items())


def test_other_examples_do_not_go_on_with_a_run(tiny, tmp_path):
    first = Learner(read(tiny), examples(8, 1), examples(4, 2), RECIPE, tmp_path)
    first.estimate()
    first.run()
    with pytest.raises(SetupError, match="other examples"):
        Learner(read(tiny), examples(8, 9), examples(4, 2), RECIPE, tmp_path)


def test_it_stops_when_nothing_gets_better(tiny, tmp_path):
    # What is held back says the opposite of what is trained.
    contrary = [Tokens(one.prompt, (one.answer[0] + 5, 2), "next") for one in examples(12, 2)]
    recipe = RECIPE.model_copy(update={"patience": 2, "epochs": 40, "rate": 0.05})
    learner = Learner(read(tiny), examples(48, 1), contrary, recipe, tmp_path)
    learner.estimate()
    course = learner.run().course
    assert course.stopped
    assert course.step < course.steps


def test_a_time_limit_plans_fewer_steps(tiny, tmp_path):
    learner = Learner(read(tiny), examples(48, 1), examples(12, 2), RECIPE, tmp_path)
    assert learner.estimate(minutes=1e-9).steps == 1


def test_llama_cpp_answers_as_it_was_trained(tiny, learned, tmp_path):
    import torch

    adapter = tmp_path / "next.gguf"
    write(adapter, learned.tensors, About("wording", sha256(tiny), ("next.en@1-0",), RECIPE.alpha, RECIPE.rank))
    made = merged(Base(tiny), [adapter], tmp_path / "cache")
    model = Llama(read(tiny), rank=RECIPE.rank, alpha=RECIPE.alpha)
    with torch.no_grad():
        for name, part in model.adapter.items():
            part.copy_(torch.from_numpy(learned.tensors[name]))
    unseen = examples(12, 2)[:6]
    prompts = [one.prompt for one in unseen]
    assert largest_difference(model, made, prompts) < 0.05
    # And what was learned is there: the base says something else.
    sure = [int(served(made, prompt).argmax()) for prompt in prompts]
    assert sure == [one.answer[0] for one in unseen]
    assert len(set(sure)) == 2
    assert [int(served(tiny, prompt).argmax()) for prompt in prompts] != sure


def test_llama_cpp_loads_the_file_beside_the_base(tiny, learned, tmp_path):
    """Nobody has to merge: the file is llama.cpp's own format."""
    from agent.llm.decoder import Row
    from agent.llm.native import Native, library

    adapter = tmp_path / "next.gguf"
    write(adapter, learned.tensors, About("wording", sha256(tiny), (), RECIPE.alpha, RECIPE.rank))
    c, native = library(), Native(tiny, gpu_layers=0, repack=False)
    context = native.context(cells=256, threads=1)
    prompt = examples(12, 2)[0].prompt
    try:
        loaded = c.llama_adapter_lora_init(native._model, str(adapter).encode())
        assert loaded
        one = (c.llama_adapter_lora_p_ctypes * 1)(loaded)
        assert c.llama_set_adapters_lora(context._context, one, 1, (ctypes.c_float * 1)(1.0)) == 0
        rows = [Row(token, place, 0, place == len(prompt) - 1) for place, token in enumerate(prompt)]
        (logits,) = context.decode(rows)
        beside = np.array(logits, np.float64)
    finally:
        context.close()
        native.close()
    beside -= beside.max() + np.log(np.exp(beside - beside.max()).sum())
    within = served(merged(Base(tiny), [adapter], tmp_path / "cache"), prompt)
    likely = np.argsort(within)[-20:]
    assert np.abs(beside - within)[likely].max() < 0.05
    assert int(beside.argmax()) == examples(12, 2)[0].answer[0]


def test_an_adapter_says_what_it_is(tmp_path, learned):
    path = tmp_path / "a.gguf"
    mine = About("reading", "abc", ("sentiment.en@1-2dc6c027",), 32.0, 4, recipe={"steps": 3})
    write(path, learned.tensors, mine)
    assert about(path) == mine


def test_an_adapter_of_another_model_is_refused(tiny, tmp_path):
    path = tmp_path / "wide.gguf"
    tensors = {
        "blk.0.attn_q.weight.lora_a": np.zeros((2, 128), np.float32),
        "blk.0.attn_q.weight.lora_b": np.zeros((128, 2), np.float32),
    }
    write(path, tensors, About("wording", sha256(tiny), (), 4.0, 2))
    with pytest.raises(SetupError, match="another shape"):
        merged(Base(tiny), [path], tmp_path)
    write(path, {}, About("wording", "0", (), 4.0, 2))
    with pytest.raises(SetupError, match="another model"):
        merged(Base(tiny), [path], tmp_path)


def test_the_curve_is_a_picture_of_every_look():
    course = Course(40, 40, [Point(20, 2.0, 2.5), Point(40, 1.0, 1.5)])
    picture = curve(course)
    assert picture.count("<polyline") == 2
    assert "40 steps" in picture


def test_eight_bit_weights_are_merged_too(tiny, learned, tmp_path):
    adapter = tmp_path / "next.gguf"
    write(adapter, learned.tensors, About("wording", sha256(tiny), (), RECIPE.alpha, RECIPE.rank))
    made = merged(Base(tiny), [adapter], tmp_path / "cache", eight_bits=True)
    for one in examples(12, 2)[:2]:
        assert int(served(made, one.prompt).argmax()) == one.answer[0]
    assert made.name == f"tiny+next.Q8_0-{made.stem[-12:]}.gguf"


def test_an_adapter_can_stand_on_another(tiny, learned, tmp_path):
    """What is trained on a model that has an adapter already is added after that one, and fits nothing else."""
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    write(first, learned.tensors, About("wording", sha256(tiny), (), RECIPE.alpha, RECIPE.rank))
    trained = Base(tiny, (first,))
    assert trained.identity not in (sha256(tiny), Base(tiny).identity)
    undone = {name: -values if name.endswith("lora_b") else values for name, values in learned.tensors.items()}
    write(second, undone, About("wording", trained.identity, (), RECIPE.alpha, RECIPE.rank))
    both = merged(trained, [second], tmp_path / "cache")
    assert both.name.startswith("tiny+first+second.")
    prompt = examples(12, 2)[0].prompt
    assert np.allclose(served(both, prompt), served(merged(Base(tiny), [], tmp_path / "cache"), prompt), atol=0.05)
    assert np.abs(served(merged(trained, [], tmp_path / "cache"), prompt) - served(both, prompt)).max() > 0.5
    with pytest.raises(SetupError, match="another model"):
        merged(Base(tiny), [second], tmp_path / "cache")


def test_a_changed_base_is_merged_again(tiny, tmp_path):
    base = tmp_path / "tiny.gguf"
    base.write_bytes(tiny.read_bytes())
    before = merged(Base(base), [], tmp_path / "cache")
    os.utime(base, ns=(1, 1))
    assert merged(Base(base), [], tmp_path / "cache") != before


def test_where_it_lies(tmp_path: Path):
    from agent.llm.adapters import path_of

    with pytest.raises(SetupError, match="names no adapter"):
        path_of(tmp_path, "../x")
    with pytest.raises(SetupError, match="are none"):
        path_of(tmp_path, "mine")
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(SetupError, match="there are other"):
        path_of(tmp_path, "mine")
