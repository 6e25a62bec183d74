"""What is counted of written texts: first tries, and what would hold of anybody."""

from __future__ import annotations

import pytest

from agent.errors import UsageError
from agent.grounding.facts import Facts
from agent.types import Answer, Profile, Provenance, Recommendation
from eval import adapter, writing


def profile(by: str, *notes: str) -> Profile:
    return Profile(user="ann", persona="x", persona_by=by, provenance=Provenance(notes=notes))  # type: ignore[arg-type]


def test_a_persona_that_passed_at_once_was_refused_first_or_was_never_asked_for():
    assert writing.tried_persona(profile("model")) == {"asked": 1, "first": 1, "model": 1}
    assert +writing.tried_persona(profile("model", "first persona refused: 'war' is in no fact")) == {
        "asked": 1,
        "model": 1,
    }
    assert +writing.tried_persona(profile("template", "persona by template: too long")) == {"asked": 1, "template": 1}
    assert +writing.tried_persona(profile("template")) == {"template": 1}


def answer(by: str, *notes: str) -> Answer:
    from agent.types import Item

    items = tuple(
        Recommendation(
            rank,
            Item(f"i{rank}", "T"),
            score=1.0,
            reason="r",
            receipts=(),
            grounded=True,
            written_by="model" if one == "m" else "template",
            explored=False,
            sources=(),
        )
        for rank, one in enumerate(by, 1)
    )
    return Answer("ann", items, degraded=False, provenance=Provenance(notes=notes))


@pytest.mark.parametrize(
    ("by", "notes", "asked", "first"),
    [
        ("mmm", (), 3, 3),
        ("mtt", (), 1, 1),
        ("mmt", ("2 of 3 reasons were refused at first", "1 of 3 reasons failed the check"), 3, 1),
        ("ttt", ("reasons were written without a model: there is none",), 0, 0),
    ],
)
def test_reasons_are_counted_where_a_model_was_asked(by, notes, asked, first):
    found = writing.tried_reasons(answer(by, *notes))
    assert (found["asked"], found["first"]) == (asked, first)


def test_what_holds_of_everybody_tells_nothing():
    mine = Facts(terms=frozenset({"drama", "war"}), known={"Heat": frozenset()})
    other = Facts(terms=frozenset({"drama"}), aversions=frozenset({"war"}))
    assert writing.named_in("Likes drama and war. Heat is a favourite.", mine) == {
        "drama": "like",
        "war": "like",
        "heat": "title",
    }
    # Of three names one, drama, holds of the other; of the other's one name, all of me.
    both = [("Likes drama and war. Heat is a favourite.", mine), ("Likes drama.", other)]
    assert writing.share_of_others(both) == pytest.approx((1 / 3 + 1) / 2, abs=1e-4)
    assert writing.share_of_others(both[:1]) is None


def test_the_longer_name_counts_once():
    facts = Facts(terms=frozenset({"war", "civil war"}))
    assert writing.named_in("Civil war films", facts) == {"civil war": "like"}


@pytest.mark.parametrize(
    ("llm", "before"),
    [("builtin", "smollm2"), ("builtin+mine", "builtin"), ("gguf:/m/a.gguf+mine", "gguf:/m/a.gguf")],
)
def test_the_same_model_without_its_adapter(llm, before):
    assert adapter.without(llm) == before


@pytest.mark.parametrize("llm", ["smollm2", "none", "openai:gpt+x", "gguf:/m/a.gguf"])
def test_a_model_without_an_adapter_is_refused(llm):
    with pytest.raises(UsageError, match="has no adapter"):
        adapter.without(llm)
