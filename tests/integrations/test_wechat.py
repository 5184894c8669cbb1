"""The WeChat client against the stand-in, over real HTTP on loopback."""

import asyncio
import json
import logging
import re
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app import clock
from app.errors import Problem
from app.integrations import wechat
from app.integrations.wechat import (
    LoginBlocked,
    LoginCodeRefused,
    MessageDelayed,
    MessageRefused,
    PhoneCodeRefused,
    TokenRejected,
    TooManySignIns,
    WechatUnavailable,
)
from app.sandbox.wechat import create_wechat
from app.sandbox.wechat_forms import FIELD_RULES
from app.settings import settings

APPID, SECRET = "wx00000000000000aa", "a-secret-of-the-tests-0123456789abcdef"
LOGIN, TOKEN = "/sns/jscode2session", "/cgi-bin/stable_token"
PHONE, SEND = "/wxa/business/getuserphonenumber", "/cgi-bin/message/subscribe/send"
OPENID = "oA-resident_1"
REMINDER = {"thing1": "孕前优生健康检查", "time2": "2026年12月1日 09:00"}


@pytest.fixture
def point_at(monkeypatch):
    """Settings read again from an environment that names this WeChat."""

    def point(base_url: str, **others: str) -> None:
        values = {"WECHAT_BASE_URL": base_url, "WECHAT_APPID": APPID, "WECHAT_SECRET": SECRET} | others
        for name, value in values.items():
            monkeypatch.setenv(f"NUANXIN_{name}", value)
        settings.cache_clear()

    yield point
    monkeypatch.undo()
    settings.cache_clear()


