"""The built-in model, opened once for all tests that need it."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def model(model_file):
    from agent.llm.llamacpp import LlamaCpp

    llm = LlamaCpp(model_file, context=2048, threads=1)  # tests often share their cores with other work
    yield llm
    llm.close()


@pytest.fixture(scope="session")
def isolated_model(model_file):
    """The same in a process of its own."""
    from agent.llm.isolated import Isolated

    llm = Isolated(model_file, context=2048, threads=1)
    yield llm
    llm.close()
