"""Schemas as grammars: what is understood, what is refused, and (with the model's tokenizer) what is let through."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from agent.errors import Refused
from agent.llm.grammar import gbnf


def of(schema: Any) -> dict:
    return {"type": "object", "properties": {"x": schema}, "required": ["x"], "additionalProperties": False}


UNENFORCEABLE = {
    "anything": {},
    "any object": {"type": "object"},
    "additional properties": {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": True},
    "undescribed required": {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["b"]},
    "any array": {"type": "array", "maxItems": 3},
    "endless array": {"type": "array", "items": {"type": "null"}},
    "crossed bounds": {"type": "array", "items": {"type": "null"}, "minItems": 4, "maxItems": 3},
    "too many": {"type": "string", "maxLength": 100_000},
    "unique": {"type": "array", "items": {"type": "null"}, "maxItems": 3, "uniqueItems": True},
    "pattern": {"type": "string", "pattern": "^a+$"},
    "broken pattern": {"type": "string", "pattern": "("},
    "format": {"type": "string", "format": "date"},
    "unknown type": {"type": "text"},
    "several types": {"type": ["string", "null"]},
    "not": {"not": {"type": "string"}},
    "oneOf": {"oneOf": [{"type": "string"}]},
    "remote reference": {"$ref": "https://example.org/schema"},
    "broken reference": {"$ref": "#/$defs/Nothing"},
    "no reference": {"$ref": 3},
    "empty enum": {"enum": []},
    "empty anyOf": {"anyOf": []},
    "float constant": {"const": 0.5},
    "wide integer": {"type": "integer", "minimum": 0, "maximum": 10_000},
    "half bounds": {"type": "number", "minimum": 0.5, "maximum": 1},
    "no schema": True,
}


@pytest.mark.parametrize("schema", UNENFORCEABLE.values(), ids=UNENFORCEABLE.keys())
def test_what_cannot_be_enforced_is_refused(schema):
    with pytest.raises(Refused):
        gbnf(of(schema))


def test_the_refusal_names_place_and_keyword():
    with pytest.raises(Refused, match=r"answer\.x\[\].*uniqueItems"):
        gbnf(of({"type": "array", "maxItems": 2, "items": {"type": "string", "uniqueItems": True}}))


class Tag(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=12)
    weight: float = Field(ge=0, le=1)


class Persona(BaseModel):
    """What pydantic makes of nested models, optional values and defaults is understood."""

    model_config = ConfigDict(extra="forbid")
    tags: list[Tag] = Field(min_length=1, max_length=2)
    note: str | None = None
    stars: int = Field(ge=1, le=5)


# -- with the tokenizer

text = st.text(max_size=8)
scalar = st.one_of(
    st.tuples(st.just({"type": "string"}), text),
    st.tuples(st.just({"type": "string", "minLength": 2, "maxLength": 9}), st.text(min_size=2, max_size=8)),
    st.tuples(st.just({"type": "integer"}), st.integers(-(10**14), 10**14)),
    st.tuples(st.just({"type": "integer", "minimum": 0}), st.integers(0, 10**14)),
    st.tuples(st.just({"type": "integer", "exclusiveMinimum": 0}), st.integers(1, 10**14)),
    st.tuples(st.just({"type": "integer", "minimum": -5, "maximum": 12}), st.integers(-5, 12)),
    st.tuples(st.just({"type": "number"}), st.integers(-999, 999).map(lambda n: n / 4)),
    st.tuples(st.just({"type": "number", "minimum": 0, "maximum": 1}), st.integers(0, 100).map(lambda n: n / 100)),
    st.tuples(st.just({"type": "number", "minimum": 1, "maximum": 5}), st.integers(4, 20).map(lambda n: n / 4)),
    st.tuples(st.just({"type": "boolean"}), st.booleans()),
    st.tuples(st.just({"type": "null"}), st.none()),
    st.lists(text, min_size=1, max_size=4).map(lambda options: ({"enum": options}, options[-1])),
    text.map(lambda word: ({"const": word}, word)),
)


def an_array(one):
    schema, value = one
    return st.integers(0, 3).flatmap(
        lambda low: st.tuples(
            st.just({"type": "array", "items": schema, "minItems": low, "maxItems": low + 2}),
            st.integers(low, low + 2).map(lambda length: [value] * length),
        )
    )


def an_object(members):
    return (
        {"type": "object", "properties": {name: schema for name, (schema, _) in members.items()}},
        {name: value for name, (_, value) in members.items()},
    )


example = st.recursive(
    scalar,
    lambda inner: st.one_of(
        inner.flatmap(an_array),
        st.dictionaries(text, inner, min_size=1, max_size=3).map(an_object),
        st.tuples(inner, inner).map(lambda two: ({"anyOf": [two[0][0], two[1][0]]}, two[1][1])),
    ),
    max_leaves=5,
)


def lets_through(model, schema: dict, said: str) -> bool:
    """Whether the model's native grammar takes `said` and may then end."""
    native = model._native
    grammar = native.grammar(gbnf(schema))
    assert grammar is not None, "llama.cpp cannot parse the grammar"
    try:
        for token in native.tokenise(said, markup=False):
            if not grammar.allowed(np.array([token]))[0]:
                return False
            grammar.accept(token)
        return bool(grammar.allowed(np.array([min(native.ends)]))[0])
    finally:
        grammar.close()


