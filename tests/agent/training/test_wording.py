"""Examples of wording: the same for the same seed, true, varied, and with some plans and catalogues kept apart."""

from __future__ import annotations

import pytest

from agent.grounding.check import Rules, form
from agent.persona.writing import MAX_CHARS
from agent.training import wording
from agent.training.examples import Examples, distinct, novelty
from agent.training.grammar import chosen, plans, usable, voiced
from agent.training.wording import Refused
from agent.training.worlds import domains, material, person, world


@pytest.fixture(scope="module")
def refused() -> Refused:
    return Refused()


@pytest.fixture(scope="module")
def made(refused) -> Examples:
    return wording.examples(120, 40, 5, refused)


def test_as_many_as_asked_for(made):
    assert (len(made.training), len(made.watched), len(made.held)) == (120, 40, 40)
    assert {one.prompt for one in made.training} == {"persona", "reason"}


def test_every_answer_passes_the_checks_of_the_product(made):
    for one in (*made.training, *made.held):
        assert one.problems is not None
        assert one.problems(one.answer) == []
        assert form(one.answer, Rules(MAX_CHARS)) == []


def test_the_checks_travel_with_the_question(made):
    for one in made.training:
        assert one.problems is not None
        assert one.problems("You rated Nosferatu 7 stars and love all of it.")


def test_the_same_seed_gives_the_same_examples(made):
    assert wording.examples(120, 40, 5) == made
    assert wording.examples(6, 2, 6).training != made.training[:6]


def test_what_is_held_back_comes_from_catalogues_of_its_own(made):
    held = {one.noun for one in domains() if one.held}
    assert {one.group for one in made.held} <= held
    assert not {one.group for one in made.training} & held


def test_training_is_stopped_by_facts_that_it_never_shows(made):
    shown = {repr(one.inputs) for one in made.training}
    assert {one.group for one in made.watched} <= {one.noun for one in domains() if not one.held}
    assert not [one for one in made.watched if repr(one.inputs) in shown]


@pytest.mark.parametrize("name", ["persona", "reason", "feelings"])
def test_plans_held_back_are_never_trained_on(name):
    lists = {key: value for key, value in material(name).items() if key not in ("words", "topics", "persons")}
    for found in lists.values():
        assert plans(found, held=True)
        assert set(plans(found, held=True)) & set(plans(found, held=False)) == set()
        assert set(plans(found, held=True)) | set(plans(found, held=False)) == set(found)


def test_they_are_sentences_not_a_pattern(made):
    personas = [one.answer for one in made.training if one.prompt == "persona"]
    assert len(set(personas)) == len(personas)
    assert distinct(personas, 3) > 0.7
    assert novelty([one.answer for one in made.held], [one.answer for one in made.training]) > 0.7


def test_few_sentences_are_refused(made, refused):
    # A plan that the checks keep refusing says something that it must not, and costs time. Repeated words are refused,
    # too, which no plan can know of by itself.
    assert sum(refused.refused.values()) < 0.3 * sum(refused.tried.values())
    for plan, count in refused.tried.items():
        assert refused.refused[plan] < count or count < 8, refused.why[plan]


def test_each_plan_can_be_used(made):
    everything = dict.fromkeys(
        ("np", "nps", "np2", "nps2", "fav", "no", "nos", "like", "more", "is", "one", "stars"), "x"
    )
    for name in ("persona", "reason"):
        for found in material(name).values():
            assert usable(found, everything) == found


def test_brackets_and_verbs_are_all_resolved(made):
    for one in (*made.training, *made.held):
        assert not set("[]{}|~") & set(one.answer)


def test_a_world_is_the_same_again_and_has_people():
    domain = domains()[0]
    first, second = world(domain, 3), world(domain, 3)
    assert first == second
    assert person(first, 1) == person(second, 1)
    assert all(event.item in first.items for event in person(first, 1).events)
    assert world(domain, 4).items != first.items


def test_voices_differ_in_their_verbs():
    import random

    plan = chosen("[~go for {np}]; ~have time", random.Random(1))
    assert voiced(plan, "bare") == "goes for {np}; has time"
    assert voiced(plan, "they") == "they go for {np}; they have time"
