"""What has to be settled before two people or households can be one."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.errors import Conflict
from app.models.appointments import Appointment
from app.models.households import Household, Membership, Person, Relation
from app.models.identity import ResidentAccount
from app.models.moves import Move, MoveStatus
from app.services.appointments.line import THERE

OBSTACLES: dict[str, tuple[str, str]] = {
    "sex": ("两人性别不同，请先更正", "Of different sexes: correct one first"),
    "death": ("一人已登记死亡，请先核实并统一", "One is recorded as deceased: settle that first"),
    "erasure": ("其中一人正在注销或已注销", "One is being erased, or was"),
    "strangers": (
        "两人姓名读音、出生日期和手机号均不相同，请先更正",
        "Neither the sound of the name nor birth date nor phone agrees: correct one first",
    ),
    "generation": (
        "两人在同一户中分属不同辈分，请先更正与户主的关系",
        "Of two generations in one household: correct the relation to the head first",
    ),
    "grade": (
        "两人（户）同一类别的等级不同，请先核实并统一",
        "Both hold a category with different grades: settle the grade first",
    ),
    "accounts": ("两人各绑定了一个微信，请先解除其中一个", "Both are bound to an account: release one"),
    "marriage": (
        "两人登记的配偶不同，请先核实婚姻",
        "They have different spouses: settle the marriages first",
    ),
    "head": (
        "被合并的人是另一户的户主且该户还有成员，请先合并家庭或变更户主",
        "The other heads a household with more members: merge the households, or change its head",
    ),
    "appointments": (
        "两人同一周期内预约了同一服务，请先取消其中一个",
        "Both have the same service booked in one cycle: cancel one",
    ),
    "overlap": (
        "两人在同一时间各有预约（见 appointments），请先取消或改约其中一个",
        "Both have an appointment at the same time (see appointments): cancel or move one",
    ),
    "open_requests": (
        "两人（户）有同类的未办结申请，请先办结",
        "Both have an open request of one kind: decide one first",
    ),
    "move": ("有未办结的迁移，请先办结", "A move is under way: decide it first"),
    "region": (
        "两户不在同一村（社区），请先办理迁移",
        "The households are in different villages: move one first",
    ),
}
#: Of the members of one household, beside its head.
GENERATIONS = {Relation.HEAD: 0, Relation.SPOUSE: 0, Relation.CHILD: -1, Relation.PARENT: 1}


class MergeBlocked(Conflict):
    """Says what to settle first, by code; of times that overlap, which appointments they are of."""

    zh, en = "合并前须先处理有冲突的登记", "Something has to be settled before the merge"
    do_zh, do_en = "请按 settle 中列出的事项逐一处理后再合并", "Settle what is listed in settle, then merge"

    def __init__(self, *codes: str, appointments: Sequence[uuid.UUID] = ()) -> None:
        listed = [*codes, *(["overlap"] if appointments else [])] or ["accounts"]
        named: dict[str, Any] = {"appointments": [str(id) for id in appointments]} if appointments else {}
        super().__init__(
            settle=[{"code": code, "zh": OBSTACLES[code][0], "en": OBSTACLES[code][1]} for code in listed],
            **named,
        )


async def of_people(db: AsyncSession, kept: Person, lost: Person) -> list[str]:
    """Of two people, both held."""
    found = []
    if kept.sex is not lost.sex:
        found.append("sex")
    if (kept.died_on is None) != (lost.died_on is None):
        found.append("death")
    if not _alike(kept, lost):
        found.append("strangers")
    if await _of_two_generations(db, kept, lost):
        found.append("generation")
    if any(person.restricted_at or person.erased_at for person in (kept, lost)):
        found.append("erasure")
    bound = select(func.count()).where(ResidentAccount.person_id.in_([kept.id, lost.id]))
    if (await db.scalar(bound) or 0) > 1:
        found.append("accounts")
    return found


async def overlapping(db: AsyncSession, kept: Person, lost: Person) -> list[uuid.UUID]:
    """Their appointments at one time, own or joint: one person would be in two places."""
    own, other = aliased(Appointment), aliased(Appointment)
    meets = and_(own.starts_at < other.ends_at, own.ends_at > other.starts_at, own.id != other.id)
    query = (
        select(own.id, other.id)
        .join(other, meets)
        .where(or_(own.person_id == kept.id, own.spouse_id == kept.id), own.status.in_(THERE))
        .where(or_(other.person_id == lost.id, other.spouse_id == lost.id), other.status.in_(THERE))
    )
    return sorted({id for pair in await db.execute(query) for id in pair})


def _alike(kept: Person, lost: Person) -> bool:
    """A slip of the pen is in one of these, not in all."""
    same_phone = kept.phone_index is not None and kept.phone_index == lost.phone_index
    return kept.pinyin == lost.pinyin or kept.birth_date == lost.birth_date or same_phone


async def _of_two_generations(db: AsyncSession, kept: Person, lost: Person) -> bool:
    query = select(Membership.household_id, Membership.relation).where(
        Membership.person_id.in_([kept.id, lost.id]), Membership.valid_to.is_(None)
    )
    homes, relations = set(), set()
    for home, relation in await db.execute(query):
        homes.add(home)
        relations.add(GENERATIONS.get(relation))
    return len(homes) == 1 and len(relations - {None}) > 1


async def of_households(db: AsyncSession, kept: Household, lost: Household) -> list[str]:
    found = [] if kept.region_code == lost.region_code else ["region"]
    return found + await of_moves(db, [kept.id, lost.id])


async def of_moves(db: AsyncSession, homes: Iterable[uuid.UUID]) -> list[str]:
    """A move under way names the members that it is about."""
    ids = list(homes)
    places = Move.household_id.in_(ids) | Move.to_household_id.in_(ids)
    under_way = select(Move.id).where(places, Move.status == MoveStatus.PROPOSED)
    return ["move"] if await db.scalar(under_way.limit(1)) else []
