"""Nonsense, accidents and attacks: each gets a clear answer, and nothing changes."""

import base64
import copy
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from tests.bad_input.house import FUTURE, TOWN, House, build, number, problem, unknown
from tests.clients import client
from tests.guards.cast import CITIZEN, PARTNER, PUBLIC, STAFF

JSON = {"Content-Type": "application/json"}
RIGHT = number("64010419950601002")
MISTYPED = RIGHT[:-1] + ("2" if RIGHT[-1] == "1" else "1")


@pytest.fixture
async def house(session: AsyncSession) -> House:
    return await build(session)


def forms(house: House) -> list[tuple[httpx.AsyncClient, str, str, dict[str, Any]]]:
    """A good body for each operation that takes one of weight."""
    new_account = {"username": "zhao.min", "name": "赵敏", "role": "village_worker", "region_code": TOWN}
    clinic = {
        "organization_id": str(house.attended.hospital.organization.id), "region_code": TOWN, "name": "门诊",
        "address": "解放街 1 号", "phone": "0951-1234567",
    }  # fmt: skip
    credentials = {"username": "nobody", "password": "correct horse battery"}
    return [
        (house.anybody, "POST", f"{CITIZEN}/sign-in", {"code": "081aBc", "device": "手机"}),
        (house.anybody, "POST", f"{CITIZEN}/refresh", {"refresh_token": "a.b"}),
        (house.resident, "POST", f"{CITIZEN}/me/identity",
         {"name": "周晓燕", "document_number": number("64010419950601002"), "phone_code": "p1"}),
        (house.resident, "POST", f"{CITIZEN}/households",
         house.form(categories=[{"code": "low_income", "evidence": "证书", "since": "2020-01-01"}])),
        (house.resident, "POST", f"{CITIZEN}/consents", {"notice_id": unknown(), "person_id": unknown()}),
        (house.resident, "POST", f"{CITIZEN}/appointments", {"slot_id": str(house.slot.id)}),
        (house.resident, "POST", f"{CITIZEN}/appointments/{unknown()}/cancel", {"reason": "有事"}),
        (house.resident, "POST", f"{CITIZEN}/message-credits", {"kind": "appointment_reminder"}),
        (house.anybody, "POST", f"{STAFF}/sign-in", {**credentials, "totp": "123456", "device": "电脑"}),
        (house.anybody, "POST", f"{STAFF}/sign-in", {**credentials, "recovery_code": "ABCDE-FGHJK"}),
        (house.anybody, "POST", f"{STAFF}/enrolment/begin", credentials),
        (house.anybody, "POST", f"{STAFF}/enrolment/confirm",
         {**credentials, "totp": "123456", "new_password": "battery staple horse"}),
        (house.anybody, "POST", f"{STAFF}/refresh", {"refresh_token": "a.b"}),
        (house.village, "POST", f"{STAFF}/me/password",
         {"current_password": "a", "new_password": "battery staple horse"}),
        (house.administrator, "POST", f"{STAFF}/accounts", new_account),
        (house.administrator, "POST", f"{STAFF}/organizations",
         {"name": "新医院", "region_code": TOWN, "algorithm": "hmac-sm3"}),
        (house.county, "POST", f"{STAFF}/clinics", clinic),
        (house.county, "POST", f"{STAFF}/slots", house.new_slot()),
        (house.village, "POST", f"{STAFF}/households/{unknown()}/return",
         {"version": 1, "marks": [{"pointer": "/address", "note": "不清楚"}]}),
        (house.village, "POST", f"{STAFF}/follow-ups/{unknown()}/complete",
         {"version": 1, "outcome": {"kind": "result_told", "told": True, "channel": "phone"}}),
        (house.hospital, "POST", f"{PARTNER}/slots", house.new_slot()),
        (house.hospital, "POST", f"{PARTNER}/check-ins", {"code": "0123456789"}),
        (house.hospital, "POST", f"{PARTNER}/reports", house.report(conclusion="未见异常")),
    ]  # fmt: skip


