"""A certificate of a gift, drawn, with its proof attached."""

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

from app import clock
from app.services import papers
from app.services.donations.amounts import capitals, yuan


@dataclass(frozen=True, slots=True)
class Page:
    """`back_fen`: refunded since. `check`: the address at which anybody may check the number. `goods`: 奶粉 40 箱."""

    name: str | None
    number: str
    fund: str
    fund_en: str
    amount_fen: int
    back_fen: int
    goods: str
    given_on: date
    issuer: str
    check: str
    proof: dict[str, Any]


def draw(page: Page) -> bytes:
    """One page, A4 lying."""
    paper = papers.lying()
    paper.set_title(f"捐赠证书 {page.number}")
    paper.set_line_width(0.3)
    paper.rect(13, 13, 271, 184)
    on, money = page.given_on, f"人民币{capitals(page.amount_fen)}（¥{yuan(page.amount_fen)}）"
    for top, size, line in (
        (30, 36, "捐赠证书"),
        (47, 13, "Certificate of Donation"),
        (66, 22, f"{page.name or '爱心人士'}："),
        (84, 15, f"感谢您于 {on.year} 年 {on.month} 月 {on.day} 日向“{page.fund}”捐赠"),
        (99, 19, f"{page.goods}，价值{money}" if page.goods else money),
        (
            112,
            12,
            f"已退还人民币{capitals(page.back_fen)}（¥{yuan(page.back_fen)}）" if page.back_fen else "",
        ),
        (122, 11, f'given on {on.isoformat()} to "{page.fund_en}": CNY {yuan(page.amount_fen)}'),
        (134, 12, "爱心善款专款专用，使用情况向社会公开，特发此证，以表谢忱。"),
        (158, 15, page.issuer),
        (169, 11, _day(clock.today())),
        (179, 11, f"证书编号 No. {page.number}"),
        (187, 8, "扫码核验；本证书内附存在证明 proof.json，可离线核验；本证书不作为公益事业捐赠票据"),
    ):
        papers.line(paper, top, size, line)
    paper.image(papers.square(page.check), x=240, y=146, w=36)
    paper.embed_file(
        bytes=written(page.proof),
        basename="proof.json",
        mime_type="application/json",
        desc="Proof of inclusion",
        compress=True,
    )
    return bytes(paper.output())


def written(proof: dict[str, Any]) -> bytes:
    return json.dumps(proof, ensure_ascii=False, indent=1).encode()


def _day(day: date) -> str:
    return f"{day.year} 年 {day.month} 月 {day.day} 日"
