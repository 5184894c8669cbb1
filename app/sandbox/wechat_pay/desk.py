"""The addresses of WeChat Pay: each request checked, each answer signed."""

import base64
import json
import secrets
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from app import clock
from app.sandbox.wechat_pay.bills import Bills
from app.sandbox.wechat_pay.book import Book
from app.sandbox.wechat_pay.control import Call, Control, Failure, Trouble
from app.sandbox.wechat_pay.notices import Notices
from app.sandbox.wechat_pay.signatures import Merchant, Refusal, Signatures

Answer = Callable[[Request, dict[str, Any]], dict[str, Any] | bytes | None]
DOWNLOAD = "/v3/billdownload/file"


class Desk:
    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self.signatures = Signatures(merchant)
        self.book = Book(merchant)
        self.bills = Bills(self.book)
        self.notices = Notices(self.book, self.signatures)
        self.control = Control(self.book, self.bills, self.notices, self.signatures)
        self.calls: Counter[Call] = Counter()
        self.files: dict[str, bytes] = {}

    def prepay(self, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
        return self.book.prepay(asked, self.signatures.serial_for(request))

    def query(self, request: Request, _: dict[str, Any]) -> dict[str, Any]:
        self._check_mchid(request.query_params.get("mchid"))
        number, transaction_id = (request.path_params.get(name) for name in ("number", "transaction_id"))
        order = self.book.order(number) if number else self.book.transaction(str(transaction_id))
        return self.book.described(order)

    def close(self, request: Request, asked: dict[str, Any]) -> None:
        self._check_mchid(asked.get("mchid"))
        self.book.close(request.path_params["number"])

    def refund(self, _: Request, asked: dict[str, Any]) -> dict[str, Any]:
        return self.book.described_refund(self.book.refund(asked))

    def query_refund(self, request: Request, _: dict[str, Any]) -> dict[str, Any]:
        return self.book.described_refund(self.book.known_refund(request.path_params["number"]))

    def trade_bill(self, request: Request, _: dict[str, Any]) -> dict[str, Any]:
        kind = request.query_params.get("bill_type", "ALL")
        return self._filed(request, self.bills.trade(_bill_date(request), kind))

    def fund_flow_bill(self, request: Request, _: dict[str, Any]) -> dict[str, Any]:
        return self._filed(request, self.bills.fund_flow(_bill_date(request)))

    def _filed(self, request: Request, made: tuple[bytes, str]) -> dict[str, Any]:
        token = secrets.token_urlsafe(32)
        self.files[token], digest = made
        here = f"{request.url.scheme}://{request.url.netloc}{request.scope['root_path']}"
        url = f"{here}{DOWNLOAD}?token={token}"
        return {"hash_type": "SHA1", "hash_value": digest, "download_url": url}

    def download(self, request: Request, _: dict[str, Any]) -> bytes:
        token = request.query_params.get("token", "")
        if token not in self.files:
            raise Refusal(400, "INVALID_REQUEST", "token")
        return self.files[token]

    def certificates(self, _request: Request, _: dict[str, Any]) -> dict[str, Any]:
        return {"data": self.signatures.listed_certificates()}

    def _check_mchid(self, mchid: object) -> None:
        if mchid != self.merchant.mchid:
            raise Refusal(400, "MCH_NOT_EXISTS")


def _endpoint(desk: Desk, call: Call, answer: Answer) -> Callable[..., Any]:
    async def handle(request: Request) -> Response:
        desk.calls[call] += 1
        body = await request.body()
        failure = desk.control.failure(call)
        serial = desk.signatures.serial_for(request)
        try:
            desk.signatures.check(request, body)
            if failure and failure.trouble is Trouble.REFUSED:
                raise Refusal(failure.status, failure.code)
            answered = answer(request, _object(body))
        except Refusal as refusal:
            told = {"code": refusal.code, "message": refusal.message}
            return Response(_json(told), refusal.status, media_type="application/json")
        if failure and failure.trouble is Trouble.LOST:
            return Response("<html>Bad Gateway</html>", 502, media_type="text/html")
        if isinstance(answered, bytes):
            return Response(answered, media_type="application/octet-stream")
        return _signed(desk, b"" if answered is None else _json(answered), serial, failure)

    return handle


def _signed(desk: Desk, body: bytes, serial: str, failure: Failure | None) -> Response:
    trouble = failure.trouble if failure else None
    at = clock.now() - timedelta(minutes=6) if trouble is Trouble.STALE else None
    headers = desk.signatures.headers(body, serial, at)
    if trouble is Trouble.UNSIGNED:
        headers = {}
    if trouble is Trouble.BAD_SIGNATURE:
        headers["Wechatpay-Signature"] = base64.b64encode(secrets.token_bytes(256)).decode()
    if trouble is Trouble.UNKNOWN_SERIAL:
        headers["Wechatpay-Serial"] = "PUB_KEY_ID_9999"
    return Response(body, 200 if body else 204, headers, "application/json")


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "PARAM_ERROR", "body") from error
    if not isinstance(asked, dict):
        raise Refusal(400, "PARAM_ERROR", "body")
    return asked


