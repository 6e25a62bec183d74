"""The tree is what DESIGN and the README say: imports point down, and what is costly is imported where it is used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("agent", "prompts", "vectorstore", "eval")
MAY_IMPORT = {
    "prompts": set(),
    "vectorstore": set(),
    "agent": {"prompts", "vectorstore"},
    "eval": {"agent", "prompts", "vectorstore"},
}
FLOORS = (
    {"agent.types", "agent.errors", "agent.sensitive"},
    {"agent.features", "agent.settings"},
    {"agent.labels", "agent.grounding", "agent.llm"},
    {"agent.ask"},
    {"agent.langchain_chat"},
    {"agent.history"},
    {"agent.persona", "agent.privacy"},
    {"agent.recommend"},
    {"agent.chat"},
    {"agent.wiring", "agent.sample"},
    {"agent.batch.report"},
    {"agent.correcting", "agent.searching"},
    {"agent.doctor", "agent.rehearsal", "agent.shapes"},
    {"agent.batch", "agent.personal", "agent.training"},
    {"agent.show", "agent.langchain_retriever", "agent.langchain_tools"},
    {"agent.demo", "agent.service", "agent.terminal"},
    {"agent.cli"},
)
"""From the ground up: a module may import its own folder and every floor below its own."""
HEAVY = (
    *("openai", "llama_cpp", "chromadb", "duckdb", "langchain", "langchain_core", "gguf", "torch", "pyarrow"),
    *("fastapi", "starlette", "uvicorn", "mcp", "prometheus_client", "limits"),
)
JOINS_PROMPTS_AND_MODELS = {
    "agent/ask.py": "the join itself",
    "agent/cli.py": "lists both, for `rapport prompts list` and `rapport models list`; sends nothing",
}
LANGCHAIN = {
    "agent/langchain_retriever.py": "the face that Rapport offers to LangChain",
    "agent/langchain_tools.py": "the same",
    "agent/langchain_chat.py": "the same; the agent driver's model stands on it",
    "agent/chat/agent.py": "the tool loop of a conversation that a model leads",
}
FROM_STRING = {
    "prompts/library.py": "templates of this repository, sandboxed",
    "agent/llm/chat_template.py": "the chat template in a model's own file, sandboxed",
}
COPIED_TO = {
    "agent/llm/weights.py": "the file that weights are written to",
    "agent/history/tables.py": "the file that a table is rewritten to",
}
"""Where `target` is a destination: no model path, and nothing there knows of an answer that is right."""

COUNTED_UNDER = {"agent/service/metrics.py": "what Prometheus calls the names that a count is kept under"}
"""Where `labels` are those of a metric."""


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def every_file() -> list[Path]:
    return [path for package in PACKAGES for path in files(package)]


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Full names of modules that a file imports, anywhere in it; a name taken from a package counts as its module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{short(path)}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


def floor_of(name: str) -> int:
    for number, floor in enumerate(FLOORS):
        if any(name == part or name.startswith(f"{part}.") for part in floor):
            return number
    raise AssertionError(f"{name} stands on no floor: add it to FLOORS, as low as its imports allow")


def part_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_lies_below_them(package):
    own = {name.split(".")[0] for path in files(package) for name in imports(path)} & {*PACKAGES, "tests"}
    assert own <= MAY_IMPORT[package] | {package}
    assert files(package)


def test_nothing_imports_the_tests_or_the_evaluation():
    for path in every_file():
        if not short(path).startswith("eval/"):
            assert not [name for name in imports(path) if name.split(".")[0] in ("eval", "tests")], short(path)


@pytest.mark.parametrize("path", files("agent"), ids=short)
def test_inside_the_agent_nothing_points_up(path):
    me = module(path)
    if me == "agent":
        return
    for name in imports(path):
        if name.startswith("agent."):
            below = floor_of(name) < floor_of(me)
            assert below or part_of(name) == part_of(me), f"{me} imports {name}, which is not below it"


def test_the_agent_itself_is_a_docstring():
    assert len(tree(ROOT / "agent/__init__.py").body) == 1


def test_one_module_joins_a_prompt_to_a_model():
    joins = {
        short(path)
        for path in files("agent")
        if any(name.split(".")[0] == "prompts" for name in imports(path))
        and any(name.startswith("agent.llm") for name in imports(path))
    }
    assert joins == set(JOINS_PROMPTS_AND_MODELS)


def test_only_these_know_the_prompts_at_all():
    know = {short(path) for path in files("agent") if any(name.split(".")[0] == "prompts" for name in imports(path))}
    assert know == set(JOINS_PROMPTS_AND_MODELS)


def test_langchain_is_known_in_few_files():
    know = {short(path) for path in every_file() if any(name.startswith("lang") for name in imports(path))}
    assert know <= set(LANGCHAIN)


@pytest.mark.parametrize("entrance", ["agent.cli", "agent.wiring"])
def test_importing_an_entrance_brings_no_heavy_library(entrance):
    code = f"import sys, {entrance}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_heavy_library_is_recognised_when_it_is_there():
    code = f"import sys, openai; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "openai" in done.stdout


def names_given(path: Path) -> Iterator[str]:
    """Parameters, attributes and fields that a file declares."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ClassDef):
            yield from (
                field.target.id
                for field in node.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            )


