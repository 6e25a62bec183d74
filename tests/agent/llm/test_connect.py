"""The one string that names a model."""

from __future__ import annotations

import pytest

from agent.errors import SetupError, Unavailable
from agent.llm.base import Message
from agent.llm.connect import BACKENDS, HOSTED_TIMEOUT_S, LOCAL_TIMEOUT_S, connect
from agent.llm.isolated import Isolated
from agent.llm.openai import OpenAI
from agent.llm.scripted import NoModel


@pytest.mark.parametrize("spec", ["", "gpt-5", "builtin:x", "none:", "gguf", "gguf:", "hf:", "openai", "Builtin"])
def test_an_unknown_spec_lists_the_valid_forms(spec, tmp_path):
    if spec == "none:":
        assert isinstance(connect(spec, cache=tmp_path), NoModel)
        return
    with pytest.raises(SetupError) as caught:
        connect(spec, cache=tmp_path)
    assert all(backend.form in str(caught.value) for backend in BACKENDS.values())


def test_no_model_is_unavailable_whatever_is_asked(tmp_path):
    llm = connect("none", cache=tmp_path)
    chat = [Message("user", "Hello")]
    for ask in (
        lambda: llm.generate([chat]),
        lambda: llm.generate([]),
        lambda: list(llm.stream(chat)),
        lambda: llm.choose([chat], ["a"]),
        lambda: llm.count_tokens("x"),
    ):
        with pytest.raises(Unavailable, match="templates answer"):
            ask()
    llm.close()


def test_a_server_of_ones_own(tmp_path):
    llm = connect("openai:http://127.0.0.1:9/v1#qwen:7b", cache=tmp_path, context=512)
    assert isinstance(llm, OpenAI)
    assert (llm.name, llm.context) == ("qwen:7b", 512)
    llm.close()


def test_a_server_without_a_model(tmp_path):
    with pytest.raises(SetupError, match="#MODEL"):
        connect("openai:http://127.0.0.1:9/v1", cache=tmp_path)


def test_a_hosted_model(tmp_path):
    llm = connect("openai:gpt-x", cache=tmp_path, api_key="k")
    assert llm.name == "gpt-x"
    llm.close()


@pytest.mark.parametrize(("given", "waits"), [(None, HOSTED_TIMEOUT_S), (7.0, 7.0)])
def test_how_long_a_hosted_model_is_waited_for(given, waits, tmp_path):
    llm = connect("openai:gpt-x", cache=tmp_path, api_key="k", timeout_s=given)
    assert isinstance(llm, OpenAI)
    assert llm._timeout_s == waits
    llm.close()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SetupError, match="no model file"):
        connect(f"gguf:{tmp_path}/x.gguf", cache=tmp_path)


@pytest.mark.model
def test_the_built_in_model(model_file):
    llm = connect("builtin", cache=model_file.parent, context=256, threads=1)
    assert isinstance(llm, Isolated)
    assert llm._timeout_s == LOCAL_TIMEOUT_S
    assert llm.name.startswith("SmolLM2-135M-Instruct+writer.")
    assert llm.generate([[Message("user", "Hello")]], max_tokens=4)[0].text
    llm.close()
