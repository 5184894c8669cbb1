"""A stand-in for api.weixin.qq.com that keeps its rules: single-use codes, shared tokens, consents, limits.

The WeChat paths answer as WeChat does: HTTP 200 whatever happens, an `errcode` in the body. The paths under
/control/ play the resident's phone and the operator. Nothing is kept beyond the instance. Development only.
Source: developers.weixin.qq.com, code2Session, getStableAccessToken, getPhoneNumber, subscribeMessage.send.
"""

import base64
import json
import secrets
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from app import clock
from app.sandbox.wechat_forms import (
    MESSAGES,
    Call,
    ConsentGiven,
    Failure,
    LoginCodeWanted,
    PhoneCodeWanted,
    Refusal,
    check_fields,
)

CODE_LIFETIME = timedelta(minutes=5)
TOKEN_LIFETIME = timedelta(hours=2)
# In its last five minutes a token is replaced, and both work until the old one ends.
TOKEN_OVERLAP = timedelta(minutes=5)
FORCED_APART = timedelta(seconds=30)
SIGN_INS_PER_MINUTE = 100


@dataclass
class Code:
    """What a button on the phone handed out, and what the server gets for it, once."""

    yields: dict[str, Any]
    made_at: datetime
    used: bool = False


class Wechat:
    """One WeChat with one mini-program."""

    def __init__(self, appid: str, secret: str) -> None:
        self.appid, self.secret = appid, secret
        self.users: set[str] = set()
        self.login_codes: dict[str, Code] = {}
        self.phone_codes: dict[str, Code] = {}
        self.sign_ins: defaultdict[str, deque[datetime]] = defaultdict(deque)
        self.tokens: dict[str, datetime] = {}
        self.token = ""
        self.forced_at: datetime | None = None
        self.consents: Counter[tuple[str, str]] = Counter()
        self.messages: list[dict[str, Any]] = []
        self.failures: dict[Call, Failure] = {}
        self.calls: Counter[Call] = Counter()

    def sign_in(self, query: Mapping[str, str], _body: object) -> dict[str, Any]:
        self._check_credentials(query)
        if query.get("grant_type") != "authorization_code":
            raise Refusal(40002)
        code = self._unused(self.login_codes, query.get("js_code"))
        self._count_sign_in(code.yields["openid"])
        code.used = True
        return {"session_key": base64.b64encode(secrets.token_bytes(16)).decode(), **code.yields}

    def stable_token(self, _query: object, body: object) -> dict[str, Any]:
        wanted = _object(body)
        self._check_credentials(wanted)
        if wanted.get("grant_type") != "client_credential":
            raise Refusal(40002)
        now = clock.now()
        if wanted.get("force_refresh") is True:
            if self.forced_at and now - self.forced_at < FORCED_APART:
                raise Refusal(45009)
            self.forced_at = now
            self.tokens.clear()
        if self.tokens.get(self.token, now) - now <= TOKEN_OVERLAP:
            self.token = secrets.token_urlsafe(96)
            self.tokens[self.token] = now + TOKEN_LIFETIME
        return {
            "access_token": self.token,
            "expires_in": int((self.tokens[self.token] - now).total_seconds()),
        }

    def phone_number(self, query: Mapping[str, str], body: object) -> dict[str, Any]:
        self._check_token(query)
        code = self._unused(self.phone_codes, _object(body).get("code"))
        code.used = True
        return {"errcode": 0, "errmsg": "ok", "phone_info": code.yields}

    def send(self, query: Mapping[str, str], body: object) -> dict[str, Any]:
        self._check_token(query)
        message = _object(body)
        openid, template_id = message.get("touser"), message.get("template_id")
        if not isinstance(openid, str) or openid not in self.users:
            raise Refusal(40003)
        if not isinstance(template_id, str) or not template_id:
            raise Refusal(40037)
        if self.consents[openid, template_id] <= 0:
            raise Refusal(43101)
        check_fields(message.get("data"))
        self.consents[openid, template_id] -= 1
        self.messages.append({**message, "sent_at": clock.now().isoformat()})
        return {"errcode": 0, "errmsg": "ok", "msgid": 2_000_000_000 + len(self.messages)}

    def _check_credentials(self, given: Mapping[str, Any]) -> None:
        if given.get("appid") != self.appid:
            raise Refusal(40013)
        if given.get("secret") != self.secret:
            raise Refusal(40125)

    def _check_token(self, query: Mapping[str, str]) -> None:
        token = query.get("access_token")
        if not token:
            raise Refusal(41001)
        if token not in self.tokens:
            raise Refusal(40001)
        if self.tokens[token] <= clock.now():
            raise Refusal(42001)

    def _unused(self, codes: dict[str, Code], given: object) -> Code:
        if not given:
            raise Refusal(41008)
        code = codes.get(given) if isinstance(given, str) else None
        if code is None or clock.now() - code.made_at > CODE_LIFETIME:
            raise Refusal(40029)
        if code.used:
            raise Refusal(40163)
        return code

    def _count_sign_in(self, openid: str) -> None:
        recent, now = self.sign_ins[openid], clock.now()
        while recent and now - recent[0] >= timedelta(minutes=1):
            recent.popleft()
        if len(recent) >= SIGN_INS_PER_MINUTE:
            raise Refusal(45011)
        recent.append(now)

    def make_login_code(self, wanted: LoginCodeWanted) -> dict[str, str]:
        """What wx.login returns on this resident's phone."""
        return self._hand_out(self.login_codes, wanted.openid, {"openid": wanted.openid})

    def make_phone_code(self, wanted: PhoneCodeWanted) -> dict[str, str]:
        """What the getPhoneNumber button returns on this resident's phone."""
        home = wanted.country_code == "86"
        watermark = {"timestamp": int(clock.now().timestamp()), "appid": wanted.watermark_appid or self.appid}
        info = {
            "phoneNumber": wanted.phone if home else f"+{wanted.country_code}{wanted.phone}",
            "purePhoneNumber": wanted.phone,
            "countryCode": wanted.country_code,
            "watermark": watermark,
        }
        return self._hand_out(self.phone_codes, wanted.openid, info)

    def _hand_out(self, codes: dict[str, Code], openid: str, yields: dict[str, Any]) -> dict[str, str]:
        self.users.add(openid)
        code = secrets.token_urlsafe(24)
        codes[code] = Code(yields, clock.now())
        return {"code": code}

    def give_consent(self, given: ConsentGiven) -> dict[str, int]:
        """The resident accepts the template `count` more times; each acceptance is one message."""
        self.users.add(given.openid)
        self.consents[given.openid, given.template_id] += given.count
        return {"remaining": self.consents[given.openid, given.template_id]}

    def fail(self, failure: Failure) -> dict[str, int]:
        """The next `times` calls of the path fail and change nothing."""
        self.failures[failure.path] = failure
        return {"times": failure.times}

    def expire_token(self) -> dict[str, bool]:
        """Every token given out so far ends now, before its time."""
        self.tokens = dict.fromkeys(self.tokens, clock.now())
        return {"expired": True}

    def sent(self) -> Response:
        return _reply(self.messages)

    def counted(self) -> dict[Call, int]:
        return {call: self.calls[call] for call in Call}