@pytest.mark.parametrize("path", [*files("agent"), *files("prompts"), *files("vectorstore")], ids=short)
def test_nothing_on_the_way_to_a_model_can_carry_the_right_answer(path):
    """`labels.label()` is the word that a feature is displayed by: a function, neither a parameter nor a field."""
    forbidden = {"target", "label", "truth", "labels", "targets"}
    found = forbidden & set(names_given(path))
    allowed = {"target"} if short(path) in COPIED_TO else {"labels"} if short(path) in COUNTED_UNDER else set()
    assert found <= allowed


@pytest.mark.parametrize("path", every_file(), ids=short)
def test_templates_are_code_and_data_is_data(path):
    called = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute) and node.attr == "from_string"]
    assert bool(called) == (short(path) in FROM_STRING)


@pytest.mark.parametrize("path", every_file(), ids=short)
def test_nothing_runs_what_a_model_or_a_file_could_have_written(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "__import__"), f"{short(path)}:{node.lineno}"
    assert not {"pickle", "shelve", "marshal"} & set(imports(path)), short(path)


@pytest.mark.parametrize("path", every_file(), ids=short)
def test_public_signatures_take_no_bag_of_options(path):
    known = {"agent/settings.py": {"load"}}  # names of settings, which the model of settings checks
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and is_bag(node.args.kwarg):
            assert node.name in known.get(short(path), ()), f"{short(path)}: {node.name}"


def is_bag(argument: ast.arg | None) -> bool:
    """`**named: Asked.kwargs` passes on what another function takes, checked by its types."""
    typed = argument.annotation if argument else None
    return argument is not None and not (isinstance(typed, ast.Attribute) and typed.attr == "kwargs")


def test_every_module_says_what_it_is_for():
    for path in every_file():
        if path.stat().st_size:
            assert ast.get_docstring(tree(path)), short(path)


# Documentation


def documentation() -> str:
    texts = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in texts if path.exists())


def commands() -> list[str]:
    import typer

    from agent.cli import app

    root = typer.main.get_command(app)
    found = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", {})
        found += [f"rapport {name} {inner}" for inner in below] if below else [f"rapport {name}"]
    return found


def test_every_command_is_documented():
    text = documentation()
    missing = [name for name in commands() if name not in text]
    assert not missing


def test_every_setting_is_documented():
    from agent.settings import Settings

    text = documentation()
    missing = [name for name in Settings.model_fields if not re.search(rf"\b(?:{name}|RAPPORT_{name.upper()})\b", text)]
    assert not missing


def test_every_form_of_a_model_is_documented():
    from agent.llm.connect import BACKENDS

    text = documentation()
    missing = [form for one in BACKENDS.values() for form in one.form.split(" or ") if form not in text]
    assert not missing


def test_documentation_names_no_command_that_is_not_there():
    said = set(re.findall(r"^\$? ?rapport ([a-z]+)", documentation(), re.MULTILINE))
    known = {name.split()[1] for name in commands()} | {"eval"}
    assert said <= known
