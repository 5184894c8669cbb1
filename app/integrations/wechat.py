"""WeChat's server calls for mini-programs: sign-in, access token, phone number, subscription messages.

A refusal comes with HTTP 200 and an `errcode`, an answer often as text/plain: only the body is believed.
No code, token, openid or number is ever logged or put into an exception.
Source: developers.weixin.qq.com, code2Session, getStableAccessToken, getPhoneNumber, subscribeMessage.send.
"""

import json
import logging
import re
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx
import stamina

from app.errors import Forbidden, Invalid, TooMany, Unauthenticated, Unavailable
from app.settings import settings

log = logging.getLogger("nuanxin.wechat")

TIMEOUT_SECONDS = 5
BUSY = -1
FIELD_INVALID = 47003
# Printable ASCII only: whatever else a client sends as a code was not made by WeChat.
CODE = re.compile(r"[!-~]{1,512}")


class WechatUnavailable(Unavailable):
    """No usable answer, or a refusal that only the operator can mend (keys, caller address, quota)."""

    zh, en = "微信服务暂时不可用", "WeChat is briefly unavailable"
    do_zh, do_en = "请稍后重新获取微信凭证再试", "Get a new code from WeChat shortly and try again"


class LoginCodeRefused(Unauthenticated):
    """The code of wx.login is unknown, used, older than 5 minutes, or made for another mini-program."""

    zh, en = "微信登录凭证无效或已使用", "The WeChat login code is not valid or already used"
    do_zh, do_en = "请重新进入小程序登录", "Call wx.login again and send the new code"


class LoginBlocked(Forbidden):
    """WeChat holds the account for high-risk (40226)."""

    zh, en = "微信已限制该账号登录", "WeChat has blocked this account from signing in"
    do_zh, do_en = (
        "请在微信安全中心解除限制，或到现场由工作人员办理",
        "Lift the block in WeChat, or ask a worker for help",
    )


class TooManySignIns(TooMany):
    """More than 100 exchanges for one user in a minute (45011)."""

    zh, en = "微信登录过于频繁", "Too many WeChat sign-ins"
    do_zh, do_en = "请一分钟后再试", "Wait a minute, then try again"


class PhoneCodeRefused(Invalid):
    """The code of the phone number button is unknown, used, expired, or of another mini-program."""

    zh, en = "手机号授权凭证无效或已使用", "The phone number code is not valid or already used"
    do_zh, do_en = "请重新点击授权手机号", "Tap the phone number button again and send the new code"


class TokenRejected(Exception):
    """The access token is wrong or expired (40001, 40014, 42001): renew it once and repeat the call once."""


class MessageRefused(Exception):
    """Final: 43101 no consent left, 40003 openid, 40037 template, 47003 `field` breaks its type rule, …"""

    def __init__(self, code: int, field: str | None = None) -> None:
        super().__init__(f"errcode {code}" + (f" at {field}" if field else ""))
        self.code, self.field = code, field


class MessageDelayed(Exception):
    """Not now: busy, quota, network. With `maybe_sent` the answer was lost, so a repeat may deliver twice."""

    def __init__(self, code: int | None = None, *, maybe_sent: bool = False) -> None:
        super().__init__(f"errcode {code}")
        self.code, self.maybe_sent = code, maybe_sent


class _Refused(Exception):
    def __init__(self, code: int, field: str | None) -> None:
        super().__init__(f"errcode {code}")
        self.code, self.field = code, field


class _NoAnswer(Exception):
    def __init__(self, *, maybe_done: bool) -> None:
        super().__init__()
        self.maybe_done = maybe_done


_TOKEN: dict[int, type[Exception]] = dict.fromkeys((40001, 40014, 42001), TokenRejected)
_LOGIN: dict[int, type[Exception]] = {
    **dict.fromkeys((40029, 40163, 41008), LoginCodeRefused),
    40226: LoginBlocked,
    45011: TooManySignIns,
}
_PHONE: dict[int, type[Exception]] = {
    **_TOKEN,
    **dict.fromkeys((40029, 40163, 41008), PhoneCodeRefused),
    45011: TooManySignIns,
}
# Busy, quota used up, another message to the same user under way: nothing was sent.
_LATER = frozenset({BUSY, 45009, 43108})


