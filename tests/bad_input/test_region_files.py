"""Tables of divisions that are wrong in every way: each wrong line is named, and nothing is loaded."""

import pytest
from httpx import AsyncClient
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.identity import Role
from app.models.regions import Region
from app.services import regions
from app.services.regions.files import MOST_ROWS, RegionFileRefused
from tests.clients import SYSTEM
from tests.guards.cast import STAFF, caller, worker

GOOD = "640104001001,北塔社区"


async def complaints(session: AsyncSession, data: bytes) -> list[tuple[str, str]]:
    before = await session.scalar(select(func.count()).select_from(Region))
    with pytest.raises(RegionFileRefused) as refusal:
        await regions.load_villages(session, SYSTEM, data, dry_run=False)
    assert await session.scalar(select(func.count()).select_from(Region)) == before
    return [(wrong["pointer"], wrong["zh"]) for wrong in refusal.value.errors or []]


def table(*rows: str, heading: str = "code,name,class,parent") -> bytes:
    return "\n".join((heading, GOOD, *rows)).encode()


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("64010400100,少一位", "12 位"),
        ("6401040010011,多一位", "12 位"),
        ("6.40104E+11,表格改坏", "12 位"),
        ("６４０１０４００１００３,全角", "12 位"),
        (",没有代码", "12 位"),
        ("110101001001,北京某社区", "本会所在省份"),
        ("640104001002,", "1 至 50"),
        ("640104001002," + "村" * 51, "1 至 50"),
        ("640104001002,甲,99x", "3 位"),
        (GOOD, "与第 2 行重复"),
        ("640104999001,没有上级的村", "640104999000 不存在"),
        ("640104001002,甲,111,640104002000", "不符"),
        ("640104001002,甲,111,640104001002", "循环"),
        ("640104001002,甲,111,64010400100", "不符"),
        ("640104001000,甲,,640104001001", "循环"),
        ("640104001002,甲,111,640104", "不是最近"),
    ],
)
async def test_a_wrong_line_is_named_and_nothing_is_loaded(session: AsyncSession, row: str, why: str) -> None:
    found = await complaints(session, table(row))
    assert [pointer for pointer, _ in found] == ["#line/3"]
    assert why in found[0][1]


async def test_each_division_above_the_other_is_a_cycle(session: AsyncSession) -> None:
    rows = ("640104881000,甲,,640104882000", "640104882000,乙,,640104881000")
    found = await complaints(session, table(*rows))
    assert [pointer for pointer, _ in found] == ["#line/3", "#line/4"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"code,name\n",
        "代码\n640104001001\n".encode(),
        "640104001001,没有表头\n".encode(),
        "code,name,代码\n640104001001,甲,640104001002\n".encode(),
        'code,name\n640104001001,"没有收尾\n'.encode(),
        "code,name\n640104001001,甲,乙,丙\n".encode(),
        b"code,name\n640104001001,\x00\n",
        b"PK\x03\x04\x14\x00\x06\x00\x08\x00",
        b"\xff\xfe" + "code,name".encode("utf-16-le"),
        b"\xff" * 100,
        ("code,name\n" + "640104001001,甲\n" * (MOST_ROWS + 1)).encode(),
        ("code,name\n640104001001," + "甲" * 140_000).encode(),
    ],
    ids=lambda data: data[:24],
)
async def test_what_is_no_table_is_refused_as_a_whole(session: AsyncSession, data: bytes) -> None:
    assert len(await complaints(session, data)) == 1


async def test_a_thousand_wrong_lines_get_a_short_answer(session: AsyncSession) -> None:
    assert len(await complaints(session, table(*["x,y"] * 1000))) == 100


@pytest.fixture
async def administrator(session: AsyncSession) -> AsyncClient:
    return await caller(session, STAFF, await worker(session, Role.SYSTEM_ADMINISTRATOR))


async def test_over_http_the_lines_are_named_and_the_cells_are_not_repeated(
    administrator: AsyncClient,
) -> None:
    answer = await administrator.post(
        f"{STAFF}/regions/import?dry_run=false", content=table("x,秘密"), headers={"Accept-Language": "en"}
    )
    assert answer.status_code == 422
    document = answer.json()
    assert document["type"] == "urn:nuanxin:problem:region-file-refused"
    assert document["errors"][0]["pointer"] == "#line/3"
    assert document["wrong_lines"] == 1
    assert "秘密" not in answer.text


async def test_a_table_larger_than_the_limit_is_refused(administrator: AsyncClient) -> None:
    answer = await administrator.post(f"{STAFF}/regions/import", content=b"x" * 1_000_001)
    assert answer.status_code == 413
    answer = await administrator.post(f"{STAFF}/regions/import", content=b"x" * 500_000)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("640104001000,640104999000,新街道,变更代码,2026-13-01", "生效日期"),
        ("64010400100,640104999000,新街道,变更代码,2026-01-01", "原代码"),
        ("640104001000,640104999000,新街道,消失,2026-01-01", "类型"),
        ("640104001000,640104999000,,变更代码,2026-01-01", "须填写名称"),
        ("640104001000,640104001000,新街道,变更代码,2026-01-01", "代码不变"),
        ("640104001000,640104002000,,变更代码,2026-01-01", "合并"),
        ("640104001000,640105001001,新村,变更代码,2026-01-01", "同级"),
        ("640104001000,110101001000,,合并,2026-01-01", "同省"),
        ("640104001000,640104001000,,更名,2026-01-01", "新名称"),
        ("640104998000,640104999000,新街道,变更代码,2026-01-01", "没有这个"),
        ("640100000000,640200000000,,合并,2026-01-01", "县级以下"),
        ("640104000000,640105000000,,合并,2026-01-01", "下级"),
    ],
)
async def test_a_wrong_change_is_named(session: AsyncSession, row: str, why: str) -> None:
    data = f"原代码,新代码,新名称,类型,生效日期\n{row}\n".encode()
    with pytest.raises(RegionFileRefused) as refusal:
        await regions.record_file(session, SYSTEM, data, dry_run=False)
    assert refusal.value.errors[0]["pointer"] == "#line/2"
    assert why in refusal.value.errors[0]["zh"]


@pytest.mark.parametrize(
    "rows",
    [
        ("640104001000,640104002000,,合并", "640104002000,640104003000,,合并"),  # a chain
        ("640104001000,640104002000,,合并", "640104002000,640104001000,,合并"),  # a circle
        ("640104001000,640104002000,,合并", "640104001000,640104003000,,合并"),  # two at once
        ("640104001000,640104002000,,合并", "640104001000,640104997000,新街道,拆分"),
        ("640104001000,640104997000,甲,变更代码", "640104002000,640104997001,乙,变更代码"),
    ],
)
async def test_changes_that_hang_on_each_other_are_refused(
    session: AsyncSession, rows: tuple[str, ...]
) -> None:
    lines = "\n".join(f"{row},2026-01-01" for row in rows)
    with pytest.raises(RegionFileRefused):
        await regions.record_file(
            session, SYSTEM, f"old_code,new_code,new_name,kind,effective_on\n{lines}".encode(), dry_run=False
        )
