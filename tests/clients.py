"""Callers at each door: real tokens, real one-time codes, real signatures."""

import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from functools import cache

import httpx
import pyotp
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor
from app.db import new_id
from app.models.identity import Role
from app.models.partners import Algorithm, Organization
from app.models.staff import StaffAccount
from app.services import partners, staff
from app.services.partners import IssuedKey
from app.services.sign_ins import TokenPair

SYSTEM = Actor.system("test")
REGION = "640100000000"
OWN_PASSWORD = "correct horse battery"


@cache
def the_app() -> FastAPI:
    """One for the whole run: it keeps no state, and the database is bound by the fixtures."""
    from app.main import create_app  # tests of services need no doors

    return create_app()


def client(app: FastAPI | None = None, **options: object) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app or the_app())
    return httpx.AsyncClient(transport=transport, base_url="http://nuanxin.test", **options)


@dataclass(frozen=True)
class Worker:
    """A worker with password and authenticator."""

    account: StaffAccount
    password: str
    secret: str

    def code(self, step: int = 0) -> str:
        """What the authenticator shows now, or so many half minutes later."""
        now = int(clock.now().timestamp()) // tokens.TOTP_PERIOD
        return pyotp.TOTP(self.secret).generate_otp(now + step)

    def credentials(self) -> dict[str, str]:
        return {"username": self.account.username, "password": self.password}

    def actor(self) -> Actor:
        return Actor(self.account.role, id=self.account.id, region_code=self.account.region_code)


async def a_worker(session: AsyncSession, role: Role, region_code: str = REGION) -> Worker:
    """Enrolled already: the enrolment itself costs three more rounds of argon2, and has its own tests."""
    username = f"w{new_id().hex}"
    account, password = await staff.create(
        session, SYSTEM, None, username=username, name="李明", role=role, region_code=region_code
    )
    secret = tokens.new_totp_secret()
    account.totp_secret, account.totp_enrolled_at = secret, clock.now()
    await session.commit()
    return Worker(account, password, secret)


async def a_new_account(session: AsyncSession) -> tuple[StaffAccount, str]:
    made = await staff.create(
        session,
        SYSTEM,
        None,
        username=f"n{new_id().hex}",
        name="王芳",
        role=Role.VILLAGE_WORKER,
        region_code=REGION,
    )
    await session.commit()
    return made


async def enrol(account: StaffAccount, password: str, new: str = OWN_PASSWORD) -> tuple[Worker, list[str]]:
    """Through the services, with the code of now: `code(1)` is the next one that is good."""
    enrolment = await staff.begin_enrolment(username=account.username, password=password)
    worker = Worker(account, new, enrolment.secret)
    codes = await staff.confirm_enrolment(
        username=account.username, password=password, code=worker.code(), new_password=new
    )
    return worker, codes


async def staff_sign_in(worker: Worker, *, password: str | None = None, **proof: str) -> TokenPair:
    proof = proof or {"totp": worker.code()}
    password = worker.password if password is None else password
    return await staff.sign_in(username=worker.account.username, password=password, device="", **proof)


async def fail(worker: Worker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(staff.CredentialsRefused):
            await staff_sign_in(worker, password="wrong")


async def signed_in(worker: Worker, app: FastAPI | None = None, *, step: int = 0) -> httpx.AsyncClient:
    """Signs in at the door with a real code. The code is spent: `step=1` for another soon."""
    caller = client(app)
    body = {**worker.credentials(), "totp": worker.code(step), "device": "办公室电脑"}
    answer = await caller.post("/staff/v1/sign-in", json=body)
    assert answer.status_code == 200, answer.text
    caller.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return caller


async def staff_client(
    session: AsyncSession, role: Role, region_code: str = REGION, *, app: FastAPI | None = None
) -> httpx.AsyncClient:
    """A worker of this role and region, signed in."""
    return await signed_in(await a_worker(session, role, region_code), app)


class Signature(httpx.Auth):
    """Signs each request as a hospital does. A header that is there already is kept, to sign a retry with the
    same Webhook-Id."""

    requires_request_body = True

    def __init__(self, key_id: uuid.UUID, secret: str, algorithm: str) -> None:
        self.key_id, self.secret, self.algorithm = key_id, secret, algorithm

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        message_id = request.headers.setdefault("Webhook-Id", f"msg_{uuid.uuid4().hex}")
        timestamp = request.headers.setdefault("Webhook-Timestamp", str(int(time.time())))
        request.headers["Nuanxin-Key"] = str(self.key_id)
        path = request.url.raw_path.decode()
        request.headers["Webhook-Signature"] = partners.signature(
            self.algorithm, self.secret, message_id, int(timestamp), request.method, path, request.content
        )
        yield request


async def a_hospital(
    session: AsyncSession, region_code: str = REGION, algorithm: Algorithm = Algorithm.HMAC_SHA256
) -> tuple[Organization, IssuedKey]:
    name = f"第一人民医院 {new_id().hex}"
    made = await partners.create(
        session, SYSTEM, None, name=name, region_code=region_code, algorithm=algorithm
    )
    await session.commit()
    return made


def partner_client(
    organization: Organization, key: IssuedKey, *, app: FastAPI | None = None
) -> httpx.AsyncClient:
    return client(app, auth=Signature(key.id, key.secret, organization.algorithm))