def strings(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each string of a body."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, dict):
        for name, child in value.items():
            yield from strings(child, (*at, name))
    elif isinstance(value, list):
        for place, child in enumerate(value[:2]):
            yield from strings(child, (*at, place))


def with_value(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(body)
    inner = changed
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = value
    return changed


@pytest.mark.parametrize(
    "nonsense",
    ["\u0000", "张\u0000三", "\ud800", "A\udfffB", "\u001b[2J", "x" * 5000, 7, None, ["x"], {"$ne": ""}],
)
async def test_no_text_takes_what_is_not_text(house: House, nonsense: Any) -> None:
    """NUL, halves of surrogate pairs, terminal controls, far too long, other types: in every string of every body."""
    optional = {"device", "person_id", "totp", "recovery_code", "birth_date", "sex", "reason", "unit"}
    optional |= {"document_kind", "algorithm", "conclusion", "appointment_code"}
    async with house.nothing_changes():
        for who, method, path, body in forms(house):
            for at in strings(body):
                if nonsense is None and at[-1] in optional:
                    continue
                if at[-1] == "value" and nonsense == 7:
                    continue
                content = json.dumps(with_value(body, at, nonsense)).encode()
                answer = await who.request(method, path, content=content, headers=JSON)
                document = problem(answer, 422)
                assert document["errors"], f"{path} {at}"


@pytest.mark.parametrize("member", ["\u0000", "\ud800", "__proto__", "a" * 10_000, "", "/~"])
async def test_an_unknown_member_is_refused_and_named(house: House, member: str) -> None:
    async with house.nothing_changes():
        for who, method, path, body in forms(house):
            content = json.dumps({**body, member: 1}).encode()
            problem(await who.request(method, path, content=content, headers=JSON), 422)


PLACES = [
    (CITIZEN, "/services/{}/eligibility"), (CITIZEN, "/households/{}"), (CITIZEN, "/appointments/{}"),
    (CITIZEN, "/reports/{}"), (CITIZEN, "/slots?service={}"), (CITIZEN, "/slots?service=x&on={}"),
    (CITIZEN, "/slots?service=x&region_code={}"), (CITIZEN, "/slots?service=x&cursor={}"),
    (CITIZEN, "/appointments?cursor={}"), (CITIZEN, "/me/access-log?cursor={}"), (CITIZEN, "/reports?limit={}"),
    (STAFF, "/households?status={}"), (STAFF, "/households?cursor={}"), (STAFF, "/appointments?on={}"),
    (STAFF, "/follow-ups?overdue={}"), (STAFF, "/reports?status={}"), (STAFF, "/follow-ups?cursor={}"),
    (PARTNER, "/reports/{}"), (PARTNER, "/appointments?on={}"), (PARTNER, "/appointments?cursor={}"),
    (PUBLIC, "/regions/{}"), (PUBLIC, "/regions?parent={}"),
]  # fmt: skip


@pytest.mark.parametrize(
    "nonsense",
    ["%00", "%ED%A0%80", "%FF", "%25", "..%2F..", "'", "1%27%20OR%201=1", "%F0%9F%92%A9", "x" * 3000],
)
async def test_nonsense_in_an_address_is_no_trouble(house: House, nonsense: str) -> None:
    async with house.nothing_changes():
        for door, place in PLACES:
            problem(await house.at(door).get(door + place.format(nonsense)), 404, 422)


@pytest.mark.parametrize(
    "name", ["Idempotency-Key", "Purpose", "Authorization", "Accept-Language", "Webhook-Id"]
)
@pytest.mark.parametrize(
    "value", [b"", b"\x00", b"\xff\xfe", "张三".encode(), b"Bearer \xff", b"x" * 100_000]
)
async def test_nonsense_in_a_header_is_no_trouble(house: House, name: str, value: bytes) -> None:
    body = house.form(region_code="990000000000")
    async with house.nothing_changes():
        headers = httpx.Headers([(name.encode(), value)])
        problem(await house.resident.post(f"{CITIZEN}/households", json=body, headers=headers), 401, 422)
        problem(await house.village.get(f"{STAFF}/households/{unknown()}", headers=headers), 401, 404, 422)
        if name != "Webhook-Id":
            problem(await house.hospital.get(f"{PARTNER}/reports/none", headers=headers), 401, 404)
        unsigned = httpx.Headers(
            [(name.encode(), value), (b"Nuanxin-Key", value), (b"Webhook-Timestamp", value)]
        )
        problem(await client().get(f"{PARTNER}/ping", headers=unsigned), 401)


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536):
        yield b" " * 65536


async def test_ten_megabytes_are_refused_however_they_are_sent(house: House) -> None:
    async with house.nothing_changes():
        for who, path in (
            (house.resident, f"{CITIZEN}/households"),
            (house.administrator, f"{STAFF}/accounts"),
        ):
            problem(await who.post(path, content=b" " * 10_000_000, headers=JSON), 413)
            problem(await who.post(path, content=chunks(10_000_000), headers=JSON), 413)
        headers = {**JSON, **dict.fromkeys(("Nuanxin-Key", "Webhook-Id", "Webhook-Signature"), unknown())}
        answer = await client().post(f"{PARTNER}/reports", content=chunks(10_000_000), headers=headers)
        problem(answer, 413)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 60_000, b'{"a":' * 12_000, b"[" * 400 + b"]" * 400, b'{"code": "x"', b"\xef\xbb\xbf[]", b"\xff\xfe{}",
        b"nul", b"1e400", b"NaN", b'"text"', b"{} {}", b"{'code': 1}",
    ],
)  # fmt: skip
async def test_what_is_no_json_object_is_refused(house: House, content: bytes) -> None:
    async with house.nothing_changes():
        for who, method, path, _ in forms(house):
            problem(await who.request(method, path, content=content, headers=JSON), 400, 422)


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/png", ""],
)
async def test_only_json_is_taken_for_json(house: House, kind: str) -> None:
    """A form posted by another site in a browser is none."""
    async with house.nothing_changes():
        for who, method, path, body in forms(house):
            content = json.dumps(body).encode()
            problem(
                await who.request(method, path, content=content, headers={"Content-Type": kind}), 400, 422
            )


