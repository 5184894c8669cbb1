"""Rosters: who is on them, who sees whom, which certificates end, the sheet that names its taker."""

import io
import re
import uuid
import zipfile
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound, StaleVersion, WrongState
from app.models.audit import AuditEvent
from app.models.regions import Region
from app.models.rosters import RosterKind, RosterMember
from app.services import regions, rosters
from app.services.idempotency import Key
from app.services.rosters import NewCertificate, RosterEntry, download
from app.services.rosters.members import SHOWN
from tests.factories import appointments as made

TOWN, COUNTY, NEXT_COUNTY = "640104001000", "640104000000", "640105001000"


def entry(**changes: Any) -> RosterEntry:
    return RosterEntry.model_validate(SHOWN | changes)


async def enter(session: AsyncSession, actor: Actor, **changes: Any) -> RosterMember:
    return await rosters.enter(session, actor, key=Key(new_id(), b""), new=entry(**changes))


@pytest.fixture
async def clerk(session: AsyncSession) -> Actor:
    return await made.worker(session, COUNTY)


async def listed(session: AsyncSession, actor: Actor, **how: Any) -> list[dict[str, Any]]:
    how = {"region_code": None, "kind": None, "left": False, "after": None, "limit": 50} | how
    return await rosters.listing(session, actor, **how)


async def test_a_list_is_masked_and_the_phone_is_sealed(session: AsyncSession, clerk: Actor) -> None:
    row = await enter(session, clerk)
    shown = (await listed(session, clerk))[0]
    assert (shown["name"], shown["phone"]) == ("马*兰", "139****0001")
    assert b"13900000001" not in (row.phone_sealed or b"")
    full = await rosters.detail(session, clerk, id=row.id, purpose="registry_upkeep", unmasked=True)
    assert (full["member"]["name"], full["member"]["phone"]) == ("马秀兰", "13900000001")
    event = (await session.scalars(select(AuditEvent).where(AuditEvent.action == "read_unmasked"))).one()
    assert (event.entity, event.entity_id, event.purpose) == ("roster_member", row.id, "registry_upkeep")


async def test_a_list_is_of_the_own_region_by_kind_and_part(session: AsyncSession, clerk: Actor) -> None:
    for code, kind in ((TOWN, "volunteer"), (COUNTY, "staff"), ("640104002000", "volunteer")):
        await enter(session, clerk, region_code=code, kind=kind)
    stranger = await made.worker(session, NEXT_COUNTY)
    await enter(session, stranger, region_code=NEXT_COUNTY)
    assert len(await listed(session, clerk)) == 3
    assert len(await listed(session, clerk, kind=RosterKind.VOLUNTEER)) == 2
    assert len(await listed(session, clerk, region_code=TOWN)) == 1
    assert await listed(session, clerk, region_code=NEXT_COUNTY) == []
    with pytest.raises(regions.RegionOutsideOwn):
        await enter(session, clerk, region_code=NEXT_COUNTY)
    theirs = (await listed(session, stranger))[0]
    with pytest.raises(NotFound):
        await rosters.detail(session, clerk, id=theirs["id"], purpose="audit")


async def test_who_leaves_stays_with_the_day(session: AsyncSession, clerk: Actor) -> None:
    row, today = await enter(session, clerk), clock.today()
    for wrong in (row.joined_on - timedelta(days=1), today + timedelta(days=1)):
        with pytest.raises(Invalid):
            await rosters.leave(session, clerk, id=row.id, version=1, on=wrong)
    await rosters.leave(session, clerk, id=row.id, version=1, on=today)
    assert await listed(session, clerk) == []
    assert [one["left_on"] for one in await listed(session, clerk, left=True)] == [today]
    for change in (
        rosters.leave(session, clerk, id=row.id, version=2, on=today),
        rosters.revise(session, clerk, id=row.id, version=2, new=entry()),
        certify(session, clerk, row),
    ):
        with pytest.raises(WrongState):
            await change


async def test_an_entry_is_revised_as_a_whole_and_by_version(session: AsyncSession, clerk: Actor) -> None:
    row = await enter(session, clerk)
    revised = await rosters.revise(session, clerk, id=row.id, version=1, new=entry(phone=None, post="组长"))
    assert (revised.phone, revised.post, revised.version) == (None, "组长", 2)
    with pytest.raises(StaleVersion):
        await rosters.revise(session, clerk, id=row.id, version=1, new=entry())
    with pytest.raises(Invalid):
        await enter(session, clerk, joined_on=clock.today() + timedelta(days=1))


async def test_a_link_is_to_somebody_within_reach(session: AsyncSession, clerk: Actor) -> None:
    family, colleague = await made.couple(session), await made.worker(session, TOWN)
    row = await enter(session, clerk, person_id=family.wife.id, staff_account_id=colleague.id)
    assert (row.person_id, row.staff_account_id) == (family.wife.id, colleague.id)
    seen = select(AuditEvent.action).where(AuditEvent.person_id == family.wife.id)
    assert "enter" in set(await session.scalars(seen)), "it stands in her own file"
    family.husband.region_code = NEXT_COUNTY
    elsewhere = await made.worker(session, NEXT_COUNTY)
    await session.flush()
    with pytest.raises(NotFound):
        await enter(session, clerk, person_id=family.husband.id)
    for unknown in (elsewhere.id, uuid.uuid4()):
        with pytest.raises(Invalid):
            await enter(session, clerk, staff_account_id=unknown)


async def certify(session: AsyncSession, actor: Actor, row: RosterMember, **changes: Any) -> Any:
    values = {
        "title": "咨询员",
        "issuer": "协会",
        "issued_on": date(2024, 1, 1),
        "expires_on": None,
    } | changes
    new = NewCertificate.model_validate(values)
    return await rosters.certify(session, actor, key=Key(new_id(), b""), member_id=row.id, new=new)


