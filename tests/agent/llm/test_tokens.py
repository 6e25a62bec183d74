"""The estimate of tokens is on the high side of a real tokenizer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.tokens import estimate_tokens

TEXTS = [
    "Rapport reads what people did and writes down what they like.",
    "Ein Film über die Größe der Brücke, naïve café.",
    "屏幕很好，电池不行。我会再买一次。",
    "order #4711: 12.99 EUR, 3x (blue/green) – ***** 2024-05-01T12:00:00Z",
    '{"tags": ["jazz", "vinyl"], "stars": 4}',
    "😀🎷👨‍👩‍👧",
    "    indented\n\n\n\tlines   with   gaps\n",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
]


@pytest.mark.model
@pytest.mark.parametrize("text", TEXTS)
def test_no_less_than_the_real_count(model, text):
    assert model.count_tokens(text) <= estimate_tokens(text) <= 4 * model.count_tokens(text)


@given(st.text(), st.text())
def test_it_grows_with_the_text(one, other):
    assert estimate_tokens(one) <= estimate_tokens(one + " " + other)
    assert estimate_tokens("") == 0