Answer = Callable[[Mapping[str, str], object], dict[str, Any]]


def _endpoint(wechat: Wechat, call: Call, answer: Answer, media_type: str) -> Callable[..., Any]:
    async def handle(request: Request) -> Response:
        wechat.calls[call] += 1
        body = _json(await request.body())
        failure = wechat.failures.get(call)
        if failure and failure.times > 0:
            failure.times -= 1
            if failure.status != 200:
                return Response("<html>Bad Gateway</html>", failure.status, media_type="text/html")
            return _reply(_error(failure.errcode), media_type)
        try:
            return _reply(answer(request.query_params, body), media_type)
        except Refusal as refusal:
            return _reply(_error(refusal.errcode, refusal.detail), media_type)

    return handle


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _object(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refusal(47001)
    return body


def _error(errcode: int, detail: str = "") -> dict[str, Any]:
    text = detail or MESSAGES.get(errcode, "error")
    return {"errcode": errcode, "errmsg": f"{text} rid: {secrets.token_hex(4)}-{secrets.token_hex(4)}"}


def _reply(body: object, media_type: str = "application/json") -> Response:
    # ASCII, so that half a surrogate pair sent to us can be sent back.
    return Response(json.dumps(body), media_type=media_type)


async def _malformed(_request: Request, error: Exception) -> Response:
    """Which control field is wrong, never its value."""
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [{"at": list(item["loc"]), "problem": item["type"]} for item in errors]
    return Response(json.dumps({"detail": problems}), 422, media_type="application/json")


def create_wechat(appid: str, secret: str) -> FastAPI:
    """An ASGI application to mount or serve; two of them share nothing."""
    wechat = Wechat(appid, secret)
    app = FastAPI(openapi_url=None, exception_handlers={RequestValidationError: _malformed})
    # jscode2session is the one that calls its JSON text/plain.
    for method, call, answer, media_type in (
        ("GET", Call.LOGIN, wechat.sign_in, "text/plain"),
        ("POST", Call.TOKEN, wechat.stable_token, "application/json"),
        ("POST", Call.PHONE, wechat.phone_number, "application/json"),
        ("POST", Call.SEND, wechat.send, "application/json"),
    ):
        app.add_api_route(call, _endpoint(wechat, call, answer, media_type), methods=[method])
    for method, name, act in (
        ("POST", "login-code", wechat.make_login_code),
        ("POST", "phone-code", wechat.make_phone_code),
        ("POST", "consent", wechat.give_consent),
        ("POST", "fail", wechat.fail),
        ("POST", "expire-token", wechat.expire_token),
        ("GET", "messages", wechat.sent),
        ("GET", "calls", wechat.counted),
    ):
        app.add_api_route(f"/control/{name}", act, methods=[method])
    return app
