"""What WeChat Pay posts to us: signed by WeChat, sealed for us. Nobody signs in here; the signature is all there is."""

import logging

from fastapi import APIRouter, Request, Response

from app.errors import written
from app.services.payments import notices

log = logging.getLogger("nuanxin.payments")
router = APIRouter(include_in_schema=False)


@router.post(notices.NOTICES_PATH)
async def take_wechat_pay_notice(request: Request) -> Response:
    """204 for what was taken, also when it came before; whatever else is answered, WeChat sends it again for a day."""
    try:
        await notices.receive(request.headers, await request.body())
    except notices.NoticeRefused as refused:
        reason = refused.reason.value
        log.warning("a payment notice was refused", extra={"fields": {"reason": reason}})
        told = written({"code": "FAIL", "message": f"通知未受理：{reason}"})
        return Response(told, 400, media_type="application/json")
    return Response(status_code=204)
