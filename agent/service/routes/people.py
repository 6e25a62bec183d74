"""One person: what is believed about them and why, what they say about it, what suits them, and their rights."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from agent import correcting, shapes
from agent.correcting import Change
from agent.service import schemas
from agent.service.problem import answers
from agent.service.requests import Do, Who
from agent.service.schemas import ChangeIn, ItemPath, Json, UserPath, Where, Words
from agent.types import Language

router = APIRouter(prefix="/api/people/{user:path}", tags=["people"])
Many = Annotated[int, Query(ge=1, le=200, description="How many at most.")]


@router.get("/profile", response_model=schemas.Profile, responses=answers(404))
async def profile(user: UserPath, who: Who, do: Do) -> Json:
    """Tags with receipts, and the persona; built or updated when something happened since."""
    who.need_person(user, "read")
    return await do(lambda: shapes.profile(do.desk.rapport.profile(user)), user)


@router.get("/profile/history", response_model=schemas.Profiles, responses=answers(404))
async def history(user: UserPath, who: Who, do: Do, n: Many = 20) -> Json:
    """The versions that the profile has had, the newest first."""
    who.need_person(user, "read")
    rapport = do.desk.rapport

    def versions() -> Json:
        rapport.known(user)
        return {"versions": [shapes.profile(one) for one in rapport.store.profile_history(user)[: -n - 1 : -1]]}

    return await do(versions, user)


@router.get("/tags/edits", response_model=schemas.Edits, responses=answers(404))
async def edits(user: UserPath, who: Who, do: Do) -> Json:
    """What this person says about their tags."""
    who.need_person(user, "read")
    rapport = do.desk.rapport

    def said() -> Json:
        rapport.known(user)
        return {"edits": [shapes.edit(one) for one in rapport.store.edits(user)]}

    return await do(said, user)


@router.post("/tags", response_model=schemas.Profile, responses=answers(404))
async def edit(user: UserPath, body: ChangeIn, who: Who, do: Do) -> Json:
    """Add, mute, remove or rename a tag, also as the first thing that is known of somebody; no model overrides it."""
    who.need_person(user, "write")
    return await do(lambda: shapes.profile(correcting.save(do.desk.rapport, user, change(body))), user)


@router.post("/tags/preview", response_model=schemas.Preview, responses=answers(404))
async def preview(user: UserPath, body: ChangeIn, who: Who, do: Do, n: Many = 10) -> Json:
    """What would change in the first n recommendations if this edit were saved; nothing is."""
    who.need_person(user, "read")
    return await do(lambda: shapes.preview(correcting.preview(do.desk.rapport, user, change(body), n)), user)


@router.post("/tags/undo", response_model=schemas.Profile, responses=answers(404))
async def undo(user: UserPath, who: Who, do: Do) -> Json:
    """Take back what was said last; again for what was said before that."""
    who.need_person(user, "write")
    return await do(lambda: shapes.profile(correcting.undo(do.desk.rapport, user)), user)


@router.get("/recommendations", response_model=schemas.Answer, responses=answers(404))
async def recommendations(
    user: UserPath,
    who: Who,
    do: Do,
    n: Many = 10,
    words: Words = "",
    where: Where = [],  # noqa: B006 - FastAPI copies it
    surprise: Annotated[float, Query(ge=0, le=1, description="0 = familiar, 1 = surprising.")] = 0.2,
    language: Annotated[Language | None, Query(description="Left out: the person's own.")] = None,
    new: Annotated[bool, Query(description="Answer for somebody who is not known, too.")] = False,
) -> Json:
    """Items, best first, each with a reason and what it rests on."""
    who.need_person(user, "read")
    recommend = do.desk.rapport.recommend
    return await do(
        lambda: shapes.answer(
            recommend(user, n, words=words, where=where, surprise=surprise, language=language, allow_new=new)
        ),
        user,
    )


@router.get("/explanations/{item:path}", response_model=schemas.Recommendation, responses=answers(404))
async def explain(user: UserPath, item: ItemPath, who: Who, do: Do) -> Json:
    """Why this item would, or would not, suit this person."""
    who.need_person(user, "read")
    return await do(lambda: shapes.recommendation(do.desk.rapport.explain(user, item)), user)


@router.get("/export", response_model=schemas.Export, responses=answers(404))
async def export(user: UserPath, who: Who, do: Do) -> Json:
    """Everything that is stored about this person."""
    who.need_person(user, "admin")
    rapport = do.desk.rapport

    def rows() -> Json:
        rapport.known(user)
        return rapport.store.export_user(user)

    return await do(rows, user)


@router.delete("", response_model=schemas.Proof, responses=answers(404))
async def forget(user: UserPath, who: Who, do: Do) -> Json:
    """Remove this person from every table and file, with proof, their API keys included. This cannot be undone."""
    who.need_person(user, "admin")
    return shapes.proof(await do(lambda: do.desk.forget(user)))


def change(body: ChangeIn) -> Change:
    return Change(body.action, body.name, body.polarity, body.to)
