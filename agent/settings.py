"""What can be set: defaults < rapport.toml in the home < environment (RAPPORT_…) < command line.

Each field says what it means; nothing here is read when a module is imported.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from agent.errors import SetupError
from agent.types import Language

FILE = "rapport.toml"
Folder = Annotated[Path, AfterValidator(Path.expanduser)]


class Settings(BaseSettings):
    # An empty variable is one that is not set: RAPPORT_HOME= must not put state into the current folder.
    model_config = SettingsConfigDict(env_prefix="RAPPORT_", env_ignore_empty=True, extra="forbid", frozen=True)

    home: Folder = Field(default_factory=lambda: user_data_path("rapport"))
    """Where state lives: the database, the index, rapport.toml, the gate. Cannot be set in rapport.toml."""
    cache: Folder = Field(default_factory=lambda: user_cache_path("rapport"))
    """Where model files that were made or downloaded lie; everything in it can be made again."""
    llm: str = "builtin"
    """builtin · gguf:/path/file.gguf · hf:OWNER/REPO:FILE, each of them also with +ADAPTER · openai:MODEL ·
    openai:http://host:port/v1#MODEL · none"""
    driver: Literal["auto", "guided", "agent"] = "auto"
    """Who leads a turn of the conversation: a fixed plan, or a model with tools; auto = as the model is able to."""
    embedder: str = "builtin"
    """builtin · gguf:/path/file.gguf · openai:MODEL · openai:http://host:port/v1#MODEL · hashing (no model)"""
    database: str = ""
    """A database URL, e.g. postgresql+psycopg://host/name; empty = an SQLite file in the home."""
    busy_s: float = Field(default=30.0, gt=0)
    """How long a write waits for another process that writes to the database; `rapport serve` waits 5 s at most."""
    api_key: str = Field(default="", repr=False)
    """For openai: models; empty = OPENAI_API_KEY."""
    context: int = Field(default=4096, ge=512)
    """Tokens of prompt and answer together, for models that run here."""
    threads: int | None = Field(default=None, ge=1)
    """Processor threads for models that run here; empty = chosen by the engine."""
    timeout_s: float | None = Field(default=None, gt=0)
    """Longest wait for one answer, retries included; empty = a minute for hosted models, five for those that run here.
    Work that nobody waits for (`rapport tag`) has no such limit on a model that runs here."""
    concurrency: int = Field(default=4, ge=1)
    """Requests at a time to a hosted model; `rapport tag` raises it to its number of workers."""
    price_in: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens of prompts, for budgets; empty = looked up where prices are installed."""
    price_out: float | None = Field(default=None, ge=0)
    """The same for answers."""
    language: Language = "en"
    """For people who write nothing themselves."""
    domain: str = ""
    """The catalogue's word for one item, e.g. film; empty = what the importer recognised, else "item"."""

    interactions: Literal["liked", "had"] = "liked"
    """Which of a person's own items pull what goes with them: those that were not disliked, or all that were had."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The file lies in the home, which the command line or the environment may name.
        home = init_settings().get("home") or env_settings().get("home") or user_data_path("rapport")
        file = TomlConfigSettingsSource(settings_cls, Path(home).expanduser() / FILE)
        if "home" in file.toml_data:
            raise ValueError("home is where this file lies: use --home or RAPPORT_HOME")
        return init_settings, env_settings, file

    @property
    def database_file(self) -> Path:
        """The SQLite file, which is used unless `database` names another."""
        return self.home / "rapport.db"

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.database_file}"

    @property
    def index_folder(self) -> Path:
        return self.home / "index"

    @property
    def fusion_file(self) -> Path:
        return self.home / "fusion.json"

    @property
    def collaborative_file(self) -> Path:
        return self.home / "collaborative.npz"

    @property
    def adapters_folder(self) -> Path:
        """What `rapport train` made."""
        return self.home / "adapters"

    @property
    def gate_file(self) -> Path:
        return self.home / "gate.json"


def keep(home: Path, name: str, value: str) -> Path:
    """Write one setting into the home's rapport.toml, leaving the others as they are; returns the file.

    Raises SetupError when it cannot be written.
    """
    path = home / FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if line.partition("=")[0].strip() != name]
        # A JSON string is a TOML basic string. New settings go first, before any table heading.
        new = f"{name} = {json.dumps(value, ensure_ascii=False)}"
        draft = path.with_suffix(".new")
        # It may hold a key: only the owner may read it.
        draft.touch(mode=0o600)
        draft.write_text("\n".join([new, *kept]) + "\n", encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from error
    return path


def load(**given: Any) -> Settings:
    """The settings, with those of `given` that are not None over everything else. Raises SetupError."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            raise SetupError(f"there is no setting {where!r}; there are {', '.join(Settings.model_fields)}") from error
        raise SetupError(f"setting {where!r}: {problem['msg']}") from error
    except (OSError, ValueError) as error:
        raise SetupError(f"{FILE} cannot be read: {error}") from error