async def code_to_session(code: str) -> str:
    """The openid behind a wx.login code, which works once and for 5 minutes."""
    if not CODE.fullmatch(code):
        raise LoginCodeRefused
    path = "/sns/jscode2session"
    query = {**_credentials(), "js_code": code, "grant_type": "authorization_code"}
    try:
        # A lost answer is not asked for again: it may have spent the code, and a repeat would then tell the
        # resident that the code was used. Busy (-1) comes before the code is looked at, so that is repeated.
        body = await _call("GET", path, repeat_lost=False, params=query)
    except (_Refused, _NoAnswer) as error:
        raise _outcome(path, error, _LOGIN) from error
    # session_key stays here: phone numbers come by their own code, so nothing of ours needs it.
    return _text(body, "openid")


async def stable_token() -> tuple[str, int]:
    """The current access token and the seconds it has left: 300 to 7200. Safe to ask at any time."""
    path = "/cgi-bin/stable_token"
    wanted = {"grant_type": "client_credential", **_credentials(), "force_refresh": False}
    try:
        body = await _call("POST", path, repeat_lost=True, body=wanted)
    except (_Refused, _NoAnswer) as error:
        raise _outcome(path, error, {}) from error
    seconds = body.get("expires_in")
    if not isinstance(seconds, int):
        raise WechatUnavailable
    return _text(body, "access_token"), seconds


async def phone_number(token: str, code: str) -> str:
    """The number WeChat verified: bare for 86, else `+` country and number. Each success costs ¥0.03.

    The watermark must name our mini-program, or the number was authorised for somebody else.
    """
    if not CODE.fullmatch(code):
        raise PhoneCodeRefused
    path = "/wxa/business/getuserphonenumber"
    try:
        # Single use and paid: as with sign-in, a lost answer is not repeated.
        body = await _call(
            "POST", path, repeat_lost=False, params={"access_token": token}, body={"code": code}
        )
    except (_Refused, _NoAnswer) as error:
        raise _outcome(path, error, _PHONE) from error
    info = _object(body, "phone_info")
    if _object(info, "watermark").get("appid") != settings().wechat_appid:
        log.error("wechat phone number carries another appid")
        raise PhoneCodeRefused
    country, number = _text(info, "countryCode"), _text(info, "purePhoneNumber")
    return number if country == "86" else f"+{country}{number}"


async def send_subscription_message(
    token: str, *, openid: str, template_id: str, page: str, data: dict[str, str]
) -> None:
    """Send one message, which uses up one consent. Values are fitted here; one that cannot be is refused as
    WeChat would (47003). Never repeated here: the job knows whether a second reminder is worse than none."""
    message = {
        "touser": openid,
        "template_id": template_id,
        "page": page,
        "data": {field: {"value": fit(field, value)} for field, value in data.items()},
        "miniprogram_state": settings().wechat_miniprogram_state,
        "lang": "zh_CN",
    }
    try:
        await _exchange("POST", "/cgi-bin/message/subscribe/send", {"access_token": token}, message)
    except _NoAnswer as error:
        raise MessageDelayed(maybe_sent=error.maybe_done) from error
    except _Refused as error:
        if error.code in _TOKEN:
            raise TokenRejected from error
        if error.code in _LATER:
            raise MessageDelayed(error.code) from error
        raise MessageRefused(error.code, error.field) from error


def _credentials() -> dict[str, str]:
    return {"appid": settings().wechat_appid, "secret": settings().wechat_secret.get_secret_value()}