def _json(told: object) -> bytes:
    return json.dumps(told, ensure_ascii=False).encode()


def _bill_date(request: Request) -> date:
    try:
        return date.fromisoformat(request.query_params.get("bill_date", ""))
    except ValueError as error:
        raise Refusal(400, "PARAM_ERROR", "bill_date") from error


async def _malformed(_request: Request, error: Exception) -> Response:
    """Which control field is wrong, never its value."""
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [{"at": list(item["loc"]), "problem": item["type"]} for item in errors]
    return Response(json.dumps({"detail": problems}), 422, media_type="application/json")


def create_wechat_pay(merchant: Merchant) -> FastAPI:
    """An ASGI application to mount or serve; two of them share nothing."""
    desk = Desk(merchant)
    app = FastAPI(openapi_url=None, exception_handlers={RequestValidationError: _malformed})
    by_number, refunds = "/v3/pay/transactions/out-trade-no/{number}", "/v3/refund/domestic/refunds"
    for method, path, call, answer in (
        ("POST", "/v3/pay/transactions/jsapi", Call.PREPAY, desk.prepay),
        ("GET", by_number, Call.QUERY, desk.query),
        ("GET", "/v3/pay/transactions/id/{transaction_id}", Call.QUERY, desk.query),
        ("POST", f"{by_number}/close", Call.CLOSE, desk.close),
        ("POST", refunds, Call.REFUND, desk.refund),
        ("GET", f"{refunds}/{{number}}", Call.QUERY_REFUND, desk.query_refund),
        ("GET", "/v3/bill/tradebill", Call.BILL, desk.trade_bill),
        ("GET", "/v3/bill/fundflowbill", Call.BILL, desk.fund_flow_bill),
        ("GET", DOWNLOAD, Call.DOWNLOAD, desk.download),
        ("GET", "/v3/certificates", Call.CERTIFICATES, desk.certificates),
    ):
        app.add_api_route(path, _endpoint(desk, call, answer), methods=[method])
    control = desk.control
    for method, name, act in (
        ("POST", "pay", control.pay),
        ("POST", "stranger", control.stranger),
        ("POST", "refund", control.end_refund),
        ("POST", "notice", control.notice),
        ("POST", "made", control.made),
        ("POST", "bill", control.bill),
        ("POST", "fail", control.fail),
        ("POST", "new-certificate", control.new_certificate),
        ("POST", "wait", control.wait),
        ("GET", "deliveries", desk.notices.told),
        ("GET", "calls", lambda: {call: desk.calls[call] for call in Call}),
    ):
        app.add_api_route(f"/control/{name}", act, methods=[method])
    return app
