from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent.errors import SetupError
from agent.settings import FILE, Settings, keep, load


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def write(home: Path, text: str) -> None:
    (home / FILE).write_text(text, encoding="utf-8")


def test_defaults_without_anything(monkeypatch):
    monkeypatch.delenv("RAPPORT_HOME")
    settings = load()
    assert (settings.llm, settings.embedder, settings.language, settings.context) == ("builtin", "builtin", "en", 4096)
    assert settings.home.name == "rapport"
    assert settings.database_url == f"sqlite:///{settings.home}/rapport.db"


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(home, monkeypatch):
    assert load(home=home).llm == "builtin"
    write(home, 'llm = "openai:file"\ncontext = 2048\nlanguage = "zh"\n')
    assert load(home=home).llm == "openai:file"
    monkeypatch.setenv("RAPPORT_LLM", "openai:environment")
    monkeypatch.setenv("RAPPORT_CONTEXT", "1024")
    assert load(home=home).llm == "openai:environment"
    found = load(home=home, llm="openai:line")
    assert (found.llm, found.context, found.language) == ("openai:line", 1024, "zh")


def test_the_file_is_looked_for_in_the_home_that_is_named(home, monkeypatch):
    write(home, 'llm = "none"\n')
    monkeypatch.setenv("RAPPORT_HOME", str(home))
    assert load().llm == "none"
    other = home / "other"
    other.mkdir()
    assert load(home=other).llm == "builtin"


def test_none_is_not_given(home):
    assert load(home=home, llm=None).llm == "builtin"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('colour = "red"\n', "there is no setting 'colour'; there are home, cache, llm"),
        ("[llms]\nx = 1\n", "there is no setting 'llms'"),
        ("context = 3\n", "setting 'context': .*512"),
        ('timeout_s = "soon"\n', "setting 'timeout_s'"),
        ('language = "fr"\n', "setting 'language'"),
        ("llm = \n", "rapport.toml cannot be read"),
        ('llm = "none"\nllm = "none"\n', "rapport.toml cannot be read"),
        ('home = "/elsewhere"\n', "home is where this file lies"),
    ],
)
def test_a_file_that_makes_no_sense_is_an_error_that_names_it(home, text, message):
    write(home, text)
    with pytest.raises(SetupError, match=message):
        load(home=home)


def test_a_file_that_is_no_text_is_an_error(home):
    (home / FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SetupError, match="cannot be read"):
        load(home=home)


def test_a_value_that_makes_no_sense_in_the_environment_is_an_error(home, monkeypatch):
    monkeypatch.setenv("RAPPORT_THREADS", "many")
    with pytest.raises(SetupError, match="'threads'"):
        load(home=home)


def test_an_empty_variable_is_one_that_is_not_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.setenv(f"RAPPORT_{name.upper()}", "")
    settings = load()
    assert settings.home.is_absolute()
    assert settings.threads is None


def test_a_tilde_is_the_home_of_the_account(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("RAPPORT_HOME", "~/rapport")
    assert load().home == Path("/somewhere/rapport")
    assert load(home=Path("~/x"), cache="~/y").cache == Path("/somewhere/y")


def test_a_key_is_not_shown():
    assert "secret" not in repr(load(api_key="secret"))


@pytest.mark.parametrize(
    "value", ["none", 'gguf:/tmp/a "b" \\c.gguf', "gguf:/tmp/模型 😀.gguf", "openai:http://h:1/v1#m", "gguf:/a#b=c"]
)
def test_what_is_kept_is_read_again(home, value):
    write(home, '# mine\ncontext = 1024\nllm = "old"\n')
    assert keep(home, "llm", value) == home / FILE
    keep(home, "llm", value)
    settings = load(home=home)
    assert (settings.llm, settings.context) == (value, 1024)
    assert "# mine" in (home / FILE).read_text(encoding="utf-8")
    assert stat.S_IMODE((home / FILE).stat().st_mode) == 0o600


def test_what_cannot_be_kept_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be written"):
        keep(tmp_path / "file" / "home", "llm", "none")
