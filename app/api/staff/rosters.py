"""Rosters of the worker's region, training certificates, counts, the sheet to print."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.access import Actor, Permission
from app.api.deps import (
    Body,
    Day,
    Db,
    IdempotencyKey,
    Listing,
    Paging,
    Purpose,
    RegionCode,
    Version,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.api.sheets import XLSX, sheet
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.rosters import RosterKind
from app.services import regions, rosters
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.rosters.members import SHOWN

router = APIRouter(tags=["名册 rosters"])
Read = Annotated[Actor, staff_may(Permission.ROSTER_READ)]
Manage = Annotated[Actor, staff_may(Permission.ROSTER_MANAGE)]
Unmask = Annotated[Actor, staff_may(Permission.PERSON_UNMASK)]


class RosterRow(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e21",
        kind="volunteer",
        name="马*兰",
        phone="139****0001",
        region_code="640104001000",
        post="巷长",
        person_id=None,
        staff_account_id=None,
        joined_on="2026-03-01",
        left_on=None,
        version=1,
    )

    id: uuid.UUID
    kind: RosterKind
    name: str
    phone: str | None
    region_code: str
    post: str | None
    person_id: uuid.UUID | None
    staff_account_id: uuid.UUID | None
    joined_on: date
    left_on: date | None
    version: int


class CertificateView(View):
    id: uuid.UUID
    member_id: uuid.UUID
    title: str
    issuer: str
    number: str | None
    issued_on: date
    expires_on: date | None
    withdrawn_at: datetime | None


class RosterDetail(View):
    member: RosterRow
    certificates: list[CertificateView]


class ExpiringCertificate(View):
    certificate: CertificateView
    member: RosterRow


class RosterCounts(View):
    """The region itself, then what lies directly below it; together the whole."""

    model_config = example(
        region_code="640104001000",
        region_name="凤凰北街街道",
        counts={"staff": 3, "village_worker": 12, "member": 240, "volunteer": 57},
    )

    region_code: str
    region_name: str
    counts: dict[RosterKind, int]


class ReviseRosterEntry(Body):
    model_config = example(version=1, entry=SHOWN)

    version: Version
    entry: rosters.RosterEntry


class Leave(Versioned):
    model_config = example(version=1, left_on="2026-11-01")

    left_on: Day


@router.get("/roster-members", summary="名册 The roster", response_model=Listing[RosterRow])
async def list_roster(
    db: Db, actor: Read, page: Paging, region_code: RegionCode | None = None, kind: RosterKind | None = None,
    left: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Of the own region or a part of it, by village; `left`: those who have left instead. Masked."""
    after = page.after(str, uuid.UUID)
    rows = await rosters.listing(
        db, actor, region_code=region_code, kind=kind, left=left, after=after, limit=page.limit + 1
    )
    return listing(rows, page, lambda row: (row["region_code"], row["id"]))


@router.post(
    "/roster-members",
    status_code=201,
    summary="登记名册 Enter somebody on a roster",
    responses=problems(NotFound, regions.RegionOutsideOwn, IdempotencyKeyReused, IdempotencyKeyTaken),
)
async def enter_roster(db: Db, actor: Manage, key: IdempotencyKey, body: rosters.RosterEntry) -> RosterRow:
    """The answer is masked."""
    return RosterRow.model_validate(rosters.masked(await rosters.enter(db, actor, key=key, new=body)))


@router.get(
    "/roster-members/{id}", summary="名册人员（脱敏） One of a roster, masked", responses=problems(NotFound)
)
async def roster_member(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> RosterDetail:
    """With the certificates, withdrawn ones too. The look is recorded."""
    return RosterDetail.model_validate(await rosters.detail(db, actor, id=id, purpose=purpose))


@router.post(
    "/roster-members/{id}/unmask",
    summary="名册人员（完整） One of a roster, unmasked",
    responses=problems(NotFound),
)
async def unmask_roster_member(db: Db, actor: Unmask, id: uuid.UUID, purpose: Purpose) -> RosterDetail:
    """Full name and phone. Recorded as such."""
    return RosterDetail.model_validate(await rosters.detail(db, actor, id=id, purpose=purpose, unmasked=True))


@router.put(
    "/roster-members/{id}",
    summary="修改名册人员 Revise an entry",
    responses=problems(NotFound, StaleVersion, WrongState, regions.RegionOutsideOwn),
)
async def revise_roster_member(db: Db, actor: Manage, id: uuid.UUID, body: ReviseRosterEntry) -> RosterRow:
    """As a whole; what is left out is emptied."""
    row = await rosters.revise(db, actor, id=id, version=body.version, new=body.entry)
    return RosterRow.model_validate(rosters.masked(row))


@router.post(
    "/roster-members/{id}/leave",
    summary="退出名册 Leave the roster",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def leave_roster(db: Db, actor: Manage, id: uuid.UUID, body: Leave) -> RosterRow:
    """Nothing is deleted. Who comes back is entered anew."""
    row = await rosters.leave(db, actor, id=id, version=body.version, on=body.left_on)
    return RosterRow.model_validate(rosters.masked(row))


@router.post(
    "/roster-members/{id}/certificates",
    status_code=201,
    summary="登记培训证书 Enter a certificate",
    responses=problems(NotFound, WrongState, IdempotencyKeyReused, IdempotencyKeyTaken),
)
async def enter_certificate(
    db: Db, actor: Manage, key: IdempotencyKey, id: uuid.UUID, body: rosters.NewCertificate
) -> CertificateView:
    """A renewed one is entered beside the old one."""
    row = await rosters.certify(db, actor, key=key, member_id=id, new=body)
    return CertificateView.model_validate(row)


@router.post(
    "/training-certificates/{id}/withdraw",
    summary="撤销培训证书 Withdraw a certificate",
    responses=problems(NotFound),
)
async def withdraw_certificate(db: Db, actor: Manage, id: uuid.UUID) -> CertificateView:
    """Entered by mistake. It stays, and counts no more."""
    return CertificateView.model_validate(await rosters.withdraw_certificate(db, actor, id=id))


@router.get(
    "/training-certificates/expiring",
    summary="即将到期的证书 Certificates that expire",
    response_model=Listing[ExpiringCertificate],
)
async def expiring_certificates(
    db: Db, actor: Read, page: Paging, days: Annotated[int, Query(ge=0, le=3660)] = 60
) -> dict[str, Any]:
    """Within so many days, or expired already, and not renewed; the most urgent first."""
    after = page.after(date.fromisoformat, uuid.UUID)
    rows = await rosters.expiring(db, actor, days=days, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["certificate"].expires_on, row["certificate"].id))


@router.get("/roster-counts", summary="名册人数 How many there are", responses=problems(NotFound))
async def roster_counts(db: Db, actor: Read, region_code: RegionCode) -> list[RosterCounts]:
    """On the roster now, by kind."""
    rows = await rosters.counts(db, actor, region_code=region_code)
    return [RosterCounts.model_validate(row) for row in rows]


@router.get(
    "/roster-download",
    summary="下载名册 The roster as an Excel sheet",
    response_class=Response,
    responses=problems(rosters.RosterTooLarge) | XLSX,
)
async def download_roster(
    db: Db, actor: Manage, purpose: Purpose, region_code: RegionCode, kind: RosterKind | None = None
) -> Response:
    """Full names and masked phones, marked with who took it and when. Recorded in the file of each."""
    book = await rosters.workbook(db, actor, region_code=region_code, kind=kind, purpose=purpose)
    return sheet(book, "名册.xlsx")