@pytest.mark.parametrize(
    "digits",
    [
        MISTYPED, "64010419950601002Y", "6401041995060100", number("64010419950230002"),
        number("64010418891231002"), FUTURE, "000000000000000000", "１２３", "640104 19950601 002",
    ],
)  # fmt: skip
async def test_a_document_that_cannot_be_is_refused_at_its_place(house: House, digits: str) -> None:
    """Wrong check digit, impossible, ancient and future births."""
    member = house.member(document_kind="resident_id", document_number=digits, birth_date=None, sex=None)
    bind = {"name": "周晓燕", "document_number": digits, "phone_code": "p1"}
    async with house.nothing_changes():
        document = problem(
            await house.resident.post(f"{CITIZEN}/households", json=house.form(members=[member])), 422
        )
        assert document["errors"][0]["pointer"] == "/members/0/document_number"
        document = problem(await house.resident.post(f"{CITIZEN}/me/identity", json=bind), 422)
        assert document["errors"][0]["pointer"] == "/document_number"
        assert digits not in json.dumps(document)


@pytest.mark.parametrize(
    "born", ["2099-01-01", "1700-01-01", "1995-02-30", "0000-00-00", "9999-12-31", 10**12]
)
async def test_a_birth_that_cannot_be_is_refused(house: House, born: Any) -> None:
    async with house.nothing_changes():
        form = house.form(members=[house.member(birth_date=born)])
        document = problem(await house.resident.post(f"{CITIZEN}/households", json=form), 422)
        assert document["errors"][0]["pointer"] == "/members/0/birth_date"


NUMBERS = [
    "9223372036854775808",
    "1e30",
    "-1",
    "0",
    "1.5",
    '"x"',
    "true",
    "null",
    "NaN",
    "Infinity",
    "1" * 400,
]


