"""Who may come in during a rush: so many at once, so many in line, and the others hear at once when to come back.

Before everything else that a request costs. Only what is asked for in the opening second passes through here: staff,
hospitals and health checks never wait. A refusal carries a ticket that says when its holder first came; with it the
holder stands in front of everybody who came later, in whichever process. Nothing is stored for that.
"""

import asyncio
import base64
import heapq
import json
import random
import uuid
from functools import cache
from itertools import count

from prometheus_client import Counter
from starlette.types import ASGIApp, Receive, Scope, Send

from app import clock
from app.crypto import same, sign
from app.errors import MEDIA_TYPE, Unavailable

LANES = {
    ("POST", "/citizen/v1/appointments"): "booking",
    ("POST", "/citizen/v1/courses"): "booking",
    ("GET", "/citizen/v1/slots"): "looking",
    ("GET", "/citizen/v1/appointments"): "looking",
}
#: At once and in line. Bookings share their round trips, so that more of them than connections are under way.
ROOM = {"booking": (32, 64), "looking": (4, 16)}
PATIENCE_SECONDS = 0.5
TICKET_SECONDS = 600
RETRY_AFTER = range(1, 5)
OUTCOMES = ("at_once", "waited", "shed")
ADMISSIONS = Counter("nuanxin_admission", "Requests of the rush, by what became of them", ("lane", "outcome"))


class Busy(Unavailable):
    zh, en = "当前预约人数较多，请稍候", "Very many are booking at this moment"
    do_zh = "您的排队位置已保留：请在 Retry-After 所示秒数之后，带上 Queue-Ticket 和同一请求编号再次提交"
    do_en = (
        "Your place in line is kept: after as many seconds as Retry-After says, send the same again, under the same "
        "Idempotency-Key and with this Queue-Ticket"
    )


class Lane:
    """`at_once` are inside; of those who wait, who came first goes first. Full, it keeps those who came earlier."""

    def __init__(self, at_once: int, longest: int) -> None:
        self.at_once, self.longest = at_once, longest
        self.inside = 0
        self.order = count()
        self.waiting: list[tuple[float, int, asyncio.Future[bool]]] = []
        self.accounts: set[str] = set()

    async def enter(self, came: float, account: str) -> bool:
        """Whether one may go in, now or after a little while. Nobody stands in line twice."""
        if self.inside < self.at_once:
            self.inside += 1
            return True
        if account in self.accounts or not self._room_for(came):
            return False
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        place = (came, next(self.order), turn)
        heapq.heappush(self.waiting, place)
        self.accounts.add(account)
        timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._give_up, place)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.leave()
            raise
        finally:
            timer.cancel()
            self.accounts.discard(account)
            self._leave_line(place)

    def _room_for(self, came: float) -> bool:
        """The last in line makes room for somebody who came before."""
        if len(self.waiting) < self.longest:
            return True
        last = max(self.waiting)
        if last[0] > came:
            self._give_up(last)
            return True
        return False

    def _give_up(self, place: tuple[float, int, "asyncio.Future[bool]"]) -> None:
        if not place[2].done():
            place[2].set_result(False)
        self._leave_line(place)

    def _leave_line(self, place: tuple[float, int, "asyncio.Future[bool]"]) -> None:
        if place in self.waiting:
            self.waiting.remove(place)
            heapq.heapify(self.waiting)

    def leave(self) -> None:
        """One comes out, the next goes in: the place inside passes from hand to hand."""
        while self.waiting:
            _, _, turn = heapq.heappop(self.waiting)
            if not turn.done():
                turn.set_result(True)
                return
        self.inside -= 1


class Admission:
    """In front of the application."""

    def __init__(self, app: ASGIApp, key: bytes) -> None:
        self.app, self.key = app, key
        self.lanes = {name: Lane(*room) for name, room in ROOM.items()}
        self.counts = {
            (lane, outcome): ADMISSIONS.labels(lane, outcome) for lane in ROOM for outcome in OUTCOMES
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = LANES.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if name is None:
            return await self.app(scope, receive, send)
        lane, now = self.lanes[name], clock.now().timestamp()
        headers = dict(scope["headers"]) if lane.inside >= lane.at_once else {}
        account = bearer_of(headers.get(b"authorization", b""))
        came = self.came(headers.get(b"queue-ticket", b""), account, now) if headers else now
        if not await lane.enter(came, account):
            self.counts[name, "shed"].inc()
            return await refuse(send, headers, self.ticket(account, came))
        self.counts[name, "waited" if headers else "at_once"].inc()
        try:
            await self.app(scope, receive, send)
        finally:
            lane.leave()

    def ticket(self, account: str, came: float) -> bytes:
        """When this account first came; of no use to anybody else."""
        mac = sign("hmac-sha256", self.key, f"queue|{account}|{came:.3f}".encode())[:16]
        return f"{came:.3f}.{mac.hex()}".encode()

    def came(self, ticket: bytes, account: str, now: float) -> float:
        """Forged, foreign and old tickets are none: their holders come now."""
        try:
            came = float(ticket.rpartition(b".")[0])
        except ValueError:
            return now
        fresh = now - TICKET_SECONDS < came <= now
        return came if fresh and same(ticket, self.ticket(account, came)) else now


def bearer_of(authorization: bytes) -> str:
    """Whom a token names, unchecked: who lies about it is refused inside, and gains another's place in line at most."""
    try:
        payload = authorization.split(b".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + b"=="))["sub"])
    except (IndexError, ValueError, KeyError, TypeError):
        return ""


async def refuse(send: Send, headers: dict[bytes, bytes], ticket: bytes) -> None:
    """Written here, not by the framework: in a rush this is the most frequent answer."""
    request = uuid.uuid4().hex.encode()
    english = headers.get(b"accept-language", b"").lower().startswith(b"en")
    given, text = _refusal("en" if english else "zh-CN")
    own = [
        (b"retry-after", b"%d" % random.choice(RETRY_AFTER)),  # noqa: S311  so that not all come back at once
        (b"x-request-id", request), (b"queue-ticket", ticket),
    ]  # fmt: skip
    await send({"type": "http.response.start", "status": 503, "headers": given + own})
    await send({"type": "http.response.body", "body": text.replace(NOBODY, request)})


NOBODY = b"0" * 32


@cache
def _refusal(language: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """What all hear alike; whose request it was takes the place of NOBODY."""
    document = Busy().document(language) | {"instance": f"urn:nuanxin:request:{NOBODY.decode()}"}
    text = json.dumps(document).encode()
    given = {
        "content-type": MEDIA_TYPE, "content-language": language, "content-length": str(len(text)),
        "x-content-type-options": "nosniff", "cache-control": "no-store",
    }  # fmt: skip
    return [(name.encode(), value.encode()) for name, value in given.items()], text
