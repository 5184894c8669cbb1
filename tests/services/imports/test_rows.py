"""Whole lines, and the households that they make."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.households import DocumentKind, FamilyType, HukouType, Relation, Sex
from app.services.imports import columns
from app.services.imports.lines import NO_RESULT, FileRefused, Line
from app.services.imports.row import Row
from app.services.imports.rows import read_rows
from tests.factories import spreadsheets
from tests.factories.known import DAXIN, SAME_NAME, VILLAGE, known
from tests.factories.spreadsheets import HEADINGS, KEYS, Cells

GOOD: Cells = {
    "region": "新渠梢村", "local_number": "0012", "address": "三组 25 号", "family_type": "发展型", "relation": "户主",
    "name": "李建国", "document_kind": "居民身份证", "document_number": "440524188001010014", "sex": "男",
    "birth_date": "1880/1/1", "hukou_region": "银川市西夏区", "hukou_type": "农业", "resident_since": "2019.5.1",
    "phone": "139 0000 0002", "married_since": "20150520", "plans_pregnancy": "否",
    "categories": "领证独生子女:2001-05-01；独生子女伤残(三级):2012年3月1日；低保", "evidence": "光荣证",
}  # fmt: skip
NUMBER = spreadsheets.number(7, date(1990, 1, 1), female=False)
GOOD |= {"document_number": NUMBER, "birth_date": "1990/1/1"}
WIFE = spreadsheets.number(8, date(1991, 2, 2), female=True)


def rows(*lines: Cells, headings: list[str] = KEYS) -> list[Row]:
    made = [Line(1, [spreadsheets.HEADINGS[KEYS.index(key)] for key in headings])]
    made += [Line(n, [cells.get(key, "") for key in headings]) for n, cells in enumerate(lines, 2)]
    source = iter(made)
    return list(read_rows(source, columns.find(source), known()))


def codes(row: Row, *, fatal: bool = True) -> list[tuple[str, str]]:
    return [(wrong.column, wrong.code) for wrong in row.wrong if wrong.fatal is fatal]


def member(relation: str = "配偶", **changes: str) -> Cells:
    """A further line of a household, as merged cells leave it."""
    return {"relation": relation, "name": "王芳", "document_number": WIFE, **changes}


def test_a_good_line_is_understood_in_full() -> None:
    (row,) = rows(GOOD)
    assert codes(row) == []
    assert codes(row, fatal=False) == [("categories", "category_since")]
    assert (row.household, row.head_line, row.region_code) == (f"{VILLAGE}|0012", 2, VILLAGE)
    assert (row.relation, row.name, row.sex, row.birth_date) == (
        Relation.HEAD, "李建国", Sex.MALE, date(1990, 1, 1),
    )  # fmt: skip
    assert (row.document_kind, row.document_number) == (DocumentKind.RESIDENT_ID, NUMBER)
    assert (row.hukou_region_code, row.hukou_type) == ("640105000000", HukouType.RURAL)
    assert (row.resident_since, row.married_since) == (date(2019, 5, 1), date(2015, 5, 20))
    assert (row.phone, row.plans_pregnancy, row.family_type) == ("13900000002", False, FamilyType.DEVELOPING)
    assert [(c.code, c.holder, c.grade, c.since) for c in row.categories[:2]] == [
        ("only_child_certificate", "household", None, date(2001, 5, 1)),
        ("only_child_disabled", "household", 3, date(2012, 3, 1)),
    ]
    assert row.categories[2].code == "minimum_income"


@pytest.mark.parametrize(
    ("change", "column", "code"),
    [
        ({"name": ""}, "name", "missing"),
        ({"region": "不存在的村"}, "region", "region"),
        ({"region": "塔桥村"}, "region", "region_ambiguous"),
        ({"region": "银川市兴庆区"}, "region", "region"),
        ({"region": "640105001000"}, "region", "region_outside"),
        ({"relation": "户住"}, "relation", "choice"),
        ({"document_number": NUMBER[:-1]}, "document_number", "document_number"),
        (
            {"document_number": NUMBER, "document_kind": "港澳台居民居住证"},
            "document_number",
            "document_number",
        ),
        ({"sex": "女"}, "sex", "sex"),
        ({"birth_date": "1990-01-02"}, "birth_date", "birth_date"),
        ({"resident_since": "2191-05-01"}, "resident_since", "future"),
        ({"married_since": "15.5.20"}, "married_since", "date"),
        ({"categories": "有钱户"}, "categories", "category"),
        ({"categories": "低保:2191-05-01"}, "categories", "future"),
        ({"evidence": "证" * 1001}, "evidence", "too_long"),
        ({"name": "#N/A"}, "name", "cell_error"),
        ({"name": NO_RESULT}, "name", "cell_error"),
        ({"name": "王\ufffd"}, "name", "unreadable"),
        ({"address": "路" * 201}, "address", "too_long"),
    ],
)
def test_each_mistake_refuses_its_line_at_its_column(change: Cells, column: str, code: str) -> None:
    (row,) = rows(GOOD | change)
    assert codes(row) == [(column, code)]
    assert all(text not in wrong.zh + wrong.en for text in change.values() if text for wrong in row.wrong)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"phone": "0951-1234567"}, "phone"), ({"hukou_region": "火星"}, "hukou_region"),
        ({"hukou_type": "居民"}, "hukou_type"), ({"family_type": "大型"}, "family_type"), ({"phone": ""}, "phone"),
    ],
)  # fmt: skip
def test_what_can_wait_is_left_out_with_a_warning(change: Cells, column: str) -> None:
    (row,) = rows(GOOD | change)
    assert not row.refused
    assert column in {wrong.column for wrong in row.wrong}


def test_an_old_number_is_turned_into_a_new_one_with_a_warning() -> None:
    (row,) = rows(GOOD | {"document_number": "610104620927690", "sex": "", "birth_date": ""})
    assert (row.document_number, row.birth_date, row.sex) == (
        "610104196209276908", date(1962, 9, 27), Sex.FEMALE,
    )  # fmt: skip
    assert ("document_number", "fifteen_digits") in codes(row, fatal=False)


def test_a_document_that_does_not_say_needs_birth_date_and_sex() -> None:
    passport = {"document_kind": "护照", "document_number": "E12345678"}
    assert codes(*rows(GOOD | passport | {"birth_date": ""})) == [("birth_date", "birth_date")]
    assert rows(GOOD | passport)[0].birth_date == date(1990, 1, 1)


def test_a_number_that_ends_in_zeros_may_have_been_rounded() -> None:
    (row,) = rows(GOOD | {"document_number": NUMBER[:15] + "000"})
    assert any("Excel" in wrong.zh for wrong in row.wrong if wrong.fatal)


def test_names_of_villages_are_understood_with_and_without_their_town() -> None:
    texts = [
        "大新镇塔桥村委会",
        "兴庆区大新镇塔桥村",
        "大新镇/塔桥",
        "640104101202",
        "永固居委会",
        "永固",
        "大新镇",
    ]
    found = [row.region_code for row in rows(*(GOOD | {"region": text} for text in texts))]
    assert found == [SAME_NAME] * 4 + ["640104101001"] * 2 + [DAXIN]


PLACES = ("省", "市", "县（市、区）", "乡镇（街道）")


def placed(*lines: tuple[str, str, str, str, str]) -> list[Row]:
    """Lines with their province, city, county, town and village, and the rest of a good one."""
    rest = ("relation", "name", "document_number")
    headings = [*PLACES, "村", *(HEADINGS[KEYS.index(key)] for key in rest)]
    made = [[*line, *(GOOD[key] for key in rest)] for line in lines]
    source = iter([Line(1, headings), *(Line(n, line) for n, line in enumerate(made, 2))])
    layout = columns.find(source)
    assert layout.warnings == []
    return list(read_rows(source, layout, known()))


@pytest.mark.parametrize(
    "above",
    [("", "", "", "大新镇"), ("宁夏", "银川市", "兴庆区", "大新"), ("宁夏回族自治区", "市辖区", "", "640104101"),
     ("", "", "", "银川市兴庆区大新镇")],
)  # fmt: skip
@pytest.mark.parametrize("village", ["塔桥村", "塔桥", "大新镇塔桥村委会", "640104101202"])
def test_columns_of_the_divisions_above_tell_which_village_is_meant(
    above: tuple[str, str, str, str], village: str
) -> None:
    (row,) = placed((*above, village))
    assert (row.region_code, codes(row)) == (SAME_NAME, [])


@pytest.mark.parametrize(
    ("place", "code"),
    [
        (("", "", "", "通贵乡", "塔桥村"), "region_elsewhere"),
        (("", "", "", "塔桥", "塔桥村"), "region_elsewhere"),
        (("", "", "西夏区", "大新镇", "塔桥村"), "region_elsewhere"),
        (("北京市", "", "", "", "永固社区"), "region_elsewhere"),
        (("", "", "", "掌政镇", "640104101202"), "region_elsewhere"),
        (("", "", "兴庆区", "", "塔桥村"), "region_ambiguous"),
        (("", "", "", "大新镇", "不存在的村"), "region"),
        (("", "", "", "大新镇", ""), "missing"),
    ],
)
def test_divisions_that_do_not_fit_together_refuse_the_line(
    place: tuple[str, str, str, str, str], code: str
) -> None:
    (row,) = placed(place)
    assert codes(row) == [("region", code)]


def test_merged_divisions_are_filled_down_and_no_village_below_another_town() -> None:
    found = placed(
        ("宁夏", "银川市", "兴庆区", "大新镇", "塔桥村"),
        ("", "", "", "", "新渠梢村"),
        ("", "", "", "", ""),
        ("", "", "", "掌政镇", "塔桥村"),
        ("", "", "", "大新镇", ""),
    )
    assert [row.region_code for row in found] == [SAME_NAME, VILLAGE, VILLAGE, "640104100202", None]
    assert found[2].given[:5] == ["宁夏", "银川市", "兴庆区", "大新镇", "新渠梢村"]
    assert codes(found[4]) == [("region", "missing")]


def test_one_number_in_villages_of_one_name_makes_two_households() -> None:
    headings = ["乡镇", *(HEADINGS[KEYS.index(key)] for key in GOOD)]
    made = [[town, *GOOD.values()] for town in ("大新镇", "掌政镇")]
    source = iter([Line(1, headings), *(Line(n, line) for n, line in enumerate(made, 2))])
    for line in made:
        line[1] = "塔桥村"
    first, second = read_rows(source, columns.find(source), known())
    assert (first.household, second.household) == (f"{SAME_NAME}|0012", "640104100202|0012")
    assert (first.head_line, second.head_line) == (2, 3)


def test_two_columns_for_the_town_are_named_and_not_taken() -> None:
    layout = headings("乡镇", "村", "关系", "姓名", "证件号码", "街道")
    assert "town" not in layout.places
    assert [zh for zh, _ in layout.warnings] == ["以下列未导入：乡镇、街道"]


def test_a_form_above_the_list_is_no_row_of_headings() -> None:
    form = Line(1, ["省：", "宁夏", "市：", "银川", "县：", "兴庆区", "乡镇：", "大新镇"])
    assert columns.find(iter([form, Line(2, ["村", "关系", "姓名", "证件号码"])])).line == 2


def test_merged_cells_are_filled_down() -> None:
    second = {"local_number": "0013", "relation": "户主", "name": "赵红", "document_number": WIFE}
    head, wife, next_head = rows(GOOD, member(), second)
    assert (wife.household, wife.head_line, wife.address) == (head.household, 2, head.address)
    assert wife.given[:2] == ["新渠梢村", "0012"]
    assert (next_head.household, next_head.address) == (f"{VILLAGE}|0013", None)
    assert (codes(wife), codes(next_head)) == ([], [])


def test_without_numbers_a_household_begins_with_its_head() -> None:
    keys = [key for key in KEYS if key != "local_number"]
    head, wife, other, child = rows(
        GOOD, member(), GOOD | {"name": "赵红"}, member("女"), headings=keys
    )  # fmt: skip
    assert head.household == wife.household == "#2"
    assert other.household == child.household == "#4"
    assert not any(row.refused for row in (head, wife, other, child))


def test_members_wait_for_a_refused_head_and_join_nobody_else() -> None:
    keys = [key for key in KEYS if key != "local_number"]
    first, head, wife = rows(GOOD, GOOD | {"relation": "户住"}, member(), headings=keys)
    assert not first.refused
    assert codes(head) == [("relation", "choice")]
    # Whether the head's line was taken in is settled when the whole file is known.
    assert (wife.household, wife.head_line) == ("#3", head.number)


def test_who_lives_elsewhere_is_not_filled_down_into_the_household_above() -> None:
    without_head = member("女", address="五组 1 号")
    _, stray, next_one = rows(GOOD, without_head, member("子", name="王小"))
    assert codes(stray) == [("relation", "no_household")]
    assert next_one.head_line == stray.number
    keys = [key for key in KEYS if key != "local_number"]
    _, moved = rows(GOOD, member(region="大新镇塔桥村"), headings=keys)
    assert codes(moved) == [("relation", "no_household")]


def test_with_numbers_the_others_of_a_household_go_in_without_the_refused() -> None:
    head, wife = rows(GOOD | {"document_number": "1"}, member())
    assert head.refused
    assert (wife.refused, wife.household) == (False, f"{VILLAGE}|0012")


def test_a_household_has_one_head_and_a_member_has_a_household() -> None:
    first, second, wife = rows(GOOD, GOOD, member())
    assert (first.head_line, second.head_line, wife.head_line) == (2, 3, 3)
    keys = [key for key in KEYS if key != "local_number"]
    alone = GOOD | member(birth_date="", sex="")
    assert codes(*rows(alone, headings=keys)) == [("relation", "no_household")]


def test_a_first_line_without_a_village_is_refused() -> None:
    assert codes(*rows(GOOD | {"region": ""})) == [("region", "missing")]


def test_blank_lines_are_no_rows() -> None:
    assert len(rows(GOOD, {}, {"name": "　 "}, member())) == 2


@given(st.integers(0, 10_000), st.floats(0, 0.5))
def test_every_mistake_of_the_factory_is_found_and_nothing_else(seed: int, share: float) -> None:
    made = list(spreadsheets.people(30, wrong_share=share, seed=seed))
    found = rows(*(cells for cells, _ in made))
    assert [row.refused for row in found] == [column is not None for _, column in made]
    assert all(
        column in {w.column for w in row.wrong}
        for row, (_, column) in zip(found, made, strict=True)
        if column
    )


@given(st.lists(st.lists(st.text(max_size=8), max_size=25), max_size=6))
def test_any_cells_at_all_give_rows_that_are_complete_or_refused(lines: list[list[str]]) -> None:
    source = iter([Line(1, HEADINGS), *(Line(n, cells) for n, cells in enumerate(lines, 2))])
    for row in read_rows(source, columns.find(source), known()):
        needed = (
            row.household,
            row.region_code,
            row.relation,
            row.name,
            row.document_number,
            row.sex,
            row.birth_date,
        )
        assert row.refused or None not in needed


def headings(*texts: str) -> columns.Layout:
    return columns.find(iter([Line(1, list(texts))]))


def test_headings_are_found_in_any_order_and_wording_below_a_title() -> None:
    title = Line(1, ["兴庆区大新镇家庭名册（2026年）"])
    texts = ["序号", "公民身份号码", " 姓 名（必填）*", "关系", "所在村", "备注", "血型"]
    layout = columns.find(iter([title, Line(3, texts)]))
    assert layout.places == {"document_number": 1, "name": 2, "relation": 3, "region": 4}
    assert layout.line == 3
    assert ["血型" in zh and "备注" not in zh for zh, _ in layout.warnings] == [True]


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (("姓名", "身份证号", "村"), "与户主关系"),
        (("姓名", "身份证号", "村", "关系", "证件号码"), "证件号码"),
        (("a", "b"), "姓名"),
    ],
)
def test_headings_that_are_missing_or_doubled_are_named(texts: tuple[str, ...], named: str) -> None:
    with pytest.raises(FileRefused) as refused:
        headings(*texts)
    assert named in refused.value.why[0]


def test_headings_far_below_are_not_looked_for() -> None:
    lines = [Line(n, ["无"]) for n in range(1, 11)] + [Line(11, HEADINGS)]
    with pytest.raises(FileRefused):
        columns.find(iter(lines))
