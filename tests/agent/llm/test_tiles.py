"""AMX is used only where the build, the processor and the system are known to bear it."""

from __future__ import annotations

import types

import numpy as np
import pytest

from agent.llm import tiles, weights


@pytest.fixture
def known(monkeypatch):
    """A build of llama.cpp on a machine, as one makes them up; tiles.usable() judges it anew."""

    def put(info: bytes, *, marked: bool, granted: bool, machine: str = "x86_64"):
        library = types.SimpleNamespace(llama_print_system_info=lambda: info, _lib=types.SimpleNamespace())
        if marked:
            setattr(library._lib, tiles._MARK, 1)
        monkeypatch.setattr(tiles, "library", lambda: library)
        monkeypatch.setattr(tiles.platform, "system", lambda: "Linux")
        monkeypatch.setattr(tiles.platform, "machine", lambda: machine)
        system = types.SimpleNamespace(syscall=lambda *order: 0 if granted else -1)
        monkeypatch.setattr(tiles.ctypes, "CDLL", lambda name: system)
        tiles.usable.cache_clear()

    yield put
    tiles.usable.cache_clear()


AMX, OTHER = b"AVX512 = 1 | AMX_INT8 = 1 | ", b"AVX512 = 1 | "


def test_where_everything_is_as_it_should_be(known):
    known(AMX, marked=True, granted=True)
    assert tiles.usable()


@pytest.mark.parametrize(
    "missing",
    [
        {"info": AMX, "marked": False, "granted": True},
        {"info": AMX, "marked": True, "granted": False},
        {"info": OTHER, "marked": True, "granted": True},
        {"info": AMX, "marked": True, "granted": True, "machine": "aarch64"},
    ],
    ids=["another build", "refused by the system", "no such kernels", "another processor"],
)
def test_where_anything_is_missing(known, missing):
    known(**missing)
    assert not tiles.usable()


@pytest.mark.model
def test_the_shipped_layout_is_computed_here_whatever_was_decided(model_file):
    """On the library that is installed: the kernels are used or left alone, and the model answers, also together."""
    from agent.llm.base import Message
    from agent.llm.llamacpp import LlamaCpp

    shipped = weights.package_file(weights.BUILTIN_PACKAGE, weights.BUILTIN_FILE, install="make install")
    llm = LlamaCpp(shipped, context=1024, threads=1)
    try:
        chats = [[Message("user", f"What is {n} and {n}? Answer in one word.")] for n in range(8)]
        alone = [llm.choose([chat], ["Yes", "No"])[0] for chat in chats]
        together = llm.choose(chats, ["Yes", "No"])
        for one, other in zip(alone, together, strict=True):
            assert np.exp(one) == pytest.approx(np.exp(other), abs=0.15)
        assert all(done.text.strip() for done in llm.generate(chats, max_tokens=8))
    finally:
        llm.close()