@pytest.mark.parametrize("literal", NUMBERS)
async def test_a_number_that_does_not_fit_is_refused(house: House, literal: str) -> None:
    """Beyond 64 bits, fractions, NaN: in versions, capacities and measured values."""
    household = await house.submitted()
    version = f'{{"version": {literal}}}'.encode()
    slot = json.dumps(house.new_slot(capacity="@")).replace('"@"', literal).encode()
    report = json.dumps(house.report(version="@")).replace('"@"', literal).encode()
    wife = [{"code": "haemoglobin", "value": "@", "unit": "g/L"}]
    value = json.dumps(house.report(wife=wife)).replace('"@"', literal).encode()
    async with house.nothing_changes():
        path = f"{STAFF}/households/{household['id']}/verify"
        if literal != "true":  # Pydantic reads true as 1, which is an old version here
            problem(await house.village.post(path, content=version, headers=JSON), 422)
            problem(await house.county.post(f"{STAFF}/slots", content=slot, headers=JSON), 422)
        problem(await house.hospital.post(f"{PARTNER}/reports", content=report, headers=JSON), 422)
        if literal not in {"-1", "0", "1.5"}:
            problem(await house.hospital.post(f"{PARTNER}/reports", content=value, headers=JSON), 422)
        for who, place in (
            (house.resident, f"{CITIZEN}/appointments"), (house.auditor, f"{STAFF}/audit-events"),
        ):  # fmt: skip
            problem(await who.get(place, params={"limit": literal.strip('"')}), 422)


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "2026-02-30", "tomorrow", "1" * 30])
async def test_a_day_at_the_end_of_time_is_no_trouble(house: House, day: str) -> None:
    async with house.nothing_changes():
        for who, place in (
            (house.resident, f"{CITIZEN}/slots?service=pre_pregnancy_check&on={day}"),
            (house.village, f"{STAFF}/appointments?on={day}"),
            (house.hospital, f"{PARTNER}/appointments?on={day}"),
        ):
            answer = await who.get(place)
            assert answer.status_code in {200, 422}, f"{place}: {answer.text}"


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00", "1e20", 1e300]
)
async def test_a_moment_at_the_end_of_time_is_refused(house: House, moment: Any) -> None:
    async with house.nothing_changes():
        for name in ("starts_at", "ends_at", "opens_at"):
            body = house.new_slot(**{name: moment})
            problem(await house.county.post(f"{STAFF}/slots", json=body), 422)
            problem(await house.hospital.post(f"{PARTNER}/slots", json=body), 422)
        problem(await house.hospital.post(f"{PARTNER}/reports", json=house.report(issued_at=moment)), 422)


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


NOBODY = "00000000-0000-7000-8000-000000000000"
CURSORS = [
    "x", "====", "bnVsbA", "💩", cursor(), cursor(1, 2, 3, 4), cursor(None), cursor("x", "y"), cursor({}),
    cursor(str(2**70)), cursor(2**70), cursor(-(2**70)), cursor("\u0000", NOBODY),
    cursor("\ud800", NOBODY), cursor("0001-01-01T00:00:00+14:00", NOBODY),
    cursor("9999-12-31T23:59:59-12:00", NOBODY), cursor("2026-01-01T00:00:00", NOBODY),
    cursor("9" * 5000), "A" * 299,
]  # fmt: skip


@pytest.mark.parametrize("made", CURSORS)
async def test_a_cursor_of_no_list_is_refused(house: House, made: str) -> None:
    """Or finds nothing, where it happens to be of the right form."""
    async with house.nothing_changes(but="partner_nonce"):
        for who, place in (
            (house.resident, f"{CITIZEN}/slots?service=pre_pregnancy_check"),
            (house.resident, f"{CITIZEN}/appointments?limit=2"), (house.resident, f"{CITIZEN}/me/access-log?limit=2"),
            (house.resident, f"{CITIZEN}/reports?limit=2"), (house.resident, f"{CITIZEN}/follow-ups?limit=2"),
            (house.village, f"{STAFF}/households?limit=2"), (house.village, f"{STAFF}/appointments?limit=2"),
            (house.village, f"{STAFF}/follow-ups?limit=2"), (house.village, f"{STAFF}/reports?limit=2"),
            (house.administrator, f"{STAFF}/accounts?limit=2"), (house.county, f"{STAFF}/organizations?limit=2"),
            (house.hospital, f"{PARTNER}/appointments?limit=2"),
        ):  # fmt: skip
            answer = await who.get(
                place, params={**dict(httpx.QueryParams(place.split("?")[1])), "cursor": made}
            )
            assert answer.status_code in {200, 422}, f"{place} {made[:60]}: {answer.text}"
            if answer.status_code == 422:
                problem(answer, 422)
        assert (await house.auditor.get(f"{STAFF}/audit-events?cursor=%00")).status_code == 422
