"""Villages from the statistics bureau's table: what is added, renamed, ended, and that it is all or nothing."""

from datetime import date

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.audit import AuditEvent
from app.models.identity import Role
from app.models.regions import Region
from app.services import regions
from app.services.regions.files import RegionFileRefused, above, level_of
from tests.clients import SYSTEM
from tests.factories import appointments as made

TOWN, OTHER_TOWN = "640104001000", "640104002000"
AS_OF = date(2026, 6, 30)


def table(*rows: str, heading: str = "统计用区划代码,城乡分类代码,名称") -> bytes:
    return "\n".join((heading, *rows)).encode()


VILLAGES = (
    "640104001001,111,北塔社区居委会",
    "640104001002,111,新华社区居委会",
    "640104001203,220,丽景村委会",
)


async def load(session: AsyncSession, data: bytes, *, dry_run: bool = False) -> regions.imports.Plan:
    plan = await regions.load_villages(session, SYSTEM, data, as_of=AS_OF, dry_run=dry_run)
    session.expire_all()
    return plan


def codes(changes: list[regions.imports.Change]) -> list[str]:
    return [change.code for change in changes]


async def villages(session: AsyncSession) -> dict[str, str]:
    rows = await regions.children(session, TOWN)
    return {row.code: row.name for row in rows}


async def test_a_dry_run_says_what_would_be_and_changes_nothing(session: AsyncSession) -> None:
    plan = await load(session, table(*VILLAGES), dry_run=True)
    assert codes(plan.added) == ["640104001001", "640104001002", "640104001203"]
    assert await villages(session) == {}
    assert not await session.scalar(select(AuditEvent.id).where(AuditEvent.entity == "region"))


async def test_villages_hang_on_their_town_and_the_same_table_again_changes_nothing(
    session: AsyncSession,
) -> None:
    await load(session, table(*VILLAGES))
    row = await regions.get(session, "640104001203")
    assert (row.level, row.parent_code, row.source) == (5, TOWN, "NBS 2026-06-30")
    assert (row.valid_from, row.valid_to) == (AS_OF, None)
    again = await load(session, table(*VILLAGES))
    assert (again.added, again.renamed, again.ended, again.unchanged) == ([], [], [], 3)


async def test_an_administrator_loads_villages_of_the_own_region_alone(session: AsyncSession) -> None:
    administrator = await made.worker(session, TOWN, Role.SYSTEM_ADMINISTRATOR)
    theirs = "640104002201"
    with pytest.raises(RegionFileRefused) as refusal:
        await regions.load_villages(
            session, administrator, table(*VILLAGES, f"{theirs},220,某村"), dry_run=False
        )
    assert [wrong["pointer"] for wrong in refusal.value.errors or []] == ["#line/5"]
    plan = await regions.load_villages(session, administrator, table(*VILLAGES), dry_run=False)
    assert len(plan.added) == 3


async def test_a_renamed_village_keeps_its_old_name_in_history(session: AsyncSession) -> None:
    await load(session, table(*VILLAGES))
    changed = table(VILLAGES[0], VILLAGES[1], "640104001203,121,丽景社区居委会")
    later = date(2026, 9, 1)
    plan = await regions.load_villages(session, SYSTEM, changed, as_of=later, dry_run=False)
    assert [(one.old_name, one.name) for one in plan.renamed] == [("丽景村委会", "丽景社区居委会")]
    assert (await villages(session))["640104001203"] == "丽景社区居委会"
    assert await regions.name_on(session, "640104001203", date(2026, 8, 31)) == "丽景村委会"
    assert await regions.name_on(session, "640104001203", later) == "丽景社区居委会"