def utf8(value: Any) -> bool:
    return "\\ud" not in json.dumps(value) and "\x7f" not in json.dumps(value)


@pytest.mark.model
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(example)
def test_valid_values_are_let_through_in_their_one_spelling(model, pair):
    schema, value = of(pair[0]), {"x": pair[1]}
    spelled = json.dumps(value, ensure_ascii=False)
    assume(utf8(value) and utf8(schema))
    assert lets_through(model, schema, spelled)
    for spoilt in (spelled[:-1], spelled + "}", spelled.replace(": ", ":  ", 1), spelled.replace('"x"', '"y"', 1), ""):
        assert not lets_through(model, schema, spoilt)


WRONG = {
    "enum": ({"enum": ["good", "bad"]}, "ugly"),
    "too many": ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, [1, 2, 3]),
    "too few": ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}, [1]),
    "too long": ({"type": "string", "maxLength": 3}, "abcd"),
    "too short": ({"type": "string", "minLength": 3}, "ab"),
    "too great": ({"type": "integer", "minimum": 1, "maximum": 5}, 6),
    "too small": ({"type": "integer", "minimum": 1, "maximum": 5}, 0),
    "above one": ({"type": "number", "minimum": 0, "maximum": 1}, 1.5),
    "other type": ({"type": "boolean"}, 1),
    "null": ({"type": "string"}, None),
}


@pytest.mark.model
@pytest.mark.parametrize(("schema", "value"), WRONG.values(), ids=WRONG.keys())
def test_invalid_values_are_stopped(model, schema, value):
    assert not lets_through(model, of(schema), json.dumps({"x": value}))


@pytest.mark.model
def test_raw_line_breaks_in_strings_are_stopped(model):
    assert not lets_through(model, of({"type": "string"}), '{"x": "a\nb"}')
    assert lets_through(model, of({"type": "string"}), '{"x": "a\\nb"}')


@pytest.mark.model
def test_pydantic_models_are_understood(model):
    schema = Persona.model_json_schema()
    persona = Persona(tags=[Tag(name="爵士 jazz", weight=0.5)], note=None, stars=4)
    spelled = json.dumps(persona.model_dump(), ensure_ascii=False)
    assert lets_through(model, schema, spelled)
    assert lets_through(model, schema, spelled.replace("null", '"late riser"'))
    assert not lets_through(model, schema, spelled.replace("4}", "9}"))


@pytest.mark.model
def test_a_definition_may_refer_to_itself(model):
    tree = {
        "type": "object",
        "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/Tree"}, "maxItems": 2}},
    }
    schema = {"$ref": "#/$defs/Tree", "$defs": {"Tree": tree}}
    assert lets_through(model, schema, '{"below": [{"below": []}, {"below": [{"below": []}]}]}')
    assert not lets_through(model, schema, '{"below": [7]}')
