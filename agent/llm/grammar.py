"""A JSON schema as a llama.cpp grammar (GBNF): strict, so what cannot be enforced is refused; knows no model.

Written by hand because the converter of llama-cpp-python lets schemas it does not understand become "any JSON",
spells non-ASCII constants as escapes that models do not write, allows raw line breaks inside strings and ignores
the bounds of numbers.
Format: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from agent.errors import Refused
from agent.llm.base import Schema

_SILENT = {"title", "description", "default", "examples", "$defs", "definitions", "$schema", "$id", "$comment"}
"""Keywords that constrain nothing."""
_MAY_HOLD = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum", "maximum"},
    "boolean": set[str](),
    "null": set[str](),
}
_LARGEST_ENUMERATION = 1000
_LARGEST_REPETITION = 1000  # llama.cpp refuses a grammar with repetitions beyond 2000
_FIXED = {
    "char": r'[^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})',
    "natural": '"0" | [1-9] [0-9]{0,14}',
    "fraction": '"." [0-9]{1,6}',
}


def gbnf(schema: Schema) -> str:
    """The grammar whose words are JSON values that `schema` accepts, each in one spelling: `{"a": 1, "b": [2, 3]}`.

    All of an object's properties are written, in their order. Understood: objects with named properties, arrays with
    maxItems, strings with length bounds, enum, const, integers and numbers with bounds, booleans, null, anyOf and
    references into $defs. Everything else raises Refused, naming the keyword.
    """
    return _Compiler(schema).grammar()


class _Compiler:
    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._rules: dict[str, str] = {}
        self._references: dict[str, str] = {}

    def grammar(self) -> str:
        rules = {"root": self._rule(self._schema, "answer"), **self._rules, **_FIXED}
        return "\n".join(f"{name} ::= {body}" for name, body in rules.items()) + "\n"

    def _rule(self, schema: Any, where: str) -> str:
        """The body of the rule for `schema`; `where` is for error messages."""
        if not isinstance(schema, Mapping):
            raise Refused(f"the schema of {where} is not an object: {schema!r}")
        if "$ref" in schema:
            self._allow(schema, {"$ref"}, where)
            return self._reference(schema["$ref"], where)
        if "anyOf" in schema:
            self._allow(schema, {"anyOf"}, where)
            return _either(f"({self._rule(option, where)})" for option in _filled(schema["anyOf"], "anyOf", where))
        if "const" in schema:
            self._allow(schema, {"const", "type"}, where)
            return _constant(schema["const"], where)
        if "enum" in schema:
            self._allow(schema, {"enum", "type"}, where)
            return _either(_constant(value, where) for value in _filled(schema["enum"], "enum", where))
        return self._typed(schema, where)

    def _typed(self, schema: Mapping[str, Any], where: str) -> str:
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in _MAY_HOLD:
            raise Refused(f"the schema of {where} has the type {kind!r}; it must be one of {sorted(_MAY_HOLD)}")
        self._allow(schema, _MAY_HOLD[kind] | {"type"}, where)
        match kind:
            case "object":
                return self._object(schema, where)
            case "array":
                return self._array(schema, where)
            case "string":
                return _string(schema, where)
            case "integer":
                return _integer(schema, where)
            case "number":
                return _number(schema, where)
            case "boolean":
                return '"true" | "false"'
        return '"null"'

    def _object(self, schema: Mapping[str, Any], where: str) -> str:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            raise Refused(f"the schema of {where} names no properties, so anything would do")
        if schema.get("additionalProperties", False) is not False:
            raise Refused(f"the schema of {where} allows additional properties")
        if unknown := set(schema.get("required", ())) - set(properties):
            raise Refused(f"the schema of {where} requires {sorted(unknown)}, which it does not describe")
        members = (
            f"{_literal(json.dumps(name, ensure_ascii=False) + ': ')} ({self._rule(value, f'{where}.{name}')})"
            for name, value in properties.items()
        )
        return f'"{{" {_joined(members)} "}}"'

    def _array(self, schema: Mapping[str, Any], where: str) -> str:
        if "items" not in schema:
            raise Refused(f"the schema of {where} does not say what its items are")
        low, high = _bounds(schema, "minItems", "maxItems", where)
        if high is None:
            raise Refused(f"the schema of {where} has no maxItems, so a weak model would not stop")
        if high == 0:
            return '"[]"'
        item = self._named(self._rule(schema["items"], f"{where}[]"))
        some = f'{item} (", " {item}){{{max(low - 1, 0)},{high - 1}}}'
        return f'"[" {some} "]"' if low else f'"[" ({some})? "]"'

    def _reference(self, reference: Any, where: str) -> str:
        if reference not in self._references:
            target = self._resolve(reference, where)
            # The name comes first, so that a definition may refer to itself.
            name = self._references[reference] = f"ref-{len(self._references)}"
            self._rules[name] = self._rule(target, str(reference))
        return self._references[reference]

    def _resolve(self, reference: Any, where: str) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise Refused(f"the schema of {where} refers to {reference!r}; only references into itself are followed")
        target: Any = self._schema
        for part in reference[2:].split("/"):
            if not isinstance(target, Mapping) or part not in target:
                raise Refused(f"the schema of {where} refers to {reference!r}, which does not exist")
            target = target[part]
        return target

    def _named(self, body: str) -> str:
        name = f"item-{len(self._rules)}"
        self._rules[name] = body
        return name

    def _allow(self, schema: Mapping[str, Any], keywords: set[str], where: str) -> None:
        if unknown := set(schema) - keywords - _SILENT:
            raise Refused(f"the schema of {where} uses {sorted(unknown)}, which cannot be enforced")


def _string(schema: Mapping[str, Any], where: str) -> str:
    low, high = _bounds(schema, "minLength", "maxLength", where)
    return f'"\\"" char{{{low},{"" if high is None else high}}} "\\""'


def _integer(schema: Mapping[str, Any], where: str) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + 1
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - 1
    if low is None and high is None:
        return '"-"? natural'
    if low == 0 and high is None:
        return "natural"
    if low == 1 and high is None:
        return "[1-9] [0-9]{0,14}"
    if low is None or high is None or not 0 <= high - low < _LARGEST_ENUMERATION:
        raise Refused(f"the bounds {low} to {high} of {where} cannot be enforced")
    return _either(_literal(str(value)) for value in range(int(low), int(high) + 1))


def _number(schema: Mapping[str, Any], where: str) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return '"-"? natural fraction?'
    if low == 0 and high is None:
        return "natural fraction?"
    if low is None or high is None or low != int(low) or high != int(high) or not 0 <= low <= high < 1000:
        raise Refused(f"the bounds {low} to {high} of {where} cannot be enforced")
    below = [f"({_either(_literal(str(value)) for value in range(int(low), int(high)))}) fraction?"] * (low < high)
    return _either([*below, f'{_literal(str(int(high)))} ("." "0"{{1,6}})?'])


def _bounds(schema: Mapping[str, Any], least: str, most: str, where: str) -> tuple[int, int | None]:
    low, high = schema.get(least, 0), schema.get(most)
    if low < 0 or (high is not None and high < low) or (high or low) > _LARGEST_REPETITION:
        raise Refused(f"{least} {low} and {most} {high} of {where} cannot be enforced")
    return low, high


def _filled(options: Any, keyword: str, where: str) -> list[Any]:
    if not isinstance(options, list) or not options:
        raise Refused(f"the schema of {where} has an empty {keyword}")
    return options


def _constant(value: Any, where: str) -> str:
    if isinstance(value, float | list | dict):
        raise Refused(f"the schema of {where} has the constant {value!r}, which is not a word, an integer or null")
    return _literal(json.dumps(value, ensure_ascii=False))


def _literal(text: str) -> str:
    escaped = "".join(_escape(character) for character in text)
    return f'"{escaped}"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08X}"


def _either(options: Iterable[str]) -> str:
    return " | ".join(options)


def _joined(members: Iterable[str]) -> str:
    return ' ", " '.join(members)
