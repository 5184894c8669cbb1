"""What residents and workers get of results that is not JSON: pages, documents, pictures."""

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.models.identity import Role
from app.services.results import attachments
from tests.clients import client
from tests.factories import appointments as given
from tests.factories import pdfs
from tests.factories.appointments import Attended
from tests.factories.results import body, post
from tests.guards.cast import CITIZEN, STAFF, bearer, worker

DATA = pdfs.pdf()
PURPOSE = {"Purpose": "follow_up"}


async def released(session: AsyncSession) -> tuple[Attended, str]:
    attended = await given.attended(session)
    posted = body(attended, attachment_sha256=pdfs.sha256(DATA))
    accepted = await post(session, attended, posted)
    await attachments.accept(
        session,
        attended.partner,
        external_id=posted["external_id"],
        version=1,
        data=DATA,
        signature="v1,c2ln",
    )
    await session.commit()
    return attended, str(accepted.report_id)


async def headers(session: AsyncSession, actor: Actor) -> dict[str, str]:
    door = CITIZEN if actor.role is Role.RESIDENT else STAFF
    return await bearer(session, door, actor)


@pytest.mark.parametrize("door", [CITIZEN, STAFF])
async def test_page_document_and_picture(session: AsyncSession, app: FastAPI, door: str) -> None:
    attended, report = await released(session)
    actor = attended.wife if door == CITIZEN else await worker(session, Role.TOWNSHIP_OFFICER)
    who = await headers(session, actor) | ({} if door == CITIZEN else PURPOSE)
    trend = "/results/trends" if door == CITIZEN else f"/persons/{attended.spouses.wife.id}/trends"
    async with client(app, headers=who) as caller:
        page = await caller.get(f"{door}/reports/{report}/page")
        document = await caller.get(f"{door}/reports/{report}/attachment")
        picture = await caller.get(f"{door}{trend}?code=haemoglobin")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (document.content, document.headers["content-type"]) == (DATA, "application/pdf")
    # Shown by no page of ours, and under no name that the hospital chose.
    assert document.headers["content-disposition"] == 'attachment; filename="report.pdf"'
    assert document.headers["x-content-type-options"] == "nosniff"
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert "2026" in picture.text or "<desc" in picture.text
    assert {one.headers["cache-control"] for one in (page, document, picture)} == {"no-store"}


async def test_a_worker_without_a_purpose_and_a_stranger_get_nothing(
    session: AsyncSession, app: FastAPI
) -> None:
    attended, report = await released(session)
    officer = await headers(session, await worker(session, Role.TOWNSHIP_OFFICER))
    stranger = await headers(session, (await given.couple(session)).wife_actor)
    async with client(app) as caller:
        for path in (f"reports/{report}/page", f"reports/{report}/attachment"):
            assert (await caller.get(f"{STAFF}/{path}", headers=officer)).status_code == 422
            assert (await caller.get(f"{CITIZEN}/{path}", headers=stranger)).status_code == 404
        forms = f"{STAFF}/appointments/{attended.appointment.id}/record-forms"
        assert (await caller.get(forms, headers=officer)).status_code == 422
        assert (await caller.get(forms, headers=officer | PURPOSE)).json()["consent"] == 0
