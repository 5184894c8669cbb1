"""`nuanxin import`: a list from the command line, in the name of a worker."""

import asyncio
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
from tests.command import told, told_by_process
from tests.factories import appointments as made
from tests.factories import imports as lists


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
    given = ("import", str(file), "--as")
    await asyncio.to_thread(told, *given, names[village.id], database=committed)
    done = await asyncio.to_thread(
        told_by_process, *given, names[officer.id], "--commit", database=committed, code=0
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
