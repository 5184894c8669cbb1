"""Yuan and fen, and the capitals on papers: there and back for every amount."""

import re
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import Unfit
from app.services.donations.amounts import DIGITS, MOST_FEN, capitals, fen, yuan

AMOUNTS = st.integers(1, MOST_FEN)
FULL_WIDTH = str.maketrans("0123456789.,", "０１２３４５６７８９．，")
UNITS = {"拾": 10, "佰": 100, "仟": 1000}


def value(text: str) -> int:
    """Fen of an amount in capitals, read by another way than it was written."""
    total = group = digit = 0
    for one in text.replace("整", ""):
        if one in DIGITS:
            digit = DIGITS.index(one)
        elif one in UNITS:
            group, digit = group + digit * UNITS[one], 0
        elif one == "亿":
            total, group, digit = (total + group + digit) * 10**8, 0, 0
        elif one == "万":
            total, group, digit = total + (group + digit) * 10**4, 0, 0
        else:  # 元, 角, 分
            size = {"元": 100, "角": 10, "分": 1}[one]
            fen_so_far = total if size < 100 else 0
            total, group, digit = fen_so_far + (group + digit + (total if size == 100 else 0)) * size, 0, 0
    return total


@given(AMOUNTS)
def test_every_way_to_write_an_amount_is_read_to_the_fen(amount):
    plain = str(Decimal(amount) / 100)
    for written in (
        plain, yuan(amount), f"¥{yuan(amount)}", f"￥ {plain}元", plain.translate(FULL_WIDTH),
        yuan(amount).translate(FULL_WIDTH), f"{Decimal(amount) / 100:.4f}",
    ):  # fmt: skip
        assert fen(written) == amount


@given(st.decimals(-(10**9), 10**11, places=4))
@example(Decimal("1.0050"))
@example(Decimal("-0.01"))
@example(Decimal("100000000.0100"))
def test_what_is_no_whole_number_of_fen_within_bounds_is_refused(amount):
    good = amount * 100 == int(amount * 100) and 1 <= amount * 100 <= MOST_FEN
    if good:
        assert fen(f"{amount:f}") == int(amount * 100)
    else:
        with pytest.raises(Unfit):
            fen(f"{amount:f}")


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.00", "1.005", "-5", "−5", "(5.00)", "1e3", "1E3", "12,34", "1,2345", "1.2.3", "0x10", "nan", "inf",
     "=1+1", "#FORMULA!", "一百", "壹佰", "1 000", "5$", "1.", ".5", "١٢", "9" * 400, "1." + "0" * 400, "100000000.01"],
)  # fmt: skip
def test_other_writing_is_refused_with_a_reason(text):
    with pytest.raises(Unfit) as refused:
        fen(text)
    assert refused.value.zh


@given(st.integers(1, 10**14 - 1))
@example(10**11 + 1)
@example(1_0000_0000_00)
def test_capitals_say_the_amount_and_end_as_they_must(amount):
    text = capitals(amount)
    assert value(text) == amount
    assert text.endswith("整") == (amount % 10 == 0)
    assert "零零" not in text
    assert not text.startswith("零")
    assert not re.search("零[元万亿角整]", text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (1, "壹分"), (50, "伍角整"), (10000, "壹佰元整"), (10005, "壹佰元零伍分"), (10050, "壹佰元伍角整"),
        (100500, "壹仟零伍元整"), (1050000, "壹万零伍佰元整"), (168_032, "壹仟陆佰捌拾元叁角贰分"),
        (10_000_000, "壹拾万元整"), (107_000_53, "壹拾万柒仟元伍角叁分"), (1_0000_0001_00, "壹亿零壹元整"),
        (10_001_000_00, "壹仟万壹仟元整"), (10_000_500_00, "壹仟万零伍佰元整"), (6_007_14, "陆仟零柒元壹角肆分"),
    ],
)  # fmt: skip
def test_capitals_as_banks_write_them(amount, text):
    assert capitals(amount) == text
