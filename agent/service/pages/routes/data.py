"""A person's rights: everything about them in one file, and all of it gone, with proof."""

from __future__ import annotations

import json

from fastapi import APIRouter
from fastapi.responses import Response

from agent.privacy.erasure import Proof
from agent.service.pages.door import Member, PageRoute, Sent, Visitor
from agent.service.pages.session import begun
from agent.service.requests import Do

router = APIRouter(include_in_schema=False, route_class=PageRoute)
TOLD = ("events", "profiles", "tag_edits", "turns", "wishes", "calls")
"""Tables whose rows are counted for the person."""


@router.get("/data")
async def page(visitor: Member, do: Do) -> Response:
    return await shown(visitor, do)


async def shown(visitor: Visitor, do: Do, wrong: str = "", status: int = 200) -> Response:
    user, store = visitor.user, visitor.rapport.store

    def count() -> list[tuple[str, int]]:
        rows = store.export_user(user)
        return [(name, len(rows[name])) for name in TOLD if rows[name]]

    allowed = visitor.principal is not None and (bool(visitor.principal.user) or visitor.principal.may("admin"))
    rows = await do(count, user)
    return visitor.page("data.html", {"rows": rows, "allowed": allowed, "wrong": wrong, "proof": None}, status)


@router.get("/data/export")
async def export(visitor: Member, do: Do) -> Response:
    """A file to be kept."""
    user = visitor.owns()

    def rows() -> str:
        visitor.rapport.known(user)
        return json.dumps(visitor.rapport.store.export_user(user), ensure_ascii=False, indent=1)

    name = {"Content-Disposition": 'attachment; filename="rapport.json"'}
    return Response((await do(rows, user)).encode("utf-8", "replace"), media_type="application/json", headers=name)


@router.post("/data/erase")
async def erase(visitor: Member, sent: Sent, do: Do) -> Response:
    user = visitor.owns()
    if sent.one("sure") != "yes":
        return await shown(visitor, do, visitor.words("erase_unconfirmed"), 422)
    proof: Proof = await do(lambda: do.desk.forget(user))
    response = visitor.page("data.html", {"rows": [], "allowed": False, "wrong": "", "proof": proof})
    # Whoever looks at everybody stays signed in; the person whose key went with them does not.
    stays = visitor.operates
    visitor.seal_into(response, begun(visitor.session.key) if stays else begun())
    return response
