from __future__ import annotations

import pytest

from agent import correcting, sample
from agent.correcting import Change
from agent.errors import UnknownUser, UsageError
from agent.wiring import Rapport


@pytest.fixture
def rapport(shop) -> Rapport:
    return shop(sample.films(), sample.events())


def names(profile, kind="") -> list[str]:
    return [tag.name for tag in profile.tags if not kind or tag.kind == kind]


def listed(rapport, user, n=10) -> list[str]:
    return [one.item.id for one in rapport.recommend(user, n).items]


@pytest.mark.parametrize("user", ["mara", "piet", "otis", "lin"])
@pytest.mark.parametrize("action", ["mute", "remove", "rename", "add"])
def test_the_preview_is_what_saving_brings(rapport, user, action):
    tag = rapport.profile(user).tags[0].name
    change = Change(action, "Western" if action == "add" else tag, to="Renamed" if action == "rename" else "")
    shown = correcting.preview(rapport, user, change)
    before = listed(rapport, user)
    assert [one.was for one in shown.items] == [
        before.index(one.candidate.item.id) + 1 if one.candidate.item.id in before else None for one in shown.items
    ]
    saved = correcting.save(rapport, user, change)
    assert names(saved) == names(shown.profile)
    after = listed(rapport, user)
    assert after == [one.candidate.item.id for one in shown.items]
    assert {one.item.id for one in shown.gone} == set(before) - set(after)


def test_the_preview_of_what_is_asked_for_now(rapport):
    chat, change = rapport.chat, Change("remove", "Animation")
    list(chat.reply("mara", "c", "no musicals, since 1980"))
    shown = correcting.preview(rapport, "mara", change, asked=chat.asked("mara", 8))
    correcting.save(rapport, "mara", change)
    assert [one.candidate.item.id for one in shown.items] == [one.item.id for one in chat.listed("mara", 8).items]
    assert all(one.candidate.item.attributes["year"] >= 1980 for one in shown.items)


def test_a_preview_keeps_nothing(rapport):
    before = rapport.profile("mara")
    rows = rapport.store.export_user("mara")
    correcting.preview(rapport, "mara", Change("remove", before.tags[0].name))
    assert rapport.store.export_user("mara") == rows
    assert rapport.profile("mara") == before


def test_a_change_that_changes_the_list_does(rapport):
    shown = correcting.preview(rapport, "mara", Change("remove", "Animation"), 10)
    assert shown.gone
    assert any(one.was != one.rank for one in shown.items)


def test_a_renamed_tag_keeps_what_it_rests_on(rapport):
    old = rapport.profile("mara").tags[0]
    new = correcting.save(rapport, "mara", Change("rename", old.name, to="Dark corners")).tags[0]
    assert (new.name, new.feature, new.kind, new.polarity) == ("Dark corners", old.feature, "stated", old.polarity)
    assert new.receipts == old.receipts
    assert old.name not in names(rapport.profile("mara"))


def test_a_stated_tag_can_be_renamed_and_removed(rapport):
    correcting.save(rapport, "mara", Change("add", "Zithers"))
    correcting.save(rapport, "mara", Change("rename", "zithers", to="Odd music"))
    assert names(rapport.profile("mara"), "stated") == ["Odd music"]
    correcting.save(rapport, "mara", Change("remove", "Odd music"))
    assert names(rapport.profile("mara"), "stated") == []


def test_every_step_can_be_undone_in_turn(rapport):
    steps = [
        Change("add", "Jazz", -1),
        Change("remove", rapport.profile("mara").tags[0].name),
        Change("rename", rapport.profile("mara").tags[1].name, to="Other"),
        Change("add", "Jazz", 1),
    ]
    seen = [[(tag.name, tag.polarity) for tag in rapport.profile("mara").tags]]
    for step in steps:
        seen.append([(tag.name, tag.polarity) for tag in correcting.save(rapport, "mara", step).tags])
    assert len({tuple(one) for one in seen}) == len(seen)
    for tags in reversed(seen[:-1]):
        assert [(tag.name, tag.polarity) for tag in correcting.undo(rapport, "mara").tags] == tags
    with pytest.raises(UsageError, match="nothing"):
        correcting.undo(rapport, "mara")


def test_what_the_command_line_says_can_be_undone_too(rapport):
    rapport.state("mara", "Jazz", "add")
    rapport.state("mara", "Blues", "add")
    assert rapport.unstate("mara", "Jazz")
    assert names(correcting.undo(rapport, "mara"), "stated") == ["Jazz", "Blues"]
    assert names(correcting.undo(rapport, "mara"), "stated") == ["Jazz"]


def test_nobody_can_undo_for_somebody_unknown(rapport):
    with pytest.raises(UnknownUser):
        correcting.undo(rapport, "nobody")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (Change("add", "  "), "1 to 48"),
        (Change("add", "x" * 49), "1 to 48"),
        (Change("add", "<b>x</b>"), "1 to 48"),
        (Change("add", "a\u202eb"), "1 to 48"),
        (Change("remove", "Nothing of the kind"), "has no tag"),
        (Change("rename", "Film Noir"), "1 to 48"),
    ],
)
def test_what_is_no_change_is_refused_and_leaves_nothing(rapport, change, why):
    rapport.profile("mara")
    with pytest.raises(UsageError, match=why):
        correcting.save(rapport, "mara", change)
    assert rapport.store.edits("mara") == []


def test_who_only_said_something_can_be_forgotten_beside_another_like_them(rapport):
    """Both have the same persona, by template: what stays of one is no trace of the other."""
    for user in ("one", "other"):
        correcting.save(rapport, user, Change("add", "A taste that is told at length"))
    assert rapport.profile("one").persona == rapport.profile("other").persona
    assert rapport.forget("one").found == 0
    assert rapport.profile("other").tags


def test_somebody_new_can_be_previewed_and_begin(rapport):
    shown = correcting.preview(rapport, "newcomer", Change("add", "Animation"), 5)
    assert len(shown.items) == 5
    assert not rapport.store.has_user("newcomer")
    assert names(correcting.save(rapport, "newcomer", Change("add", "Animation"))) == ["Animation"]
    assert listed(rapport, "newcomer", 5) == [one.candidate.item.id for one in shown.items]
