"""`nuanxin import`: a list from the command line, in the name of a worker."""

import asyncio
import os
import subprocess
from pathlib import Path

from sqlalchemy import func, select

from app import db
from app.models.households import Person
from app.models.identity import Role
from app.models.staff import StaffAccount
from app.settings import ROOT
from tests.factories import appointments as made
from tests.factories import imports as lists
from tests.servers import NUANXIN


def told(database: str, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        (*NUANXIN, "import", *words), env=os.environ | {"NUANXIN_DATABASE_URL": database, "COLUMNS": "200"}, cwd=ROOT,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


async def test_a_list_from_the_command_line(committed: str, tmp_path: Path) -> None:
    async with db.begin() as session:
        officer = await made.worker(session, made.REGION)
        village = await made.worker(session, made.REGION, Role.VILLAGE_WORKER)
        names = dict((await session.execute(select(StaffAccount.id, StaffAccount.username))).all())
    file = tmp_path / "名册.csv"
    file.write_bytes(lists.csv([*lists.family("1"), lists.line("2", "户主", "赵大海", 证件号码="123")]))
    looked = await asyncio.to_thread(told, committed, str(file), "--as", names[officer.id])
    assert "status    checked" in looked
    assert "ready     3" in looked
    async with db.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 0
    done = await asyncio.to_thread(told, committed, str(file), "--as", names[officer.id], "--commit")
    assert "status    committed" in done
    assert "refused   1" in done
    async with db.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 3
    for username in (names[village.id], "nobody"):
        await asyncio.to_thread(told, committed, str(file), "--as", username, code=1)
