"""Forced text: found whole, cut into tokens as a model would cut it, and never what the grammar would refuse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.llm.base import Message
from agent.llm.decoder import Tokens
from agent.llm.forced import ASCII, Forcer

END = 256
MERGED = [b"good", b"go", b'"', b'":', b' "', b'{"', b" t", b" true", b"warm", b"warml", b'",', b'"]', b"\xe7\x88"]
PIECES = [*(bytes([byte]) for byte in range(256)), b"", *MERGED]
LONGEST_FIRST = sorted(range(len(PIECES)), key=lambda token: -len(PIECES[token]))


def cut(text: str) -> list[int]:
    """Tokens of `text`: always the longest one that fits."""
    raw, tokens = text.encode(), []
    while raw:
        token = next(token for token in LONGEST_FIRST if PIECES[token] and raw.startswith(PIECES[token]))
        tokens.append(token)
        raw = raw[len(PIECES[token]) :]
    return tokens


def bytes_of(text: str) -> list[int]:
    return list(text.encode())


def said(tokens: Sequence[int]) -> str:
    return b"".join(PIECES[token] for token in tokens).decode()


class Words:
    """The grammar of a few words. Like the native one it does not survive a token that is not allowed."""

    def __init__(self, *words: str, done: bytes = b"") -> None:
        self.words = words
        self.done = done
        self.clones: list[Words] = []
        self.closed = False

    def allows(self, token: int) -> bool:
        if token == END:
            return self.done.decode("utf-8", "replace") in self.words
        after = self.done + PIECES[token]
        return any(word.encode().startswith(after) for word in self.words)

    def allowed(self, tokens: np.ndarray) -> np.ndarray:
        return np.array([self.allows(int(token)) for token in tokens])

    def accept(self, token: int) -> None:
        assert self.allows(token)
        self.done += PIECES[token]

    def clone(self) -> Words:
        self.clones.append(Words(*self.words, done=self.done))
        return self.clones[-1]

    def close(self) -> None:
        self.closed = True


def forcer(tokenise=cut, ends=frozenset([END]), characters: str = "") -> Forcer:
    return Forcer(tokenise=tokenise, piece=PIECES.__getitem__, characters=ASCII + characters, ends=ends)


def forced(grammar: Words, **settings: Any) -> list[bytes]:
    return [PIECES[token] for token in forcer(characters="".join(grammar.words), **settings).forced(grammar)]


def test_what_has_one_way_on_is_forced_in_the_tokens_of_the_whole():
    grammar = Words('{"a": "b', '{"a": "c')
    assert forced(grammar) == [b'{"', b"a", b'":', b' "']
    assert grammar.done == b'{"a": "'
    assert grammar.clones
    assert all(clone.closed for clone in grammar.clones)


def test_a_whole_answer_may_be_forced_and_nothing_after_it():
    grammar = Words('{"good": 1}')
    assert b"".join(forced(grammar)) == b'{"good": 1}'
    assert forced(grammar) == []


def test_where_the_answer_may_end_nothing_is_forced():
    assert forced(Words("go", "good", "goods")) == [b"go"]


def test_after_what_tells_them_apart_the_rest_is_forced():
    assert forced(Words("positive", "negative", done=b"pos")) == [b"i", b"t", b"i", b"v", b"e"]


def test_a_token_that_depends_on_what_follows_is_left_to_the_model():
    assert forced(Words(": true", ": false")) == [b":"]  # the space belongs to " true"
    assert forced(Words("warmth", "warmly")) == []  # "warm" would keep the model from "warml"
    assert forced(Words('"good", "', '"good"]')) == [b'"', b"good"]  # the quote belongs to what follows it


@pytest.mark.parametrize("done", [b"\xe7", b"\xe7\x88", b"\xe7\x88\xb5\xe5"])
def test_inside_of_a_character_nothing_is_forced(done):
    assert forced(Words("爵士", done=done)) == []


def test_characters_of_several_bytes_are_forced_whole_or_not_at_all():
    assert b"".join(forced(Words("爵士", "爵土"))).decode() == "爵"  # the second ones begin with the same two bytes
    assert b"".join(forced(Words("爵士 (jazz)"))).decode() == "爵士 (jazz)"


def test_tokenizers_that_put_a_space_before_every_text_force_nothing():
    grammar = Words('{"a": 1}')
    assert forced(grammar, tokenise=lambda text: cut(" " + text)) == []
    assert grammar.done == b""


def test_a_token_that_the_grammar_refuses_is_not_taken():
    grammar = Words('{"a": 1}')
    assert forced(grammar, tokenise=lambda text: cut(text if len(text) == 1 else " " + text)) == []
    assert grammar.done == b""


def test_without_an_end_token_nothing_is_forced():
    """It could not be told whether the answer may end."""
    assert forced(Words("go"), ends=frozenset()) == []


def test_a_grammar_without_an_end_is_followed_a_good_way_and_no_further():
    found = forced(Words("ab" * 5000))
    assert 100 < len(found) < 1000


word = st.text('ab{}": 0爵士é', min_size=1, max_size=8)


def one_way_on(words: Sequence[str], done: str) -> str:
    """By the words themselves."""
    left = {word[len(done) :] for word in words if word.startswith(done)}
    ahead = ""
    while "" not in left and len(first := {one[0] for one in left}) == 1:
        ahead += first.pop()
        left = {one[1:] for one in left}
    return ahead


@given(st.lists(word, min_size=1, max_size=5), st.data())
@pytest.mark.parametrize("tokenise", [cut, bytes_of])
def test_against_the_words_themselves(tokenise, words, data):
    """Walk to a word by what is forced and, where nothing is, by any token."""
    goal = data.draw(st.sampled_from(words))
    grammar = Words(*words)
    find = forcer(tokenise, characters="".join(words))
    while grammar.done != goal.encode():
        before = grammar.done
        try:
            expected = one_way_on(words, before.decode())
        except UnicodeDecodeError:
            expected = ""
        tokens = find.forced(grammar)
        assert grammar.done == before + b"".join(PIECES[token] for token in tokens)
        assert expected.startswith(said(tokens))
        if tokenise is bytes_of and expected.isascii():
            assert said(tokens) == expected
        if not tokens:
            fitting = [t for t in range(len(PIECES)) if PIECES[t] and (grammar.done + PIECES[t]) in prefixes(goal)]
            grammar.accept(data.draw(st.sampled_from(fitting)))


def prefixes(text: str) -> set[bytes]:
    return {text.encode()[:length] for length in range(len(text.encode()) + 1)}


# -- with the grammar and the tokenizer of llama.cpp

# Beyond these planes the vocabulary of the built-in model has no tokens; what cannot be said is never forced.
letters = st.characters(codec="utf-8", max_codepoint=0x2FFFF, exclude_characters="\x7f")
text = st.text(letters, max_size=8)
scalar = st.one_of(
    st.tuples(st.just({"type": "string", "minLength": 1, "maxLength": 9}), text.filter(bool)),
    st.tuples(st.just({"type": "integer", "minimum": 0}), st.integers(0, 10**14)),
    st.tuples(st.just({"type": "integer", "minimum": -5, "maximum": 12}), st.integers(-5, 12)),
    st.tuples(st.just({"type": "number", "minimum": 0, "maximum": 1}), st.integers(0, 100).map(lambda n: n / 100)),
    st.tuples(st.just({"type": "boolean"}), st.booleans()),
    st.tuples(st.just({"type": "null"}), st.none()),
    st.lists(text, min_size=1, max_size=4).map(lambda options: ({"enum": options}, options[-1])),
    text.map(lambda word: ({"const": word}, word)),
)


def an_array(one: tuple[Any, Any]) -> Any:
    return st.integers(0, 2).map(
        lambda low: (
            {"type": "array", "items": one[0], "minItems": low, "maxItems": low + 1},
            [one[1]] * (low + 1),
        )
    )


def an_object(members: dict[str, tuple[Any, Any]]) -> tuple[Any, Any]:
    properties = {name: schema for name, (schema, _) in members.items()}
    return {"type": "object", "properties": properties}, {name: value for name, (_, value) in members.items()}


example = st.dictionaries(
    text,
    st.recursive(
        scalar,
        lambda inner: st.one_of(
            inner.flatmap(an_array),
            st.dictionaries(text, inner, min_size=1, max_size=3).map(an_object),
            st.tuples(inner, inner).map(lambda two: ({"anyOf": [two[0][0], two[1][0]]}, two[1][1])),
        ),
        max_leaves=4,
    ),
    min_size=1,
    max_size=3,
).map(an_object)


class Walk:
    """An answer under a schema with llama.cpp's own grammar."""

    def __init__(self, model: Any, schema: dict[str, Any]) -> None:
        self.native = model._native
        self.grammar, self.forcer = model._grammar(schema)
        self.raw = b""

    def forced(self) -> Tokens:
        tokens = self.forcer.forced(self.grammar)
        self.raw += b"".join(map(self.native.piece, tokens))
        return tokens

    def say(self, text: str) -> None:
        for token in self.native.tokenise(text, markup=False):
            assert self.allowed([token])[0], "what was forced leaves no way to a valid answer"
            self.grammar.accept(token)
        self.raw += text.encode()

    def allowed(self, tokens: Sequence[int]) -> np.ndarray:
        return self.grammar.allowed(np.array(tokens))

    def may_end(self) -> bool:
        return bool(self.allowed([min(self.native.ends)])[0])


