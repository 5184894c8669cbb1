"""`nuanxin import`: a list from the command line, in the name of a worker."""

import asyncio
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app import db
from app.errors import NotFound
from app.models.households import Person
from app.models.identity import Role
from app.models.imports import ImportStatus
from app.models.staff import StaffAccount
from app.services import imports
from app.services.imports import checking, command
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
    looked = await imports.bring_in(file, names[officer.id], commit=False, told=lambda done, total: None)
    assert (looked["status"], looked["counts"]["ready"]) == (ImportStatus.CHECKED, 3)
    async with db.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 0
    done, _ = await asyncio.gather(
        asyncio.to_thread(told, committed, str(file), "--as", names[officer.id], "--commit"),
        asyncio.to_thread(told, committed, str(file), "--as", names[village.id], code=1),
    )
    assert "status    committed" in done
    assert "refused   1" in done
    async with db.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 3
    with pytest.raises(NotFound):
        await imports.bring_in(file, "nobody", commit=False, told=lambda done, total: None)


async def test_waiting_for_a_job_worker_is_no_attempt(
    committed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with db.begin() as session:
        officer = await made.worker(session, made.REGION)
    id = await lists.upload(officer, lists.csv(lists.family("1")))
    copy, began = checking.copy, asyncio.Event()

    async def slow(*given: Any) -> None:
        began.set()
        await asyncio.sleep(0.5)
        await copy(*given)

    monkeypatch.setattr(checking, "copy", slow)
    monkeypatch.setattr(command, "LOOK_SECONDS", 0.02)
    worker = asyncio.create_task(imports.work(uuid.UUID(str(id))))
    await began.wait()
    shown = await command._finish(officer, id, lambda done, total: None)
    await worker
    assert (shown["status"], shown["problem"]) == (ImportStatus.CHECKED, [])
