"""The first journey over HTTP, told as a story: the demo, the smoke test, and an example for integrators.

It knows nothing that an outside client would not: addresses, documents, the demo's published accounts. The
phones of the couple are played through the sandbox's control endpoints, the hospital signs its own requests.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import httpx
import pyotp

from app import clock, demo
from app.callers import Caller, Hospital, Refused
from app.services.documents import check_character

Tell = Callable[[str], None]
REMINDER_SECONDS = 60


def resident_number(born: date, female: bool) -> str:
    """A well-formed number of nobody: sequences of the demo's district, drawn at random."""
    sequence = f"{secrets.randbelow(100):02}{secrets.randbelow(5) * 2 + (0 if female else 1)}"
    first = f"{demo.COUNTY[:6]}{born:%Y%m%d}{sequence}"
    return first + check_character(first)


@dataclass
class Spouse:
    name: str
    born: date
    female: bool
    openid: str = field(default_factory=lambda: f"o{secrets.token_hex(13)}")
    number: str = ""
    phone: str = field(default_factory=lambda: f"139{secrets.randbelow(10**8):08}")

    def __post_init__(self) -> None:
        self.number = resident_number(self.born, self.female)


def couple() -> tuple[Spouse, Spouse]:
    """Random birth dates, so that the journey can be played again and again."""
    born = date(1990, 1, 1) + timedelta(days=secrets.randbelow(3000))
    older = born - timedelta(days=secrets.randbelow(900))
    return Spouse("王小芳", born, female=True), Spouse("李建国", older, female=False)


async def play(url: str, tell: Tell) -> "Story":
    """From two phones and a hospital to a completed follow-up."""
    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as http:
        story = Story(http, tell)
        tell("[bold]第一个故事 The first journey[/]")
        for chapter in (
            story.sign_in_and_register, story.verify, story.consent_and_qualify, story.book,
            story.attend, story.report, story.follow_up, story.look_back, story.give,
        ):  # fmt: skip
            await chapter()
        tell("\n[bold green]完成 The journey is complete.[/]")
    return story


