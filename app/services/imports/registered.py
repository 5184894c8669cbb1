"""What the registry says to a new line: in already, another's document, a known household."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import region_bounds
from app.crypto import seal, unseal
from app.models.imports import Verdict
from app.services.imports.staging import Staged, as_json, note, refuse, warn

# Each of these reads by index, once for each of the given values.
REGISTERED = text("""
SELECT written.document_index, p.id, p.name, p.died_on, p.restricted_at, p.version, p.phone_sealed, p.phone_index,
       p.sex, p.birth_date, p.region_code, p.hukou_region_code, p.hukou_type, p.resident_since, p.import_batch_id,
       h.id AS household_id, h.number, h.region_code AS lives_in, h.local_number, m.relation,
       EXISTS (SELECT FROM resident_account a WHERE a.person_id = p.id) AS bound,
       EXISTS (SELECT FROM membership e WHERE e.person_id = p.id) AS member,
       concat(CASE WHEN town.level > 3 THEN county.name END, town.name) AS office
  FROM unnest(CAST(:documents AS bytea[])) AS given(document_index)
  JOIN person written ON written.document_index = given.document_index
  JOIN person p ON p.id = coalesce(written.merged_into, written.id)
  LEFT JOIN membership m ON m.person_id = p.id AND m.valid_to IS NULL
  LEFT JOIN household h ON h.id = m.household_id
  LEFT JOIN region place ON place.code = h.region_code
  LEFT JOIN region town ON town.code = CASE WHEN place.level > 4 THEN place.parent_code ELSE place.code END
  LEFT JOIN region county ON county.code = town.parent_code""")
HOUSEHOLDS = text("""
SELECT h.region_code, h.local_number, h.id
  FROM unnest(CAST(:regions AS text[]), CAST(:numbers AS text[])) AS given(region_code, local_number)
  JOIN household h ON h.region_code = given.region_code AND h.local_number = given.local_number
   AND h.status = 'active'""")
ALIKE = text("""
SELECT given.line, h.number, h.region_code
  FROM unnest(CAST(:lines AS bigint[]), CAST(:regions AS text[]), CAST(:sounds AS text[]), CAST(:born AS date[]))
       AS given(line, region_code, sound, born)
  JOIN person p ON p.birth_date = given.born AND p.pinyin = given.sound AND p.died_on IS NULL
   AND p.region_code BETWEEN given.region_code || '000000' AND given.region_code || '999999'
  JOIN membership m ON m.person_id = p.id AND m.valid_to IS NULL
  JOIN household h ON h.id = m.household_id""")
#: What the import changes of a known person, and so what undoing brings back.
CHANGED = (
    "version", "sex", "birth_date", "region_code", "hukou_region_code", "hukou_type", "resident_since",
    "phone_sealed", "phone_index", "import_batch_id",
)  # fmt: skip


async def judge(db: AsyncSession, rows: list[Staged], region_code: str) -> None:
    """Settle what is not refused yet. `region_code` is the worker's: what is beyond it is told by its office alone."""
    await _households(db, _open(rows))
    await _registered(db, _open(rows), region_bounds(region_code))
    await _alike(db, _open(rows), region_bounds(region_code))


def _open(rows: Iterable[Staged]) -> list[Staged]:
    return [row for row in rows if row["verdict"] in (Verdict.READY, Verdict.WARNING)]


async def _households(db: AsyncSession, rows: list[Staged]) -> None:
    """A household that has its number in the village already is joined."""
    keys = {(row["region_code"], row["local_number"]) for row in rows if row["local_number"]}
    given = {"regions": [key[0] for key in keys], "numbers": [key[1] for key in keys]}
    found = {(row.region_code, row.local_number): row.id for row in await db.execute(HOUSEHOLDS, given)}
    for row in rows:
        row["joins"] = found.get((row["region_code"], row["local_number"]))


