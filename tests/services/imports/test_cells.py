"""What single cells say."""

from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.households import DocumentKind, Relation, Sex
from app.services.imports import cells
from app.services.imports.cells import NotReadable

DAYS = st.dates(date(1927, 6, 1), date(2099, 12, 31))
FORMS = (
    "{0.year}-{0.month}-{0.day}", "{0.year}/{0.month:02}/{0.day:02}", "{0:%Y%m%d}",
    "{0.year}年{0.month}月{0.day}日", "{0.year}.{0.month}.{0.day}", "{0:%Y-%m-%d} 00:00:00", "'{0:%Y/%m/%d}",
)  # fmt: skip
FULL_WIDTH = str.maketrans("0123456789-/.X", "０１２３４５６７８９－／．Ｘ")


@given(DAYS, st.sampled_from(FORMS), st.booleans())
def test_a_date_is_read_in_every_form_that_lists_have(day: date, form: str, wide: bool) -> None:
    text = form.format(day)
    assert cells.day(text.translate(FULL_WIDTH) if wide else text) == day


@given(DAYS)
def test_the_number_that_excel_keeps_of_a_date_is_that_date(day: date) -> None:
    assert cells.day(str((day - date(1899, 12, 30)).days)) == day


@pytest.mark.parametrize(
    "text",
    ["85.6.1", "01-02-03", "2001", "2001-05", "2001年5月", "20010532", "2001-02-29", "1850-01-01", "5/1/2001",
     "不详", "1988", "2001-5-1至今", "2019-05-01.2020-01-01", "200151"],
)  # fmt: skip
def test_a_date_that_could_be_another_is_refused(text: str) -> None:
    with pytest.raises(NotReadable):
        cells.day(text)


@given(st.text(max_size=30))
def test_a_date_is_a_date_or_refused_whatever_is_written(text: str) -> None:
    with suppress(NotReadable):
        assert 1890 <= cells.day(text).year <= 2200


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_reader_breaks_on_any_text(text: str) -> None:
    for read in (
        cells.document_number, cells.phone, cells.name, cells.local_number, cells.address, cells.relation,
        cells.sex, cells.hukou_type, cells.family_type, cells.document_kind, cells.yes, cells.evidence,
    ):  # fmt: skip
        with suppress(NotReadable):
            read(text)


@pytest.mark.parametrize(
    "text",
    ["11010519491231002X", "１１０１０５１９４９１２３１００２ｘ", "'11010519491231002x", " 110105 19491231 002X",
     "110105-19491231-002X", "\u202d11010519491231002X\u202c", "`11010519491231002X"],
)  # fmt: skip
def test_a_number_is_the_same_however_it_was_pasted(text: str) -> None:
    assert cells.document_number(text) == "11010519491231002X"


@pytest.mark.parametrize("text", ["1.10105194912310E+17", "1.1E17", "1.10105194912310e+17", "１.1E+17"])
def test_a_number_that_excel_has_rounded_is_named_as_such(text: str) -> None:
    with pytest.raises(NotReadable) as refused:
        cells.document_number(text)
    assert refused.value.code == "document_spoilt"


def test_the_kind_follows_from_the_number_where_the_list_does_not_say() -> None:
    assert cells.document_kind_of("830000199001010017") is DocumentKind.RESIDENCE_PERMIT
    assert cells.document_kind_of("911840199001010017") is DocumentKind.PERMANENT_RESIDENT
    assert cells.document_kind_of("USA123456789012") is DocumentKind.PERMANENT_RESIDENT
    assert cells.document_kind_of("11010519491231002X") is DocumentKind.RESIDENT_ID


@pytest.mark.parametrize(
    ("text", "phone"),
    [("138 1234 5678", "13812345678"), ("+86 138-1234-5678", "13812345678"), ("0086 13812345678", "13812345678"),
     ("８６13812345678", "13812345678"), ("'13812345678", "13812345678"), ("+1 202 555 0100", "+12025550100")],
)  # fmt: skip
def test_a_phone_is_read_with_its_decorations(text: str, phone: str) -> None:
    assert cells.phone(text) == phone


@pytest.mark.parametrize(
    "text", ["0951-1234567", "1381234567", "12812345678", "无", "13812345678/13912345678"]
)
def test_what_is_no_mobile_phone_is_refused(text: str) -> None:
    with pytest.raises(NotReadable):
        cells.phone(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("王　芳", "王芳"),
        ("王 芳", "王芳"),
        ("阿依古丽•买买提", "阿依古丽·买买提"),
        ("Mary Ann", "Mary Ann"),
        ("𬱖某", "𬱖某"),
    ],
)
def test_names_are_written_in_one_way(text: str, name: str) -> None:
    assert cells.name(text) == name


@pytest.mark.parametrize("text", ["王?芳", "张*", "李□", "王芳2", "=1+1", "陈" * 101])
def test_a_name_with_a_mark_in_place_of_a_character_is_refused(text: str) -> None:
    with pytest.raises(NotReadable):
        cells.name(text)


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("户主", "head"),
        ("妻", "spouse"),
        ("长子", "child"),
        ("之女", "child"),
        ("岳母", "parent"),
        ("儿媳", "other"),
    ],
)
def test_relations_are_those_that_lists_use(text: str, relation: str) -> None:
    assert cells.relation(text) is Relation(relation)


def test_sexes_may_be_given_in_full_width() -> None:
    assert (cells.sex("２"), cells.sex("男性")) == (Sex.FEMALE, Sex.MALE)


@pytest.mark.parametrize("text", ["张三（已故）", "张三、李四", "李四(小名：狗蛋)", "王芳，女", "张三;"])
def test_a_name_with_a_note_is_no_name(text: str) -> None:
    with pytest.raises(cells.NotReadable):
        cells.name(text)


def test_what_excel_has_rounded_is_no_number() -> None:
    for text in ("6.42093E+17", "4.4E+017"):
        with pytest.raises(cells.NotReadable) as refused:
            cells.document_number(text)
        assert refused.value.code == "document_spoilt"
