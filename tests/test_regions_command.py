"""`nuanxin regions`: looked at, loaded, changed, and told by the line when it is wrong."""

import asyncio
from pathlib import Path

import asyncpg

from app import clock
from tests.command import told

OLD, NEW = "640104001201", "640104001299"


def names(database: str) -> dict[str, str]:
    async def read() -> dict[str, str]:
        connection = await asyncpg.connect(database)
        rows = await connection.fetch("SELECT code, name FROM region WHERE level = 5 AND valid_to IS NULL")
        await connection.close()
        return {row["code"]: row["name"] for row in rows}

    return asyncio.run(read())


async def test_villages_are_imported_and_renumbered(committed: str, tmp_path: Path) -> None:
    villages, changes, broken = (tmp_path / name for name in ("villages.csv", "changes.csv", "broken.csv"))
    villages.write_text(f"代码,名称\n{OLD},甲村委会\n", encoding="gb18030")
    row = f"{OLD},{NEW},甲社区,变更代码,{clock.today()}"
    changes.write_text(f"原代码,新代码,新名称,类型,生效日期\n{row}\n", encoding="utf-8-sig")
    broken.write_text("代码,名称\n1,一\n", encoding="utf-8")

    async def say(*words: str, code: int = 0) -> str:
        return await asyncio.to_thread(told, "regions", *words, database=committed, code=code)

    async def now() -> dict[str, str]:
        return await asyncio.to_thread(names, committed)

    assert "a dry run" in await say("import", str(villages), "--dry-run")
    assert await now() == {}
    said = await say("import", str(villages))
    assert "added     1" in said
    assert await now() == {OLD: "甲村委会"}
    assert "#line/2: a code has 12 digits" in await say("import", str(broken), code=1)
    said = await say("succeed", str(changes))
    assert "in effect 1" in said
    assert await now() == {NEW: "甲社区"}
    assert "known     1" in await say("succeed", str(changes))
