"""A county brings in its families from Excel, 3 of 100 rows wrong, corrected, one list taken back. 120 households; a
whole county's 2,000 with NUANXIN_TEST_HOUSEHOLDS=2000."""

import asyncio
import io
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import demo
from app.journey import Story
from app.models.households import Household, Person
from app.models.identity import Role
from app.services.imports import sheets
from tests import servers
from tests.factories import spreadsheets
from tests.factories.spreadsheets import KEYS, Cells
from tests.journeys.conftest import village_worker
from tests.servers import World

HOUSEHOLDS, EVERY = int(os.environ.get("NUANXIN_TEST_HOUSEHOLDS", "120")), 33
PURPOSE = {"Purpose": "registry_upkeep"}
PATIENCE_SECONDS = 100
MISTAKES = (
    ("document_number", lambda text: text[:-1] + ("1" if text[-1] != "1" else "2")),
    ("name", lambda text: ""),
    ("relation", lambda text: "朋友"),
)


def broken(families: list[Cells]) -> list[Cells]:
    """Three of a hundred rows have a mistake."""
    lines = []
    for place, cells in enumerate(families):
        column, spoil = MISTAKES[place // EVERY % len(MISTAKES)]
        lines.append(cells | {column: spoil(cells[column])} if place % EVERY == 7 else cells)
    return lines


def written(path: Path, lines: list[Cells]) -> bytes:
    spreadsheets.as_xlsx(path, ([cells.get(key, "") for key in KEYS] for cells in lines))
    return path.read_bytes()


def corrected(workbook: bytes, families: list[Cells]) -> list[Cells]:
    """The first sheet as downloaded, with what the papers say in the marked cells."""
    rows = [line.cells for line in sheets.read(io.BytesIO(workbook), "导入结果.xlsx")]
    head = next(place for place, row in enumerate(rows) if "原行号" in row)
    number = rows[head].index("原行号")
    return [families[int(row[number]) - 2] for row in rows[head + 1 :]]


class Office:
    """A county administrator at the desk."""

    def __init__(self, http: httpx.AsyncClient, headers: dict[str, str]) -> None:
        self.http, self.headers = http, headers

    async def upload(self, content: bytes, name: str) -> dict[str, Any]:
        headers = {**self.headers, "File-Name": quote(name)}
        answer = await self.http.post("/staff/v1/imports", content=content, headers=headers)
        assert answer.status_code == 202, answer.text
        return await self.settled(answer.json()["id"])

    async def step(self, batch: dict[str, Any], verb: str) -> dict[str, Any]:
        path = f"/staff/v1/imports/{batch['id']}/{verb}"
        answer = await self.http.post(path, json={"version": batch["version"]}, headers=self.headers)
        assert answer.status_code == 202, answer.text
        return await self.settled(batch["id"])

    async def settled(self, id: str) -> dict[str, Any]:
        """Looking at the progress until the job is done."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = await self.http.get(f"/staff/v1/imports/{id}", headers=self.headers)
                batch: dict[str, Any] = answer.json()
                if batch["status"] not in {"checking", "committing", "undoing"}:
                    return batch
                await asyncio.sleep(0.2)


async def registered(records: AsyncSession) -> tuple[int, int]:
    await records.rollback()  # a new look
    people = select(func.count()).where(Person.import_batch_id.is_not(None)).select_from(Person)
    households = select(func.count()).where(Household.import_batch_id.is_not(None)).select_from(Household)
    return await records.scalar(households) or 0, await records.scalar(people) or 0


async def test_a_county_brings_in_its_families(
    story: Story, records: AsyncSession, world: World, tmp_path: Path
) -> None:
    # Given a county with a list of its families, three of a hundred rows wrong,
    account = village_worker("importer")
    account.role, account.region_code = Role.COUNTY_ADMINISTRATOR, demo.COUNTY
    async with servers.looking(world.database) as session, session.begin():
        session.add(account)
    office = Office(story.http, (await story.worker("importer")).headers)
    families = [cells for cells, _ in spreadsheets.people(HOUSEHOLDS * 3, wrong_share=0, seed=11)]
    lines = broken(families)
    wrong = sum(cells != right for cells, right in zip(lines, families, strict=True))

    # when it is uploaded, every row gets a verdict and nothing is registered yet;
    first = await office.upload(written(tmp_path / "list.xlsx", lines), "兴庆区家庭名册.xlsx")
    assert first["status"] == "checked", first
    assert first["rows_total"] == len(lines)
    assert wrong <= first["counts"]["refused"] <= 2 * wrong, first["counts"]
    assert await registered(records) == (0, 0)

    # when it is committed, the good rows are in, and the workbook shows the others;
    first = await office.step(first, "commit")
    assert first["status"] == "committed"
    households, people = await registered(records)
    assert people == len(lines) - first["counts"]["refused"]
    path = f"/staff/v1/imports/{first['id']}/workbook"
    answer = await office.http.get(path, headers=office.headers | PURPOSE)
    assert answer.status_code == 200

    # when the rows are corrected and uploaded, they join their families;
    again = corrected(answer.content, families)
    second = await office.upload(written(tmp_path / "again.xlsx", again), "更正.xlsx")
    assert second["counts"]["refused"] == 0, second["counts"]
    second = await office.step(second, "commit")
    everybody = await registered(records)
    assert everybody[1] == len(families)

    # when the second list is taken back, what the first brought is there as before.
    undone = await office.step(second, "undo")
    assert undone["status"] == "undone", undone
    assert await registered(records) == (households, people)