class Story:
    def __init__(self, http: httpx.AsyncClient, tell: Tell) -> None:
        self.http, self._tell, self._step = http, tell, 0
        self.wife, self.husband = couple()
        self.hospital = Hospital(http, "/partner/v1")

    def tell(self, zh: str, en: str) -> None:
        self._step += 1
        self._tell(f"{self._step:3}. {zh}\n     [dim]{en}[/]")

    async def control(self, path: str, body: Any) -> Any:
        """What happens on a phone, outside of our system."""
        return await Caller(self.http, "/sandbox/wechat/control").call("POST", path, body)

    async def resident(self, spouse: Spouse) -> Caller:
        caller = Caller(self.http, "/citizen/v1")
        login = await self.control("/login-code", {"openid": spouse.openid})
        tokens = await caller.call("POST", "/sign-in", {"code": login["code"], "device": "journey"})
        caller.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        phone = await self.control("/phone-code", {"openid": spouse.openid, "phone": spouse.phone})
        identity = {"name": spouse.name, "document_number": spouse.number, "phone_code": phone["code"]}
        await caller.call("POST", "/me/identity", identity)
        return caller

    async def worker(self, username: str) -> Caller:
        caller = Caller(self.http, "/staff/v1")
        while True:
            code = pyotp.TOTP(demo.TOTP_SECRET).now()
            credentials = {"username": username, "password": demo.PASSWORD, "totp": code}
            answer = await self.http.post("/staff/v1/sign-in", json=credentials)
            if answer.is_success:
                caller.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
                return caller
            wait = 31 - time.time() % 30
            if answer.status_code != 401:
                raise Refused(answer.text)
            self._tell(f"     [dim]this half minute's code is used up; waiting {wait:.0f} s for the next[/]")
            await asyncio.sleep(wait)

    async def sign_in_and_register(self) -> None:
        self.wife_caller = await self.resident(self.wife)
        self.husband_caller = await self.resident(self.husband)
        self.tell("妻子和丈夫各自用微信登录并实名绑定", "Both sign in with WeChat and bind their identities")
        self.form = {
            "region_code": demo.TOWN,
            "address": "凤凰北街 8 号 2 单元 301",
            "family_type": "developing",
            "members": [self.member(self.wife, "spouse"), self.member(self.husband, "head")],
            "marriage": {"wife": 0, "husband": 1, "since": "2024-05-20", "plans_pregnancy": True},
            "categories": [],
        }
        draft = await self.wife_caller.create("/households", self.form)
        submit, seen = f"/households/{draft['id']}/submit", {"version": draft["version"]}
        self.household = await self.wife_caller.call("POST", submit, seen)
        self.tell("妻子登记家庭并提交审核", f"She registers household {self.household['number']}, submits it")

    def member(self, spouse: Spouse, relation: str) -> dict[str, Any]:
        return {
            "relation": relation, "name": spouse.name, "document_number": spouse.number, "phone": spouse.phone,
            "hukou_region_code": demo.TOWN, "hukou_type": "urban", "resident_since": "2020-01-01",
        }  # fmt: skip

    async def verify(self, username: str = "village_worker") -> None:
        self.village_worker = await self.worker(username)
        path = f"/households/{self.household['id']}"
        seen = await self.village_worker.call("GET", path, headers={"Purpose": "verification"})
        name = seen["form"]["members"][0]["name"]
        self.tell("村专干登录，看到脱敏的登记表", f"The village worker sees the form, masked ({name})")
        await self.village_worker.call("POST", f"{path}/unmask", headers={"Purpose": "verification"})
        await self.village_worker.call("POST", f"{path}/verify", {"version": seen["version"]})
        self.tell("核对证件后通过审核", "Having compared the papers, she verifies the household")

    async def consent_and_qualify(self) -> None:
        for caller in (self.wife_caller, self.husband_caller):
            for notice in await caller.call("GET", "/notices"):
                await caller.create("/consents", {"notice_id": notice["id"]})
        self.tell("夫妻分别同意健康信息处理、向医院提供信息", "Each agrees to both notices, separately")
        told = await self.wife_caller.call("POST", "/services/pre_pregnancy_check/qualification")
        for criterion in told["criteria"]:
            mark, why = "✓" if criterion["passed"] else "✗", criterion["clause_zh"]
            self._tell(f"     {mark} {criterion['zh']}: {criterion['value']}  [dim]{why}[/]")
        self.tell("符合免费孕前优生健康检查条件", "They are eligible for the free check, and read why")

    async def publish(self) -> Any:
        starts = clock.now() + timedelta(minutes=3)
        return await self.hospital.create(
            "/slots",
            {
                "clinic_id": str(demo.CLINIC), "service_code": "pre_pregnancy_check", "capacity": 1,
                "starts_at": starts.isoformat(), "ends_at": (starts + timedelta(hours=1)).isoformat(),
                "opens_at": clock.now().isoformat(),
            },
        )  # fmt: skip

    async def book(self) -> None:
        slot = await self.publish()
        await self.wife_caller.call("POST", "/message-credits", {"kind": "appointment_reminder"})
        consent = {"openid": self.wife.openid, "template_id": "reminder-template", "count": 1}
        await self.control("/consent", consent)
        self.appointment = await self.wife_caller.create("/appointments", {"slot_id": slot["id"]})
        code = self.appointment["code"]
        self.tell("医院放号，妻子为两人预约并订阅提醒", f"The hospital opens a slot; she books it: {code}")
        await self.reminder()

    async def reminder(self) -> None:
        control = Caller(self.http, "/sandbox/wechat/control")
        for _ in range(REMINDER_SECONDS):
            sent = [m for m in await control.call("GET", "/messages") if m["touser"] == self.wife.openid]
            if sent:
                break
            await asyncio.sleep(1)
        else:
            raise Refused("no reminder was sent: is the worker running?")
        self.tell(
            "收到一条微信提醒，不含姓名和病情", f"One reminder, without name or diagnosis: {sent[0]['data']}"
        )

    async def attend(self) -> None:
        arrival = await self.hospital.call("POST", "/check-ins", {"code": self.appointment["code"]})
        people = len(arrival["people"])
        self.tell(
            "到院凭码签到，医院此时才看到姓名证件",
            f"The code checks in {people}; now the hospital sees names",
        )
        await self.hospital.call("POST", f"/appointments/{self.appointment['id']}/fulfil")
        self.tell("检查完成", "The examination is done")

    async def report(self) -> None:
        body = {
            "external_id": f"LIS-{secrets.token_hex(6)}", "version": 1, "status": "final",
            "appointment_id": self.appointment["id"], "issued_at": clock.now().isoformat(),
            "wife": [
                {"code": "haemoglobin", "value": 98, "unit": "g/L", "range_low": 115, "range_high": 150},
                {"code": "tsh", "value": 2.1, "unit": "mIU/L", "range_low": 0.35, "range_high": 4.94},
                {"code": "rubella_igg", "value": "positive"},
            ],
            "husband": [{"code": "smoking", "value": "yes"}, {"code": "hbsag", "value": "negative"}],
        }  # fmt: skip
        self.posted = await self.hospital.call("POST", "/reports", body, expect=201)
        await self.hospital.call("POST", "/reports", body, expect=200)
        self.tell("医院上传联合报告；重复上传不会重复入库", "The hospital posts the report; again: no change")
        listed = (await self.husband_caller.call("GET", "/reports"))["items"]
        sheet = await self.husband_caller.call("GET", f"/reports/{listed[0]['id']}")
        risk = sheet["risk"]["risk_class"]
        self.tell("夫妻查看报告和风险等级", f"The couple reads its report: risk class {risk}")

    async def follow_up(self) -> None:
        due = (await self.village_worker.call("GET", "/follow-ups?limit=100"))["items"]
        mine = [task for task in due if task["report_id"] == self.posted["report_id"]]
        for task in mine:
            self._tell(f"     □ {task['kind']} {task['name']} due {task['due_on']}")
        task = next(task for task in mine if task["kind"] == "result_told")
        outcome = {"kind": "result_told", "told": True, "channel": "home_visit"}
        done = {"version": task["version"], "outcome": outcome}
        await self.village_worker.call("POST", f"/follow-ups/{task['id']}/complete", done)
        self.tell(
            "系统按规则生成随访任务，村专干完成告知",
            "Follow-ups open by rule; one is completed",
        )

    async def look_back(self) -> None:
        log = await self.wife_caller.call("GET", "/me/access-log?limit=50")
        looks = [row for row in log["items"] if row["action"].startswith("read")]
        for row in looks:
            what = f"{row['actor_role']}  {row['action']} {row['entity']}  {row['purpose'] or ''}"
            self._tell(f"     {row['at'][:19]}  {what}")
        self.tell("妻子查看谁看过她的档案", "She asks who looked at her file, and why")

    async def give(self) -> None:
        """To the demo's campaign. What counts is what WeChat says: the phone only has it asked."""
        gift = {"campaign_id": str(demo.CAMPAIGN), "amount_fen": 88_88, "shown_as": "initial"}
        begun = await self.wife_caller.create("/donations", gift)
        self.tell("妻子为困难家庭捐款 88.88 元", f"She gives 88.88 yuan: {begun['number']}")
        paid = {"prepay_id": begun["parameters"]["package"].removeprefix("prepay_id=")}
        await Caller(self.http, "/sandbox/wechat_pay/control").call("POST", "/pay", paid)
        payment = await self.wife_caller.call("GET", f"/donations/{begun['donation_id']}/payment?paid=true")
        if payment["status"] != "paid":
            raise Refused("WeChat Pay says that nothing was paid")
        public = Caller(self.http, "/public/v1")
        shown = (await public.call("GET", f"/campaigns/{demo.CAMPAIGN}/donations"))["items"][0]
        self.tell(
            f"到账，公示为“{shown['name']}”", f"It has come; the public sees {shown['amount_fen'] / 100} yuan"
        )