async def test_a_village_missing_in_its_town_ends_and_one_of_another_town_stays(
    session: AsyncSession,
) -> None:
    await load(session, table(*VILLAGES, "640104002001,111,别处社区"))
    plan = await load(session, table(*VILLAGES[:2]))
    assert codes(plan.ended) == ["640104001203"]
    assert set(await villages(session)) == {"640104001001", "640104001002"}
    ended = await regions.get(session, "640104001203")
    assert (ended.name, ended.valid_to) == ("丽景村委会", AS_OF)
    assert (await regions.get(session, "640104002001")).valid_to is None
    back = await load(session, table(*VILLAGES))
    assert codes(back.added) == ["640104001203"]
    assert (await regions.get(session, "640104001203")).valid_to is None


async def test_a_village_where_somebody_lives_does_not_just_end(session: AsyncSession) -> None:
    await load(session, table(*VILLAGES))
    await made.couple(session, "640104001203")
    with pytest.raises(RegionFileRefused) as refusal:
        await load(session, table(VILLAGES[0], "640104001004,111,新增社区"))
    assert "640104001203" in refusal.value.errors[0]["zh"]
    assert len(await villages(session)) == 3, "and nothing of the rest of the file was taken"


async def test_the_ministry_s_names_stand_and_pseudo_divisions_are_passed_over(session: AsyncSession) -> None:
    before = (await regions.get(session, TOWN)).name
    plan = await load(
        session,
        table(
            "640101000000,,市辖区",
            f"{TOWN},,凤凰北街街道办事处",
            VILLAGES[0],
            heading="代码,城乡分类,区划名称",
        ),
    )
    assert (plan.skipped, plan.unchanged, codes(plan.added)) == (1, 1, ["640104001001"])
    assert (await regions.get(session, TOWN)).name == before
    assert await session.get(Region, "640101000000") is None


async def test_a_town_that_the_ministry_lacks_comes_with_its_villages(session: AsyncSession) -> None:
    plan = await load(session, table("640104400001,121,一队", "640104400000,,某农场"))
    assert codes(plan.added) == ["640104400001", "640104400000"]
    assert (await regions.get(session, "640104400001")).parent_code == "640104400000"
    assert (await regions.get(session, "640104400000")).parent_code == "640104000000"


def test_skipped_levels_are_seen_in_the_code() -> None:
    assert above("441900003001") == ["441900003000", "441900000000", "440000000000"]
    assert above("640104001000") == ["640104000000", "640100000000", "640000000000"]
    assert [level_of(code) for code in ("640000000000", "441900000000", "441900003000")] == [1, 2, 4]


async def test_where_a_level_is_skipped_the_table_says_so(session: AsyncSession) -> None:
    """A village directly below its county, where the code names a town that is none."""
    row = "640104777201,220,直属村委会"
    with pytest.raises(RegionFileRefused):
        await load(session, table(row))
    stated = f"{row},640104"
    plan = await load(session, table(stated, heading="code,class,name,parent"))
    assert codes(plan.added) == ["640104777201"]
    assert (await regions.get(session, "640104777201")).parent_code == "640104000000"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
async def test_encodings_delimiters_and_headings_of_offices(
    session: AsyncSession, encoding: str, delimiter: str
) -> None:
    text = " 名 称 ,备注,Code\r\n北塔社区居委会,无,640104001001\r\n,,\r\n"
    plan = await load(session, text.replace(",", delimiter).encode(encoding), dry_run=True)
    assert [(one.code, one.name) for one in plan.added] == [("640104001001", "北塔社区居委会")]


async def test_ten_thousand_villages_are_written_in_chunks(session: AsyncSession) -> None:
    towns = [row.code for row in await regions.children(session, "640104000000")][:10]
    rows = [
        f"{town[:9]}{number:03},220,{town[6:9]}号{number}村" for town in towns for number in range(1, 1000)
    ]
    told: list[tuple[int, int]] = []
    started = clock.now()
    await regions.load_villages(
        session, SYSTEM, table(*rows), as_of=AS_OF, dry_run=False, progress=lambda *step: told.append(step)
    )
    assert (clock.now() - started).total_seconds() < 10
    assert told[0] == (5000, len(rows))
    assert told[-1] == (len(rows), len(rows))
    count = select(func.count()).where(Region.level == 5)
    assert await session.scalar(count) == len(rows)