async def ending(session: AsyncSession, actor: Actor, days: int = 30) -> list[date]:
    rows = await rosters.expiring(session, actor, days=days, after=None, limit=50)
    return [row["certificate"].expires_on for row in rows]


async def test_certificates_that_end_soon_or_have_ended_and_were_not_renewed(
    session: AsyncSession, clerk: Actor
) -> None:
    row, today = await enter(session, clerk), clock.today()
    soon, later, over = today + timedelta(days=30), today + timedelta(days=31), today - timedelta(days=5)
    for expires_on in (soon, later, None):
        await certify(session, clerk, row, title=f"t{expires_on}", expires_on=expires_on)
    old = await certify(session, clerk, row, title="renewed", expires_on=over)
    assert await ending(session, clerk) == [over, soon]
    renewal = await certify(session, clerk, row, title="renewed", expires_on=later)
    assert await ending(session, clerk) == [soon]
    await rosters.withdraw_certificate(session, clerk, id=renewal.id)
    assert await ending(session, clerk) == [over, soon], "a withdrawn one renews nothing"
    await rosters.withdraw_certificate(session, clerk, id=old.id)
    assert await ending(session, clerk) == [soon]
    assert await ending(session, await made.worker(session, NEXT_COUNTY)) == []
    shown = await rosters.detail(session, clerk, id=row.id, purpose="audit")
    assert len(shown["certificates"]) == 5
    await rosters.leave(session, clerk, id=row.id, version=row.version, on=today)
    assert await ending(session, clerk) == []


async def test_a_withdrawn_certificate_stands_once_in_the_trail_of_its_person(
    session: AsyncSession, clerk: Actor
) -> None:
    family = await made.couple(session)
    certificate = await certify(session, clerk, await enter(session, clerk, person_id=family.wife.id))
    for _ in range(2):
        await rosters.withdraw_certificate(session, clerk, id=certificate.id)
    trail = select(AuditEvent.person_id).where(
        AuditEvent.entity_id == certificate.id, AuditEvent.action == "withdraw"
    )
    assert list(await session.scalars(trail)) == [family.wife.id]


@pytest.mark.parametrize("changes", [{"issued_on": date(2199, 1, 1)}, {"expires_on": date(2024, 1, 1)}])
async def test_a_certificate_that_cannot_be_is_refused(
    session: AsyncSession, clerk: Actor, changes: dict[str, Any]
) -> None:
    row = await enter(session, clerk)
    with pytest.raises(Invalid):
        await certify(session, clerk, row, **changes)


async def test_counts_sum_to_the_whole(session: AsyncSession, clerk: Actor) -> None:
    village = Region(
        code="640104001201",
        level=5,
        parent_code=TOWN,
        name="甲村",
        valid_from=date(2026, 1, 1),
        source="test",
    )
    session.add(village)
    await session.flush()
    for code in (COUNTY, TOWN, village.code, village.code, "640104002000"):
        await enter(session, clerk, region_code=code)
    gone = await enter(session, clerk, region_code=TOWN)
    await rosters.leave(session, clerk, id=gone.id, version=1, on=clock.today())
    rows = await rosters.counts(session, clerk, region_code=COUNTY)
    numbers = {row["region_code"]: row["counts"][RosterKind.VOLUNTEER] for row in rows}
    assert {code: number for code, number in numbers.items() if number} == {
        COUNTY: 1, TOWN: 3, "640104002000": 1,
    }  # fmt: skip
    assert len(rows) > 5, "those where nobody is count zero"
    assert sum(numbers.values()) == len(await listed(session, clerk))


def cells(sheet: bytes) -> list[list[str]]:
    """Of a workbook with nothing but strings."""
    with zipfile.ZipFile(io.BytesIO(sheet)) as book:
        strings = re.findall(r"<t[^>]*>([^<]*)</t>", book.read("xl/sharedStrings.xml").decode())
        written = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in written, "a formula"
    rows = re.findall(r"<row [^>]*>(.*?)</row>", written)
    return [[strings[int(number)] for number in re.findall(r't="s"><v>(\d+)</v>', row)] for row in rows]


async def test_the_sheet_names_who_took_it_and_masks_phones(session: AsyncSession, clerk: Actor) -> None:
    await enter(session, clerk, name="=HYPERLINK(1)", post="@cmd")
    await enter(session, clerk, kind="staff")
    sheet = await rosters.workbook(session, clerk, region_code=COUNTY, kind=None, purpose="registry_upkeep")
    rows = cells(sheet)
    assert "马建国" in rows[0][0]
    assert str(clock.today()) in rows[0][0]
    assert rows[1][:3] == ["类别", "姓名", "手机号"]
    assert [row[1:3] for row in rows[2:]] == [["=HYPERLINK(1)", "139****0001"], ["马秀兰", "139****0001"]]
    only = await rosters.workbook(
        session, clerk, region_code=COUNTY, kind=RosterKind.STAFF, purpose="registry_upkeep"
    )
    assert len(cells(only)) == 3
    taken = select(AuditEvent.purpose).where(AuditEvent.action == "download")
    assert list(await session.scalars(taken)) == ["registry_upkeep"] * 2


async def test_a_roster_too_large_is_downloaded_in_parts(
    session: AsyncSession, clerk: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MOST", 1)
    await enter(session, clerk)
    await enter(session, clerk)
    with pytest.raises(rosters.RosterTooLarge):
        await rosters.workbook(session, clerk, region_code=COUNTY, kind=None, purpose="audit")