class Stage:
    """The application that the one server of this file plays now: a start costs more than a test."""

    url: str
    app: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def stage():
    stage = Stage()
    server = uvicorn.Server(uvicorn.Config(stage, log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stage.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        # The listener already queues connections, so there is no start to wait for.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield stage
        server.should_exit = True
        thread.join()


class Operator:
    """The resident's phone and WeChat's control room."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def do(self, name: str, **body: Any) -> Any:
        response = await self.client.post(f"/control/{name}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def login_code(self, openid: str = OPENID) -> str:
        return (await self.do("login-code", openid=openid))["code"]

    async def phone_code(self, phone: str = "13800005678", **others: str) -> str:
        return (await self.do("phone-code", openid=OPENID, phone=phone, **others))["code"]

    async def consents(self, count: int = 1) -> None:
        await self.do("consent", openid=OPENID, template_id="reminder", count=count)

    async def calls(self, path: str) -> int:
        return (await self.client.get("/control/calls")).json()[path]

    async def messages(self) -> list[dict[str, Any]]:
        return (await self.client.get("/control/messages")).json()


@pytest.fixture
async def operator(stage, point_at):
    stage.app = create_wechat(APPID, SECRET)
    point_at(stage.url)
    async with httpx.AsyncClient(base_url=stage.url, trust_env=False) as client:
        yield Operator(client)


@asynccontextmanager
async def hanging_up() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that reads the request and closes without a word; the requests it read."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def remind(token: str, **changes: Any) -> None:
    given = {"openid": OPENID, "template_id": "reminder", "page": "pages/appointment", "data": REMINDER}
    await wechat.send_subscription_message(token, **(given | changes))


# Sign-in


async def test_a_login_code_yields_the_openid_once(operator):
    code = await operator.login_code()
    assert await wechat.code_to_session(code) == OPENID
    with pytest.raises(LoginCodeRefused):
        await wechat.code_to_session(code)


async def test_the_stand_in_answers_text_plain_with_a_session_key_we_never_see(operator):
    query = {"appid": APPID, "secret": SECRET, "grant_type": "authorization_code"}
    response = await operator.client.get(LOGIN, params=query | {"js_code": await operator.login_code()})
    assert response.headers["content-type"].startswith("text/plain")
    assert set(response.json()) == {"openid", "session_key"}


@pytest.mark.parametrize("code", ["unknown", "", "码", "\ud800", "a b", "x" * 5000, "line\nbreak"])
async def test_a_code_wechat_did_not_make_is_refused(operator, code):
    with pytest.raises(LoginCodeRefused):
        await wechat.code_to_session(code)


async def test_a_login_code_ends_after_five_minutes(operator, monkeypatch):
    code = await operator.login_code()
    later = clock.now() + timedelta(minutes=5, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(LoginCodeRefused):
        await wechat.code_to_session(code)


@pytest.mark.parametrize(
    ("errcode", "expected"),
    [
        (40029, LoginCodeRefused),
        (40163, LoginCodeRefused),
        (41008, LoginCodeRefused),
        (40226, LoginBlocked),
        (45011, TooManySignIns),
        (40013, WechatUnavailable),
        (40125, WechatUnavailable),
        (40164, WechatUnavailable),
        (99999, WechatUnavailable),
    ],
)
async def test_sign_in_refusals(operator, errcode, expected):
    await operator.do("fail", path=LOGIN, errcode=errcode)
    with pytest.raises(expected):
        await wechat.code_to_session(await operator.login_code())
    assert await operator.calls(LOGIN) == 1


@pytest.mark.parametrize("wrong", [{"WECHAT_APPID": "wx_other"}, {"WECHAT_SECRET": "x" * 40}])
async def test_wrong_credentials_are_the_operators_fault_not_the_residents(operator, point_at, wrong, caplog):
    point_at(str(operator.client.base_url), **wrong)
    with pytest.raises(WechatUnavailable):
        await wechat.code_to_session(await operator.login_code())
    assert [record.fields["errcode"] for record in caplog.records if record.name == "nuanxin.wechat"] == [
        40013 if "WECHAT_APPID" in wrong else 40125
    ]


async def test_the_101st_sign_in_of_a_minute_is_too_many_and_keeps_its_code(operator, monkeypatch):
    started = clock.now()
    monkeypatch.setattr(clock, "now", lambda: started)
    codes = [await operator.login_code() for _ in range(101)]
    for code in codes[:100]:
        await wechat.code_to_session(code)
    with pytest.raises(TooManySignIns):
        await wechat.code_to_session(codes[100])
    assert await wechat.code_to_session(await operator.login_code("o-other")) == "o-other"
    monkeypatch.setattr(clock, "now", lambda: started + timedelta(minutes=1))
    assert await wechat.code_to_session(codes[100]) == OPENID


async def test_busy_is_asked_again_with_the_same_code(operator):
    code = await operator.login_code()
    await operator.do("fail", path=LOGIN, errcode=-1, times=2)
    assert await wechat.code_to_session(code) == OPENID
    assert await operator.calls(LOGIN) == 3


async def test_busy_three_times_is_unavailable(operator):
    await operator.do("fail", path=LOGIN, errcode=-1, times=3)
    with pytest.raises(WechatUnavailable):
        await wechat.code_to_session(await operator.login_code())
    assert await operator.calls(LOGIN) == 3


# No answer


async def test_no_network_is_unavailable_at_every_call(point_at):
    point_at(closed_port())
    with pytest.raises(WechatUnavailable):
        await wechat.code_to_session("code")
    with pytest.raises(WechatUnavailable):
        await wechat.stable_token()
    with pytest.raises(WechatUnavailable):
        await wechat.phone_number("token", "code")
    with pytest.raises(MessageDelayed) as delayed:
        await remind("token")
    assert not delayed.value.maybe_sent


async def test_a_lost_answer_is_repeated_only_where_nothing_is_spent(point_at):
    async with hanging_up() as (url, seen):
        point_at(url)
        with pytest.raises(WechatUnavailable):
            await wechat.code_to_session("code")
        assert len(seen) == 1
        with pytest.raises(WechatUnavailable):
            await wechat.phone_number("token", "code")
        assert len(seen) == 2
        with pytest.raises(MessageDelayed) as delayed:
            await remind("token")
        assert delayed.value.maybe_sent
        assert len(seen) == 3
        with pytest.raises(WechatUnavailable):
            await wechat.stable_token()
        assert len(seen) == 6


async def test_a_gateways_error_page_is_no_answer(operator):
    await operator.do("fail", path=LOGIN, status=502)
    with pytest.raises(WechatUnavailable):
        await wechat.code_to_session(await operator.login_code())
    await operator.do("fail", path=SEND, status=503)
    token, _ = await wechat.stable_token()
    with pytest.raises(MessageDelayed) as delayed:
        await remind(token)
    assert delayed.value.maybe_sent


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"openid": 7}', b'{"errcode": "0"}', b"[" * 100_000]
)
async def test_an_answer_that_is_not_wechats_is_unavailable(stage, point_at, body):
    async def anything(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    stage.app = anything
    point_at(stage.url)
    with pytest.raises(WechatUnavailable):
        await wechat.code_to_session("code")
    with pytest.raises(WechatUnavailable):
        await wechat.stable_token()
    with pytest.raises(WechatUnavailable):
        await wechat.phone_number("token", "code")


# Access token


async def test_the_token_stays_the_same_while_it_is_good(operator):
    token, seconds = await wechat.stable_token()
    assert 300 <= seconds <= 7200
    again, _ = await wechat.stable_token()
    assert again == token
    assert await operator.calls(TOKEN) == 2


async def test_in_its_last_five_minutes_a_token_is_replaced_and_both_work(operator, monkeypatch):
    old, seconds = await wechat.stable_token()
    started = clock.now()
    monkeypatch.setattr(clock, "now", lambda: started + timedelta(seconds=seconds - 299))
    new, left = await wechat.stable_token()
    assert new != old
    assert left == 7200
    for token in (old, new):
        assert await wechat.phone_number(token, await operator.phone_code()) == "13800005678"
    monkeypatch.setattr(clock, "now", lambda: started + timedelta(seconds=seconds + 1))
    with pytest.raises(TokenRejected):
        await wechat.phone_number(old, await operator.phone_code())


async def test_an_expired_token_is_rejected_and_the_next_one_works(operator):
    token, _ = await wechat.stable_token()
    await operator.do("expire-token")
    with pytest.raises(TokenRejected):
        await wechat.phone_number(token, await operator.phone_code())
    token, _ = await wechat.stable_token()
    assert await wechat.phone_number(token, await operator.phone_code()) == "13800005678"


async def test_the_token_call_repeats_when_busy_and_reports_the_rest(operator):
    await operator.do("fail", path=TOKEN, errcode=-1, times=2)
    await wechat.stable_token()
    await operator.do("fail", path=TOKEN, errcode=40164)
    with pytest.raises(WechatUnavailable):
        await wechat.stable_token()


async def test_a_forced_token_ends_the_old_one_and_waits_thirty_seconds(operator):
    old, _ = await wechat.stable_token()
    body = {"grant_type": "client_credential", "appid": APPID, "secret": SECRET, "force_refresh": True}
    forced = (await operator.client.post(TOKEN, json=body)).json()["access_token"]
    assert forced != old
    with pytest.raises(TokenRejected):
        await wechat.phone_number(old, await operator.phone_code())
    assert (await operator.client.post(TOKEN, json=body)).json()["errcode"] == 45009


# Phone number


async def test_a_phone_code_yields_the_number_once(operator):
    token, _ = await wechat.stable_token()
    code = await operator.phone_code()
    assert await wechat.phone_number(token, code) == "13800005678"
    with pytest.raises(PhoneCodeRefused):
        await wechat.phone_number(token, code)


async def test_a_foreign_number_keeps_its_country(operator):
    token, _ = await wechat.stable_token()
    code = await operator.phone_code("51234567", country_code="852")
    assert await wechat.phone_number(token, code) == "+85251234567"


async def test_a_watermark_of_another_mini_program_is_refused(operator):
    token, _ = await wechat.stable_token()
    with pytest.raises(PhoneCodeRefused):
        await wechat.phone_number(token, await operator.phone_code(watermark_appid="wxother"))


async def test_a_login_code_is_not_a_phone_code(operator):
    token, _ = await wechat.stable_token()
    for code in (await operator.login_code(), "", "\ud800"):
        with pytest.raises(PhoneCodeRefused):
            await wechat.phone_number(token, code)


@pytest.mark.parametrize(
    ("errcode", "expected"),
    [
        (40029, PhoneCodeRefused),
        (40163, PhoneCodeRefused),
        (45011, TooManySignIns),
        (40001, TokenRejected),
        (40014, TokenRejected),
        (42001, TokenRejected),
        (40013, WechatUnavailable),
    ],
)
async def test_phone_refusals(operator, errcode, expected):
    await operator.do("fail", path=PHONE, errcode=errcode)
    with pytest.raises(expected):
        await wechat.phone_number("token", await operator.phone_code())


async def test_an_invented_token_is_rejected(operator):
    with pytest.raises(TokenRejected):
        await wechat.phone_number("invented", await operator.phone_code())


# Messages


async def test_a_message_is_sent_as_asked_and_uses_up_the_consent(operator):
    token, _ = await wechat.stable_token()
    await operator.consents(1)
    await remind(token)
    [message] = await operator.messages()
    assert message["touser"] == OPENID
    assert message["page"] == "pages/appointment"
    assert message["miniprogram_state"] == "developer"
    assert message["data"]["thing1"] == {"value": "孕前优生健康检查"}
    with pytest.raises(MessageRefused) as refused:
        await remind(token)
    assert refused.value.code == 43101
    assert await operator.calls(SEND) == 2


async def test_values_are_fitted_before_they_are_sent(operator):
    token, _ = await wechat.stable_token()
    await operator.consents(1)
    await remind(token, data={"thing1": "银川市金凤区妇幼保健计划生育服务中心三楼优生门诊室"})
    [message] = await operator.messages()
    assert message["data"]["thing1"]["value"] == "银川市金凤区妇幼保健计划生育服务中心三…"


async def test_a_value_that_cannot_be_fitted_is_refused_without_a_call(operator):
    with pytest.raises(MessageRefused) as refused:
        await remind("token", data=REMINDER | {"phrase4": "张三的小秘密"})
    assert (refused.value.code, refused.value.field) == (47003, "phrase4")
    assert "张三" not in str(refused.value)
    assert await operator.calls(SEND) == 0


async def test_a_field_wechat_refuses_is_named_and_costs_no_consent(operator):
    token, _ = await wechat.stable_token()
    await operator.consents(1)
    with pytest.raises(MessageRefused) as refused:
        await remind(token, data={})
    assert (refused.value.code, refused.value.field) == (47003, None)
    too_long = {"touser": OPENID, "template_id": "reminder", "data": {"thing1": {"value": "字" * 21}}}
    response = await operator.client.post(SEND, params={"access_token": token}, json=too_long)
    assert response.status_code == 200
    with pytest.raises(wechat._Refused) as raw:
        wechat._read(response)
    assert (raw.value.code, raw.value.field) == (47003, "thing1")
    await remind(token)


@pytest.mark.parametrize(
    ("changes", "code"), [({"openid": "o-stranger"}, 40003), ({"template_id": ""}, 40037)]
)
async def test_wrong_receiver_or_template(operator, changes, code):
    token, _ = await wechat.stable_token()
    await operator.consents(1)
    with pytest.raises(MessageRefused) as refused:
        await remind(token, **changes)
    assert refused.value.code == code


@pytest.mark.parametrize("errcode", [-1, 45009, 43108])
async def test_not_now_is_told_apart_from_never(operator, errcode):
    token, _ = await wechat.stable_token()
    await operator.consents(1)
    await operator.do("fail", path=SEND, errcode=errcode)
    with pytest.raises(MessageDelayed) as delayed:
        await remind(token)
    assert (delayed.value.code, delayed.value.maybe_sent) == (errcode, False)
    assert await operator.calls(SEND) == 1
    await remind(token)


@pytest.mark.parametrize("errcode", [40001, 40014, 42001])
async def test_a_rejected_token_is_for_the_caller_to_renew(operator, errcode):
    await operator.do("fail", path=SEND, errcode=errcode)
    with pytest.raises(TokenRejected):
        await remind("token")


@pytest.mark.parametrize("errcode", [43101, 40003, 40037, 41030, 43107, 45168, 47003])
async def test_final_refusals_carry_their_code(operator, errcode):
    await operator.do("fail", path=SEND, errcode=errcode)
    with pytest.raises(MessageRefused) as refused:
        await remind("token")
    assert refused.value.code == errcode


# Template values


@pytest.mark.parametrize(
    ("kind", "value", "fitted"),
    [
        ("thing1", "孕前优生健康检查", "孕前优生健康检查"),
        ("thing", "字" * 20, "字" * 20),
        ("thing", "字" * 21, "字" * 19 + "…"),
        ("thing2", " 第一行\r\n第二行\u3000完 ", "第一行 第二行 完"),
        ("thing", "半\ud800字\u200b", "半字"),
        ("time2", "09:00", "09:00"),
        ("time2", "2026年12月1日 09:00", "2026年12月1日 09:00"),
        ("time", "2026-12-01 09:00", "2026-12-01 09:00"),
        ("time", "09:00~11:30", "09:00~11:30"),
        ("date3", "2026年12月1日", "2026年12月1日"),
        ("number1", "-12.50", "-12.50"),
        ("character_string5", "AB-1234", "AB-1234"),
        ("amount2", "¥120.50元", "¥120.50元"),
        ("phrase3", "已取消", "已取消"),
    ],
)
def test_fit_keeps_or_cuts(kind, value, fitted):
    assert wechat.fit(kind, value) == fitted


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("thing", ""),
        ("thing", " \n\u3000"),
        ("thing", "\ud800"),
        ("time", "2026年12月1日"),
        ("time", "24:00"),
        ("time", "上午九点"),
        ("time", "2026年13月1日 09:00"),
        ("time", "2026年12月32日 09:00"),
        ("date", "12月1日"),
        ("number", "1" * 33),
        ("number", "十二"),
        ("character_string", "含中文"),
        ("character_string", "x" * 33),
        ("amount", "1" * 11),
        ("phrase", "超过五个字了"),
        ("phrase", "abc"),
        ("name", "王芳"),
        ("phone_number", "13800005678"),
        ("unheard_of", "值"),
        ("", "值"),
    ],
)
def test_fit_refuses_without_quoting(kind, value):
    with pytest.raises(MessageRefused) as refused:
        wechat.fit(kind, value)
    assert not value or value not in str(refused.value)


# Privacy and the stand-in itself


async def test_logs_and_exceptions_hold_no_code_token_or_openid(operator, caplog):
    for name in ("nuanxin", "stamina"):
        caplog.set_level(logging.DEBUG, name)
    await operator.do("fail", path=LOGIN, errcode=-1, times=3)
    code, (token, _) = await operator.login_code(), await wechat.stable_token()
    told = []
    for call in (wechat.code_to_session(code), wechat.phone_number(token, "phone-code-1"), remind(token)):
        with pytest.raises((Problem, MessageRefused)) as error:
            await call
        told.append(repr(error.value) + repr(error.value.__cause__) + str(vars(error.value)))
    told += [str(vars(record)) for record in caplog.records]
    for secret in (code, token, OPENID, SECRET, "phone-code-1"):
        assert secret not in "".join(told)


@pytest.mark.parametrize("kind", sorted(wechat._SHAPES))
@pytest.mark.parametrize(
    "value",
    [
        "字", "字" * 5, "字" * 6, "字" * 11, "a", "a b", "x" * 32, "x" * 33, "12", "-1.5", "1" * 11, "09:00",
        "2026-12-01", "2026年12月1日 09:00", "09:00~10:00", "¥12.00", "12元", "!!", "+86 951",
    ],
)  # fmt: skip
def test_both_readings_of_the_rules_agree(kind, value):
    try:
        accepted = wechat.fit(f"{kind}1", value) == value
    except MessageRefused:
        accepted = False
    assert accepted == bool(re.fullmatch(FIELD_RULES[kind], value))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("login-code", {}),
        ("login-code", {"openid": "\ud800"}),
        ("login-code", {"openid": "o with blanks"}),
        ("phone-code", {"openid": OPENID, "phone": "not a number"}),
        ("consent", {"openid": OPENID, "template_id": "reminder", "count": -1}),
        ("fail", {"path": "/elsewhere", "errcode": -1}),
        ("fail", {"path": LOGIN, "errcode": "many"}),
        ("fail", [1]),
    ],
)
async def test_a_malformed_control_body_is_422(operator, path, body):
    response = await operator.client.post(
        f"/control/{path}", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422
    assert response.json()["detail"]


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"null", b"{", b"[" * 100_000, b"9" * 5000])
@pytest.mark.parametrize("path", [TOKEN, PHONE, SEND])
async def test_foreign_input_gets_wechats_own_error(operator, path, raw):
    token, _ = await wechat.stable_token()
    response = await operator.client.post(path, params={"access_token": token}, content=raw)
    assert (response.status_code, response.json()["errcode"]) == (200, 47001)


@pytest.mark.parametrize(
    "data", [None, [], "x", {"thing1": "bare"}, {"thing1": {"value": 5}}, {"\ud800": {}}]
)
async def test_foreign_message_data_gets_47003(operator, data):
    token, _ = await wechat.stable_token()
    await operator.consents(1)
    body = {"touser": OPENID, "template_id": "reminder", "data": data}
    raw = json.dumps(body)
    response = await operator.client.post(SEND, params={"access_token": token}, content=raw)
    assert (response.status_code, response.json()["errcode"]) == (200, 47003)


async def test_two_stand_ins_share_nothing(stage, operator):
    code = await operator.login_code()
    first, stage.app = stage.app, create_wechat(APPID, SECRET)
    with pytest.raises(LoginCodeRefused):
        await wechat.code_to_session(code)
    stage.app = first
    assert await wechat.code_to_session(code) == OPENID


async def test_the_stand_in_can_be_mounted_under_a_path(stage, point_at):
    stage.app = FastAPI()
    stage.app.mount("/sandbox/wechat", create_wechat(APPID, SECRET))
    point_at(f"{stage.url}/sandbox/wechat")
    token, _ = await wechat.stable_token()
    assert token
