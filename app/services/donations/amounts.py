"""Money as people write it: yuan in files, Chinese capitals on papers. Inside it is fen, always whole."""

import re
import unicodedata
from decimal import Decimal

from app.errors import Unfit

MOST_FEN = 100_000_000_00
PLAIN = re.compile(r"[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,5}")
DIGITS = "零壹贰叁肆伍陆柒捌玖"
PLACES = ("仟", "佰", "拾", "")
#: Of each four digits (中国人民银行《支付结算办法》附一).
GROUPS = (("亿", 10**8), ("万", 10**4), ("", 1))


def fen(text: str) -> int:
    """Yuan as a file has them, to the fen: 1,234.50 and ￥１２ are read; 1.005, -5, 1e3, 12,34 and 0 are refused, with
    the reason. Never through a float."""
    written = unicodedata.normalize("NFKC", text).strip().removeprefix("¥").removesuffix("元").strip()
    if written.startswith(("-", "(", "−")):
        raise Unfit(
            "负数是退款或冲正，请在对应的捐赠上办理",
            "below nothing: a refund or reversal is done at the gift",
        )
    whole, point, part = written.partition(".")
    if not PLAIN.fullmatch(whole) or (point and not re.fullmatch("[0-9]{1,20}", part)):
        raise Unfit(
            "金额应写作 1234.50，不用科学计数法", "an amount is written 1234.50, not in powers of ten"
        )
    if part[2:].strip("0"):
        raise Unfit("金额最多两位小数，精确到分", "no more than two decimals: fen are not divided")
    return within(int(Decimal(f"{whole.replace(',', '')}.{part[:2] or '0'}") * 100))


def within(amount: int) -> int:
    """One fen to a hundred million yuan."""
    if not 1 <= amount <= MOST_FEN:
        raise Unfit("金额应大于 0 且不超过一亿元", "more than nothing, and at most 100,000,000 yuan")
    return amount


def yuan(amount: int) -> str:
    """1234567 → 12,345.67."""
    return f"{amount // 100:,}.{amount % 100:02}"


def capitals(amount: int) -> str:
    """10000 → 壹佰元整; 10005 → 壹佰元零伍分; 50 → 伍角整. Up to 9,999 亿."""
    whole, rest = divmod(amount, 100)
    tens, ones = divmod(rest, 10)
    text = _whole(whole) + "元" if whole else ""
    if tens:
        text += DIGITS[tens] + "角"
    if ones:
        return text + ("零" if whole and not tens else "") + DIGITS[ones] + "分"
    return (text or "零元") + "整"


def _whole(number: int) -> str:
    text, skipped = "", False
    for name, size in GROUPS:
        four, number = divmod(number, size)
        if not four:
            skipped = bool(text)
            continue
        text += ("零" if text and (skipped or four < 1000) else "") + _four(four) + name
        skipped = False
    return text


def _four(number: int) -> str:
    """Zeros within are said once, those at the end not at all."""
    text = ""
    for place, digit in zip(PLACES, f"{number:04}", strict=True):
        if digit != "0":
            text += DIGITS[int(digit)] + place
        elif text and not text.endswith("零"):
            text += "零"
    return text.rstrip("零")