@pytest.fixture
def walk(model):
    opened: list[Walk] = []

    def begin(schema: dict[str, Any], done: str = "") -> Walk:
        opened.append(Walk(model, schema))
        opened[-1].say(done)
        return opened[-1]

    yield begin
    for one in opened:
        one.grammar.close()


@pytest.mark.model
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(example, st.data())
def test_every_valid_answer_goes_through_what_is_forced(walk, pair, data):
    schema, value = pair
    answer = json.dumps(value, ensure_ascii=False)
    one = walk(schema)
    while True:
        one.forced()
        assert answer.encode().startswith(one.raw), "text was forced that this answer does not have"
        rest = answer[len(one.raw.decode()) :]
        if not rest:
            break
        one.say(rest[: data.draw(st.integers(1, 6))])
    assert one.may_end()


@pytest.mark.model
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(example, st.data())
def test_no_token_of_the_vocabulary_leads_elsewhere_than_what_is_forced(walk, pieces, pair, data):
    schema, value = pair
    answer = json.dumps(value, ensure_ascii=False)
    one = walk(schema, answer[: data.draw(st.integers(0, len(answer) - 1))])
    allowed, before = one.allowed(range(len(pieces))), len(one.raw)
    one.forced()
    ahead = one.raw[before:]
    elsewhere = [
        piece
        for piece, fits in zip(pieces, allowed, strict=True)
        if fits and piece and not piece.startswith(ahead) and not ahead.startswith(piece)
    ]
    assert elsewhere == []


