"""At most once: two workers on the same messages, and a worker killed while WeChat has its call."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections import Counter

import httpx
from sqlalchemy import select, update

from app import clock, db
from app.models.identity import ResidentAccount
from app.models.messages import MessageCredit, MessageStatus, NoticeKind, SubscriptionMessage
from app.services import messages, wechat_token
from app.services.messages.inbox import Notice
from app.settings import ROOT, settings
from tests.factories.appointments import couple
from tests.residents import control

KIND = NoticeKind.CONTACT_REQUESTED
TEMPLATE = f"race-{uuid.uuid4().hex}"
CHILD = "import asyncio, sys, uuid; from app import crypto, db; from app.settings import settings; \
from app.services import messages; crypto.use(crypto.SettingsKeys(settings())); \
db.connect(settings(), settings().database_url); asyncio.run(messages.send(uuid.UUID(sys.argv[1])))"


async def arranged(count: int) -> list[uuid.UUID]:
    """So many notices, each to one who agreed to a message."""
    async with db.begin() as session:
        people, notices = [], []
        for _ in range(count):
            home = await couple(session)
            people.append(home.wife_actor.id)
            session.add(MessageCredit(account_id=home.wife_actor.id, template_id=TEMPLATE, remaining=5))
            notices.append(Notice([home.wife.id], uuid.uuid4(), {}))
        await session.flush()
        await messages.tell_many(session, KIND, notices, entity="appointment")
        openids = list(
            await session.scalars(select(ResidentAccount.openid).where(ResidentAccount.id.in_(people)))
        )
        made = list(await session.scalars(select(SubscriptionMessage.id)))
    for openid in openids:
        await control("consent", {"openid": openid, "template_id": TEMPLATE, "count": 5})
    return made


async def received() -> Counter[str]:
    async with httpx.AsyncClient(base_url=settings().wechat_base_url, trust_env=False) as http:
        sent = (await http.get("/control/messages")).json()
    return Counter(one["touser"] for one in sent if one["template_id"] == TEMPLATE)


def set_up(monkeypatch, **more):
    values = {"WECHAT_TEMPLATES": f'{{"{KIND.value}": "{TEMPLATE}"}}', "QUIET_TO": "21:00"} | more
    for name, value in values.items():
        monkeypatch.setenv(f"NUANXIN_{name}", value)
    settings.cache_clear()


async def statuses() -> set[MessageStatus]:
    async with db.begin() as session:
        return set(await session.scalars(select(SubscriptionMessage.status)))


async def test_two_workers_send_each_message_once(committed, wechat, monkeypatch):
    set_up(monkeypatch)
    made = await arranged(8)
    await asyncio.gather(*(messages.send(id) for id in made * 3))
    assert await statuses() == {MessageStatus.SENT}
    assert sorted((await received()).values()) == [1] * 8
    monkeypatch.undo()
    settings.cache_clear()


async def test_a_worker_killed_in_the_middle_of_the_call_sends_nothing_twice(committed, wechat, monkeypatch):
    set_up(monkeypatch)
    [id] = await arranged(1)
    # The token is there already: the child's first call is the message itself.
    await wechat_token.current()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        child = subprocess.Popen(  # noqa: ASYNC220
            (sys.executable, "-c", CHILD, str(id)), cwd=ROOT,
            env=os.environ | {
                "NUANXIN_DATABASE_URL": committed,
                "NUANXIN_WECHAT_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            },
        )  # fmt: skip
        called, _ = await asyncio.to_thread(silent.accept)
        child.send_signal(signal.SIGKILL)
        child.wait()
        called.close()
    assert await statuses() == {MessageStatus.SENDING}
    async with db.begin() as session:
        await session.execute(update(SubscriptionMessage).values(next_attempt_at=clock.now()))
        assert await messages.queue_due(session) == 0
    await messages.send(id)
    assert await statuses() == {MessageStatus.SENDING}
    monkeypatch.undo()
    settings.cache_clear()
