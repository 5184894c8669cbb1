"""One's rights: a copy of everything held, the history of consents, erasure (PIPL arts. 44 to 50)."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from app.access import Actor, Permission
from app.api.citizen.consents import ConsentView
from app.api.deps import Body, Db, IdempotencyKey, Note, Versioned, View, example, resident_may
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.consents import Purpose
from app.models.identity import Role
from app.models.rights import ErasureStatus
from app.services import consents, identity, rights
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["我的权利 rights"])
Own = Annotated[Actor, resident_may(Permission.OWN_ACCOUNT)]
DOWNLOAD = {"Content-Disposition": 'attachment; filename="nuanxin-file.json"', "Cache-Control": "no-store"}


class Section(View):
    """Rows of one table. `complete` is false where there are more than ten thousand."""

    table: str
    zh: str
    en: str
    rows: list[dict[str, Any]]
    complete: bool


class ChildFile(View):
    person_id: uuid.UUID
    sections: list[Section]


class PersonFile(View):
    """Unmasked: the copy that PIPL article 45 grants."""

    made_at: datetime
    person_id: Annotated[uuid.UUID | None, Field(description="null: the account is bound to nobody")]
    sections: list[Section]
    children: Annotated[list[ChildFile], Field(description="Under 14, of whom one is the guardian")]


class ConsentStep(ConsentView):
    """With the notice, in the version that was shown."""

    purpose: Purpose
    notice_version: int
    title_zh: str
    title_en: str
    published_at: datetime
    retired_at: datetime | None


class HoldView(View):
    """A duty to keep. `until` is absent where no calendar ends it."""

    code: str
    zh: str
    en: str
    source: str
    until: date | None


class ErasureView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e09",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        name="王*芳",
        region_code="640104001000",
        status="held",
        holds=[
            {
                "code": "report_retention",
                "zh": "检查报告仍在保存期限内",
                "en": "A report must still be kept",
                "source": "《医疗机构病历管理规定（2013年版）》第二十九条",
                "until": "2041-08-01",
            }
        ],
        reason="已同意，保存期满后注销",
        requester_role="resident",
        requested_at="2026-08-01T02:00:00Z",
        decided_at="2026-08-02T02:00:00Z",
        version=2,
    )

    id: uuid.UUID
    person_id: uuid.UUID
    name: str
    region_code: str
    status: ErasureStatus
    holds: Annotated[list[HoldView], Field(description="Found when it was last decided")]
    reason: str | None
    requester_role: Role
    requested_at: datetime
    decided_at: datetime | None
    version: int


class RequestErasure(Body):
    model_config = example(why="已迁往外地，不再使用")

    person_id: Annotated[uuid.UUID | None, Field(description="A child under 14, by a parent")] = None
    why: Note | None = None


@router.get("/me/file", summary="导出我的档案 Everything held about me")
async def own_file(db: Db, actor: Own, response: Response) -> PersonFile:
    """As JSON, unmasked, with who looked; and the same of each child under 14 whose guardian one is. Of an account that
    is bound to nobody: its gifts, pledges, receipts and sign-ins. Recorded."""
    response.headers.update(DOWNLOAD)
    return PersonFile.model_validate(await rights.own_file(db, actor))


@router.get("/consents/history", summary="同意历史 History of my consents")
async def consent_history(db: Db, actor: Own) -> list[ConsentStep]:
    """Given and withdrawn, with the version of the notice that was shown; the newest 200 at once."""
    return [ConsentStep.model_validate(row) for row in await consents.history_with_notices(db, actor)]


@router.post(
    "/me/erasures",
    status_code=201,
    summary="申请注销 Ask to be erased",
    responses=problems(
        identity.NotBound,
        NotFound,
        consents.GuardianNeeded,
        rights.ErasurePending,
        IdempotencyKeyReused,
        IdempotencyKeyTaken,
    ),
)
async def request_erasure(db: Db, actor: Own, key: IdempotencyKey, body: RequestErasure) -> ErasureView:
    """An administrator decides. Where a duty to keep stands against it, it is named with its end."""
    asked = await rights.request_own(db, actor, key=key, person_id=body.person_id, why=body.why)
    return ErasureView.model_validate(asked)


@router.post(
    "/me/account/erase",
    status_code=204,
    summary="注销未实名的账号 Erase an account that is bound to nobody",
    responses=problems(rights.AccountIsBound),
)
async def erase_account(db: Db, actor: Own) -> None:
    """At once. Gifts stay in the books without a name, and nobody can tell any more whose they were; open pledges are
    cancelled. Somebody who is bound asks to be erased instead."""
    await rights.erase_own(db, actor)


@router.get("/me/erasures", summary="我的注销申请 My requests to be erased")
async def own_erasures(db: Db, actor: Own) -> list[ErasureView]:
    """For oneself and one's children, newest first, all at once."""
    return [ErasureView.model_validate(row) for row in await rights.own(db, actor)]


@router.post(
    "/me/erasures/{id}/withdraw",
    summary="撤回注销申请 Take it back",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def withdraw_erasure(db: Db, actor: Own, id: uuid.UUID, body: Versioned) -> ErasureView:
    """Until it is done."""
    return ErasureView.model_validate(await rights.withdraw(db, actor, id=id, version=body.version))