async def _registered(db: AsyncSession, rows: list[Staged], own: tuple[str, str]) -> None:
    found = {
        person.document_index: person
        for person in await db.execute(REGISTERED, {"documents": _documents(rows)})
    }
    for row in rows:
        person = found.get(row["document_index"])
        if person is None:
            continue
        row["person_id"] = person.id
        if person.name != row["name"]:
            _refuse_elsewhere(row, person, "name", "该证件已用其他姓名登记", "registered under another name")
        elif person.died_on:
            _refuse_elsewhere(row, person, "document_number", "该人员已登记死亡", "registered as deceased")
        elif person.restricted_at:  # only stored until erased (PIPL art. 47)
            why = "该人员的档案已停止使用", "the file of this person is no longer used"
            _refuse_elsewhere(row, person, "document_number", *why)
        elif person.household_id is None:
            _link(row, person)
        elif not _same_household(row, person):
            why = "该人员已登记在其他家庭", "belongs to another household"
            _refuse_elsewhere(row, person, "document_number", *why)
        else:
            _known(row, person, own)


def _refuse_elsewhere(row: Staged, person: Any, column: str, zh: str, en: str) -> None:
    """Says which office to ask, never who it is about."""
    if person.office:
        zh, en = f"{zh}，请与{person.office}联系", f"{en}: ask {person.office}"
    refuse(row, column, "registered_elsewhere", zh, en)


def _same_household(row: Staged, person: Any) -> bool:
    if row["joins"]:
        return bool(person.household_id == row["joins"])
    same_number = None in (row["local_number"], person.local_number)
    return bool(person.lives_in == row["region_code"] and same_number)


def _known(row: Staged, person: Any, own: tuple[str, str]) -> None:
    number = f"（家庭编号 {person.number}）" if own[0] <= person.lives_in <= own[1] else ""
    row["joins"], row["verdict"] = person.household_id, Verdict.KNOWN
    row["sex"], row["birth_date"] = person.sex, person.birth_date  # by which a spouse is judged
    zh, en = (
        f"已登记{number}，不重复导入",
        f"registered already{f' ({person.number})' if number else ''}: skipped",
    )
    note(row, "", "known", zh, en)


def _link(row: Staged, person: Any) -> None:
    """Somebody without a household. An account bound to the person sees the household from now on: only one with
    the phone that the list has. Whose papers were seen keeps the phone on file, since with it the file is opened."""
    same = person.phone_index == row["phone_index"]
    if person.bound and not same:
        zh = "该人员已在微信绑定，手机号与名单不一致，请本人到村（居）委会核实"
        en = "bound in WeChat with another phone: verify with the person"
        refuse(row, "phone", "phone_differs", zh, en)
        return
    if person.member and row["phone_index"] and not same:
        zh = "手机号与该人员档案中的不一致，请先核实并更正档案"
        en = "not the phone on file: verify and correct the file first"
        refuse(row, "phone", "phone_differs", zh, en)
        return
    before = {name: getattr(person, name) for name in CHANGED}
    row["before"] = as_json({name: _plain(value) for name, value in before.items()})
    if person.member:  # papers were seen before
        row["sex"], row["birth_date"] = person.sex, person.birth_date
        row["phone_sealed"] = row["phone_index"] = row["hukou_region_code"] = row["hukou_type"] = None
    if row["phone_sealed"]:
        phone = unseal(row["phone_sealed"], place=f"person|phone|{row['id']}")
        row["phone_sealed"] = seal(phone, place=f"person|phone|{person.id}")
    zh, en = "该人员已有个人档案，将加入本户", "known as a person: joins this household"
    warn(row, "", "linked", zh, en)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


async def _alike(db: AsyncSession, rows: list[Staged], own: tuple[str, str]) -> None:
    """The same sound and birth date in the same county under another document: perhaps the same person."""
    new = [row for row in rows if row["before"] is None]
    given = {
        "lines": [row["line"] for row in new], "regions": [row["region_code"][:6] for row in new],
        "sounds": [row["pinyin"] for row in new], "born": [row["birth_date"] for row in new],
    }  # fmt: skip
    found = {alike.line: alike for alike in await db.execute(ALIKE, given)}
    for row in new:
        if alike := found.get(row["line"]):
            seen = own[0] <= alike.region_code <= own[1]
            number = f"（家庭编号 {alike.number}）" if seen else ""
            zh = f"与已登记人员{number}姓名读音、出生日期相同，证件不同，请确认不是同一人"
            en = (
                f"sounds like somebody registered{f' ({alike.number})' if seen else ''}, born on the same day"
            )
            warn(row, "name", "sounds_alike", zh, en)


def _documents(rows: list[Staged]) -> list[bytes]:
    return [row["document_index"] for row in rows]
