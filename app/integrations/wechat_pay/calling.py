"""A call as the other files make it: repeated where that is safe, verified, with WeChat's refusals as exceptions."""

import json
import logging
from collections.abc import Mapping
from typing import Any, TypeVar

import stamina
from pydantic import BaseModel, ValidationError

from app.integrations.wechat_pay import sending, trust
from app.integrations.wechat_pay.values import (
    AnswerNotGenuine,
    NoticeRefused,
    WechatPayRefused,
    WechatPayUnavailable,
)

log = logging.getLogger("nuanxin.wechat_pay")
Model = TypeVar("Model", bound=BaseModel)

# Only the operator can mend these; what was asked for is not thereby refused.
_OURS_TO_MEND = frozenset({"SIGN_ERROR", "NO_AUTH", "NOAUTH", "MCH_NOT_EXISTS", "APPID_MCHID_NOT_MATCH"})
# Refused for good although the status says otherwise.
_FINAL = frozenset({"OPENID_MISMATCH"})


async def call(
    method: str,
    path: str,
    *,
    repeat_lost: bool,
    params: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """At most three tries, the hosts in turn. A request that was not even sent is repeated always, one whose answer
    was lost only if WeChat takes it twice as once. `maybe_done` if any of the tries may have had an effect."""
    hosts, tries, lost = sending.hosts(), 0, False

    def again(error: Exception) -> bool:
        if isinstance(error, AnswerNotGenuine):
            return False
        unsent = isinstance(error, WechatPayUnavailable) and error.code is None and not error.maybe_done
        return unsent or (repeat_lost and isinstance(error, WechatPayUnavailable) and error.maybe_done)

    try:
        # The block form, not the decorator: that one would log the arguments.
        async for attempt in stamina.retry_context(
            on=again, attempts=3, timeout=12, wait_initial=0.1, wait_max=0.4, wait_jitter=0.1
        ):
            with attempt:
                tries += 1
                try:
                    host = hosts[(tries - 1) % len(hosts)]
                    return await _read(await sending.send(method, f"{host}{path}", params=params, body=body))
                except WechatPayUnavailable as error:
                    lost = lost or error.maybe_done
                    raise
    except WechatPayUnavailable as error:
        error.maybe_done = error.maybe_done or lost
        log.warning("wechat pay did not answer", extra={"fields": {"code": error.code, "tries": tries}})
        raise
    raise AssertionError("stamina ends with an answer or an error")


async def _read(answer: sending.Answer) -> dict[str, Any]:
    """Only a signed 2xx says that something is so. Errors may come unsigned; one with a signature must be good."""
    good = answer.status in (200, 204)
    if good or "wechatpay-signature" in answer.headers:
        try:
            await trust.verify(answer.headers, answer.content)
        except NoticeRefused as error:
            log.error("wechat pay's answer is not genuine", extra={"fields": {"reason": error.reason.value}})
            raise AnswerNotGenuine(maybe_done=True) from error
    body = _object(answer.content) if answer.content or not good else {}
    if good:
        return body
    code = body.get("code")
    if not isinstance(code, str) or not code.isascii() or len(code) > 64:
        raise WechatPayUnavailable(maybe_done=True)
    raise _refusal(code, answer.status)


def _refusal(code: str, status: int) -> Exception:
    if code in _OURS_TO_MEND or status == 401:
        log.error("wechat pay refuses this server", extra={"fields": {"code": code, "status": status}})
        return WechatPayUnavailable(code)
    if status == 429:
        return WechatPayUnavailable(code)
    if 400 <= status < 500 or code in _FINAL:
        return WechatPayRefused(code, status)
    return WechatPayUnavailable(code, maybe_done=True)


def _object(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        # The cause would carry the body.
        raise WechatPayUnavailable(maybe_done=True) from None
    if not isinstance(body, dict):
        raise WechatPayUnavailable(maybe_done=True)
    return body


def read(model: type[Model], body: Mapping[str, Any]) -> Model:
    """The answer in the shape that WeChat documents. What is in it does not get into the exception."""
    try:
        return model.model_validate(body)
    except ValidationError:
        raise WechatPayUnavailable(maybe_done=True) from None