@pytest.fixture(scope="module")
def pieces(model):
    return [model._native.piece(token) for token in range(model._native.vocabulary_size)]


REVIEW = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["positive", "negative", "neutral"]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 9}, "minItems": 1, "maxItems": 2},
        "again": {"type": "boolean"},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
    },
}
FORCED = [
    ("", '{"mood": "'),
    ('{"mood": "po', 'sitive", "tags": ["'),
    ('{"mood": "n', ""),  # negative or neutral: the "e" belongs to the token of either
    ('{"mood": "positive", "ta', 'gs": ["'),
    ('{"mood": "positive", "tags": ["a', ""),
    ('{"mood": "positive", "tags": ["a"', ""),
    ('{"mood": "positive", "tags": ["a",', ' "'),
    ('{"mood": "positive", "tags": ["a", "b"', '], "again":'),  # the space belongs to " true"
    ('{"mood": "positive", "tags": ["123456789', ""),  # the quote belongs to what follows
    ('{"mood": "positive", "tags": ["a"], "again": t', 'rue, "stars": '),
    ('{"mood": "positive", "tags": ["a"], "again": true, "stars": 4', "}"),
    ('{"mood": "positive", "tags": ["a"], "again": true, "stars": 4}', ""),
]


@pytest.mark.model
@pytest.mark.parametrize(("done", "ahead"), FORCED, ids=[done[-12:] or "beginning" for done, _ in FORCED])
def test_what_is_forced_in_an_answer(walk, done, ahead):
    one = walk(REVIEW, done)
    tokens = one.forced()
    assert one.raw.decode() == done + ahead
    assert one.forced() == ()
    assert list(tokens) == one.native.tokenise(ahead, markup=False)


# -- with the model

QUESTION = [Message("user", "Review: Lovely jazz, warm sound, I play it every day.\nAnswer as JSON.")]


@pytest.mark.model
def test_a_real_answer_is_mostly_forced(model):
    before = model.usage()
    (completion,) = model.generate([QUESTION], schema=REVIEW, max_tokens=100)
    after = model.usage()
    answer = json.loads(completion.text)
    assert completion.finish == "stop"
    assert list(answer) == list(REVIEW["properties"])
    sampled, forced = after.sampled_tokens - before.sampled_tokens, after.forced_tokens - before.forced_tokens
    assert sampled + forced == completion.completion_tokens
    assert forced > sampled


@pytest.mark.model
@pytest.mark.parametrize("max_tokens", [1, 4, 9])
def test_what_is_forced_counts_as_answer_and_is_cut_off_like_it(model, max_tokens):
    (whole,) = model.generate([QUESTION], schema=REVIEW, max_tokens=100)
    (part,) = model.generate([QUESTION], schema=REVIEW, max_tokens=max_tokens)
    assert part.finish == "length"
    assert part.completion_tokens == max_tokens
    assert whole.text.startswith(part.text)
    assert part.text


@pytest.mark.model
def test_an_answer_with_one_way_from_end_to_end_asks_the_model_nothing(model):
    schema = {"type": "object", "properties": {"爵士": {"const": 'warm "jazz"'}, "of": {"enum": [7]}}}
    before = model.usage()
    (completion,) = model.generate([QUESTION], schema=schema, max_tokens=100)
    assert json.loads(completion.text) == {"爵士": 'warm "jazz"', "of": 7}
    assert completion.finish == "stop"
    assert model.usage().sampled_tokens == before.sampled_tokens
    assert model.usage().decode_s == before.decode_s
