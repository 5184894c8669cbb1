"""What the stand-in for WeChat is asked, the rules of template fields, and its words of refusal."""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints


class Call(StrEnum):
    LOGIN = "/sns/jscode2session"
    TOKEN = "/cgi-bin/stable_token"  # noqa: S105
    PHONE = "/wxa/business/getuserphonenumber"
    SEND = "/cgi-bin/message/subscribe/send"


MESSAGES = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40002: "invalid grant_type",
    40003: "invalid openid",
    40013: "invalid appid",
    40029: "invalid code",
    40037: "invalid template_id",
    40125: "invalid appsecret",
    40163: "code been used",
    40226: "code blocked",
    41001: "access_token missing",
    41008: "missing code",
    42001: "access_token expired",
    43101: "user refuse to accept the msg",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    47001: "data format error",
}

# Written apart from the client's table on purpose: two readings of one reference check each other.
_DAY = r"\d{4}(年\d{1,2}月\d{1,2}日|-\d{1,2}-\d{1,2}|/\d{1,2}/\d{1,2})"
_HOUR = r"\d{1,2}:\d{2}(:\d{2})?"
FIELD_RULES = {
    "thing": r".{1,20}",
    "time": rf"({_DAY} ?)?{_HOUR}( ?~ ?({_DAY} ?)?{_HOUR})?",
    "date": rf"{_DAY}( ?{_HOUR})?",
    "number": r"-?(\d{1,32}|(?=.{3,33}$)\d+\.\d+)",
    "character_string": r"[\x21-\x7e]{1,32}",
    "amount": r"[^\w\s-]?\d{1,10}(\.\d{1,2})?元?",
    "phrase": r"[\u4e00-\u9fff]{1,5}",
}

Openid = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
TemplateId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Appid = Annotated[str, StringConstraints(pattern=r"^wx[A-Za-z0-9]{1,30}$")]


class LoginCodeWanted(BaseModel):
    openid: Openid


class PhoneCodeWanted(BaseModel):
    openid: Openid
    phone: Annotated[str, StringConstraints(pattern=r"^[0-9]{5,15}$")]
    country_code: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}$")] = "86"
    watermark_appid: Appid | None = Field(
        None, description="Another mini-program's: our server must refuse it"
    )


class ConsentGiven(BaseModel):
    openid: Openid
    template_id: TemplateId
    count: int = Field(1, ge=0, le=1000)


class Failure(BaseModel):
    path: Call
    errcode: int = Field(-1, ge=-1, le=99_999)
    times: int = Field(1, ge=0, le=1000, description="0 clears what was ordered before")
    status: Literal[200, 500, 502, 503] = Field(
        200, description="5xx: a gateway's page instead of an errcode"
    )


class Refusal(Exception):
    def __init__(self, errcode: int, detail: str = "") -> None:
        super().__init__(errcode)
        self.errcode, self.detail = errcode, detail


def check_fields(data: object) -> None:
    """47003 names the first field that breaks the rule of its type."""
    if not isinstance(data, dict) or not data:
        raise Refusal(47003, "argument invalid! data invalid")
    for name, holder in data.items():
        value = holder.get("value") if isinstance(holder, dict) else None
        rule = FIELD_RULES.get(name.rstrip("0123456789"))
        if rule is None or not isinstance(value, str) or not re.fullmatch(rule, value):
            raise Refusal(47003, f"argument invalid! data.{name}.value invalid")