async def _call(
    method: str, path: str, *, repeat_lost: bool, params: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """At most three tries, under a second of waiting."""

    def again(error: Exception) -> bool:
        if isinstance(error, _Refused):
            return error.code == BUSY
        return repeat_lost and isinstance(error, _NoAnswer)

    # The block form, not the decorator: that one would log the arguments, which are codes and tokens.
    async for attempt in stamina.retry_context(
        on=again, attempts=3, timeout=10, wait_initial=0.1, wait_max=0.4, wait_jitter=0.1
    ):
        with attempt:
            return await _exchange(method, path, params, body)
    raise AssertionError("stamina ends with an answer or an error")


async def _exchange(
    method: str, path: str, params: Mapping[str, str] | None, body: Mapping[str, Any] | None
) -> dict[str, Any]:
    """One request, one answer. A client per call belongs to no event loop and cannot outlive one."""
    options: dict[str, Any] = {"base_url": settings().wechat_base_url, "timeout": TIMEOUT_SECONDS}
    try:
        async with httpx.AsyncClient(**options, verify=_tls(), trust_env=False) as client:
            response = await client.request(method, path, params=params, json=body)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise _NoAnswer(maybe_done=False) from error
    except httpx.HTTPError as error:
        raise _NoAnswer(maybe_done=True) from error
    return _read(response)


@cache
def _tls() -> ssl.SSLContext:
    """Loading the certificate authorities takes longer than the call, so it is done once."""
    return httpx.create_ssl_context(trust_env=False)


def _read(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError) as error:
        raise _NoAnswer(maybe_done=True) from error
    code = answer.get("errcode", 0) if isinstance(answer, dict) else None
    if response.status_code >= 500 or not isinstance(code, int):
        raise _NoAnswer(maybe_done=True)
    if code:
        named = re.search(r"\bdata\.(\w{1,40})\.value", str(answer.get("errmsg")), re.ASCII)
        raise _Refused(code, named[1] if named else None)
    return dict(answer)


def _outcome(path: str, error: _Refused | _NoAnswer, kinds: Mapping[int, type[Exception]]) -> Exception:
    if isinstance(error, _Refused) and error.code in kinds:
        return kinds[error.code]()
    code = error.code if isinstance(error, _Refused) else None
    log.error("wechat call failed", extra={"fields": {"path": path, "errcode": code}})
    return WechatUnavailable()


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise WechatUnavailable
    return value


def _object(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = answer.get(name)
    if not isinstance(value, dict):
        raise WechatUnavailable
    return value


_MONTH, _DAY = "(?:0?[1-9]|1[0-2])", "(?:0?[1-9]|[12][0-9]|3[01])"
_DATE = f"[0-9]{{4}}(?:年{_MONTH}月{_DAY}日|-{_MONTH}-{_DAY}|/{_MONTH}/{_DAY})"
_CLOCK = "(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?"
# Neither `name` nor `phone_number`: no message of ours holds one.
_SHAPES = {
    "thing": re.compile(".+"),
    "number": re.compile(r"-?(?=[0-9.]{1,32}$)[0-9]+(?:\.[0-9]+)?"),
    "character_string": re.compile("[!-~]{1,32}"),
    "time": re.compile(f"(?:{_DATE} ?)?{_CLOCK}(?: ?~ ?(?:{_DATE} ?)?{_CLOCK})?"),
    "date": re.compile(f"{_DATE}(?: ?{_CLOCK})?"),
    "amount": re.compile(r"[¥$€£]?[0-9]{1,10}(?:\.[0-9]{1,2})?元?"),
    "phrase": re.compile("[\u4e00-\u9fff]{1,5}"),
}


def fit(field: str, value: str) -> str:
    """The value as WeChat accepts it in a template field named like `thing1`, else the refusal it would give.

    Line breaks become spaces and what does not print is dropped. A `thing` is cut to 20 characters, the last an
    ellipsis; a shortened time would say something else. Source: the parameter table of subscribeMessage.send.
    """
    kind = field.rstrip("0123456789")
    text = "".join(letter for letter in " ".join(value.split()) if letter.isprintable()).strip()
    if kind not in _SHAPES or not _SHAPES[kind].fullmatch(text):
        raise MessageRefused(FIELD_INVALID, field)
    return text if kind != "thing" or len(text) <= 20 else text[:19] + "…"
