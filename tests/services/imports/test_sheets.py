"""What was written is what is read, however it was written, and in flat memory."""

import io
import tracemalloc
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.imports import columns, sheets
from app.services.imports.lines import NO_RESULT, FileRefused, Line
from app.services.imports.rows import read_rows
from app.services.imports.xlsx_book import is_date_format
from app.services.imports.xlsx_sheet import as_date
from tests.factories import spreadsheets
from tests.factories.known import known

TEXTS = st.text(st.characters(codec="gb18030", exclude_categories=["C", "Z"]), max_size=12)
TABLES = st.lists(st.lists(TEXTS, min_size=1, max_size=8), min_size=1, max_size=12)


def read(data: bytes, name: str = "名册.xlsx", **bounds: int) -> list[Line]:
    return list(sheets.read(io.BytesIO(data), name, **bounds))


def cells(data: bytes) -> list[list[str]]:
    return [line.cells for line in read(data)]


def lines_of(table: Sequence[Sequence[str]]) -> dict[int, list[str]]:
    """Without what is blank at the ends."""
    kept = {}
    for number, cells_of in enumerate(table, 1):
        line = list(cells_of)
        while line and not line[-1]:
            line.pop()
        if line:
            kept[number] = line
    return kept


def trimmed(lines: list[Line]) -> dict[int, list[str]]:
    found = lines_of([line.cells for line in lines])
    return {lines[place - 1].number: line for place, line in found.items()}


def workbook(**options: Any) -> tuple[io.BytesIO, Any, Any]:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, options)
    return out, book, book.add_worksheet()


@given(TABLES, st.booleans())
@settings(deadline=None, max_examples=50)
def test_an_xlsx_is_read_as_written_with_shared_and_inline_strings(
    table: list[list[str]], shared: bool
) -> None:
    out, book, sheet = workbook(constant_memory=not shared)
    for row, line in enumerate(table):
        for column, cell in enumerate(line):
            if cell:
                sheet.write_string(row, column, cell)
    book.close()
    if lines_of(table):
        assert trimmed(read(out.getvalue())) == lines_of(table)


@given(TABLES, st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]), st.sampled_from("\t,;"))
def test_a_csv_is_read_as_written_in_every_encoding(
    table: list[list[str]], encoding: str, delimiter: str
) -> None:
    table = [["村", "户编号", "姓名", "关系"], *table]
    text = "\r\n".join(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in table)
    found = trimmed(read(text.encode(encoding), "名册.csv"))
    assert found == lines_of(table)


def test_gbk_as_excel_writes_it() -> None:
    assert cells("姓名,村\r\n王芳,新渠梢村\r\n".encode("gbk")) == [["姓名", "村"], ["王芳", "新渠梢村"]]


def test_lines_are_numbered_as_excel_shows_them() -> None:
    text = '姓名,住址\n\n王芳,"三组\n25 号"\r\n\n李伟,四组\n'
    assert [(line.number, line.cells) for line in read(text.encode())] == [
        (1, ["姓名", "住址"]), (3, ["王芳", "三组 25 号"]), (5, ["李伟", "四组"]),
    ]  # fmt: skip
    out, book, sheet = workbook()
    sheet.write_string(2, 1, "王芳")
    sheet.write_string(9, 0, "李伟\n小")
    book.close()
    assert [(line.number, line.cells) for line in read(out.getvalue())] == [
        (3, ["", "王芳"]),
        (10, ["李伟 小"]),
    ]


@given(st.dates(date(1900, 1, 1), date(9999, 12, 31)))
def test_the_days_of_excel_are_those_of_the_calendar(day: date) -> None:
    serial = (day - date(1899, 12, 30)).days - (day < date(1900, 3, 1))
    assert as_date(str(serial)) == as_date(f"{serial}.75") == str(day)


def test_cells_that_are_formatted_as_dates_come_as_dates() -> None:
    out, book, sheet = workbook()
    for column, code in enumerate(
        ("yyyy-mm-dd", 'yyyy"年"m"月"d"日"', "[$-F800]dddd, mmmm dd, yyyy", 14, "0.00", "General")
    ):
        style = book.add_format({"num_format": code})
        sheet.write_number(0, column, 37012, style)
    sheet.write_number(0, 6, 13812345678)
    sheet.write_boolean(0, 7, True)
    book.close()
    assert cells(out.getvalue()) == [["2001-05-01"] * 4 + ["37012", "37012", "13812345678", "TRUE"]]


def test_an_old_calendar_of_apple_is_counted_from_1904() -> None:
    out, book, sheet = workbook(date_1904=True, default_date_format="yyyy-mm-dd")
    sheet.write_datetime(0, 0, date(2001, 5, 1))
    book.close()
    assert cells(out.getvalue()) == [["2001-05-01"]]


@pytest.mark.parametrize(
    ("code", "is_date"),
    [("yyyy/m/d", True), ("m月d日", True), ("h:mm", False), ('0"day"', False), (r"\d0", False), ("[Red]0.0", False),
     ("General", False), ("@", False)],
)  # fmt: skip
def test_a_number_format_is_a_date_by_its_own_letters(code: str, is_date: bool) -> None:
    assert is_date_format(code) is is_date


def test_a_number_of_18_digits_that_excel_rounded_stays_as_it_is_kept() -> None:
    out, book, sheet = workbook()
    sheet.write_number(0, 0, 110105194912310021)
    book.close()
    assert "E+17" in cells(out.getvalue())[0][0].upper()


def test_formulas_give_their_result_and_say_so_or_are_refused_in_their_cell() -> None:
    out, book, sheet = workbook()
    sheet.write_formula(0, 0, "=A2", None, "王芳")
    sheet.write_formula(0, 1, "=1+1", None, 2)
    sheet.write_formula(1, 0, "=A3", None, "")
    sheet.write_formula(2, 0, "=NA()", None, "#N/A")
    sheet.write_string(3, 0, "王芳")
    book.close()
    first, second, third, fourth = read(out.getvalue())
    assert (first.cells, first.warnings) == (["王芳", "2"], ("formula",))
    assert second.cells == [NO_RESULT]
    assert third.cells == ["#N/A"]
    assert fourth.warnings == ()


def book_of(**sheets: list[list[str]]) -> bytes:
    """With sheets of these names and cells; those whose name begins with _ are hidden."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        made = [(book.add_worksheet(name), name, lines) for name, lines in sheets.items()]
        next(sheet for sheet, name, _ in made if name[0] != "_").activate()
        for sheet, name, lines in made:
            for row, line in enumerate(lines):
                sheet.write_row(row, 0, line)
            if name[0] == "_":
                sheet.hide()
    return out.getvalue()


NEEDED = ["村", "与户主关系", "姓名", "证件号码"]
ROW = ["新渠梢村", "户主", "王芳", "1"]


def list_of(data: bytes) -> tuple[list[list[str]], list[str]]:
    """What is read, and what is said of the rest in Chinese."""
    first, *others = read(data)
    assert first.about
    assert all(line.about is None for line in others)
    return [line.cells for line in (first, *others)], [zh for zh, _ in first.about.remarks]


def test_hidden_sheets_are_not_read_and_named() -> None:
    lines, remarks = list_of(book_of(_秘密=[NEEDED, ROW], 表=[["姓名"], ["王芳"]]))
    assert lines == [["姓名"], ["王芳"]]
    assert ["_秘密" in remark for remark in remarks] == [True]


def test_a_cover_before_the_list_is_passed_over_and_named() -> None:
    cover = [["大新镇家庭名册"], *([str(n)] for n in range(30))]
    lines, remarks = list_of(book_of(封面=cover, 空=[], 名册=[["2026 年"], NEEDED, ROW], 汇总=[["合计"]]))
    assert lines == [["2026 年"], NEEDED, ROW]
    assert ["“名册”" in remark and "“封面”“汇总”未读取" in remark for remark in remarks] == [True]
    layout = columns.find(iter(read(book_of(封面=cover, 名册=[NEEDED, ROW]))))
    assert [zh for zh, _ in layout.warnings] == ["已读取工作表“名册”；“封面”未读取，如有名册请分别保存后上传"]


def test_without_a_list_the_sheet_that_comes_nearest_is_complained_of() -> None:
    data = book_of(封面=[["说明"]], 名册=[NEEDED[:3], ROW[:3]], 另=[["a"]])
    with pytest.raises(FileRefused) as refused:
        columns.find(iter(read(data)))
    zh, en = refused.value.why
    assert zh.startswith("没有找到表头：证件号码；")
    assert "“封面”“另”未读取" in zh
    assert "封面" in en


def test_two_lists_are_refused_unless_one_is_empty() -> None:
    with pytest.raises(FileRefused) as refused:
        read(book_of(一村=[NEEDED, ROW], 封面=[["x"]], 二村=[["题"], NEEDED, [" "], ROW]))
    assert "“一村”“二村”" in refused.value.why[0]
    for blank in ([NEEDED], [NEEDED, [" "], ["", "　"]]):
        assert list_of(book_of(空=blank, 二村=[NEEDED, ROW])) == ([NEEDED, ROW], [])
        assert list_of(book_of(一村=[NEEDED, ROW], 空=blank)) == ([NEEDED, ROW], [])


def test_all_lines_of_a_list_given_back_are_passed_over_beside_those_to_correct_only() -> None:
    every = [NEEDED, ROW, ROW]
    assert list_of(book_of(需修改=[NEEDED, ROW], 全部=every)) == ([NEEDED, ROW], [])
    assert list_of(book_of(全部=every)) == (every, [])
    with pytest.raises(FileRefused):
        read(book_of(名册=[NEEDED, ROW], 全部=every))


def test_plain_numbers_of_a_workbook_of_1904_are_dates_of_1904() -> None:
    headings = [*NEEDED, "出生日期"]
    number = spreadsheets.number(7, date(1990, 1, 1), female=False)
    for date_1904, meant in ((True, date(1990, 1, 1)), (False, date(1985, 12, 31))):
        out, book, sheet = workbook(date_1904=date_1904)
        sheet.write_row(0, 0, headings)
        sheet.write_row(1, 0, ["新渠梢村", "户主", "李建国", number])
        sheet.write_number(1, 4, (date(1990, 1, 1) - date(1904, 1, 1)).days)
        book.close()
        lines = iter(read(out.getvalue()))
        layout = columns.find(lines)
        (row,) = read_rows(lines, layout, known())
        assert (row.birth_date, row.refused) == (meant, not date_1904)
        assert layout.date1904 is date_1904


def rewritten(data: bytes, **members: str) -> bytes:
    """A workbook with some of its members written otherwise."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            key = info.filename.rpartition("/")[2].partition(".")[0]
            new.writestr(info.filename, members.get(key, old.read(info)))
    return out.getvalue()


def one_cell() -> bytes:
    out, book, sheet = workbook()
    sheet.write_string(0, 0, "姓名")
    book.close()
    return out.getvalue()


def test_prefixes_rich_text_phonetics_and_cells_without_places_are_understood() -> None:
    sheet = """<x:worksheet xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><x:sheetData>
      <x:row><x:c t="s"><x:v>0</x:v></x:c><x:c t="inlineStr"><x:is><x:r><x:t>王</x:t></x:r><x:r><x:t>芳</x:t></x:r>
      <x:rPh><x:t>wang</x:t></x:rPh></x:is></x:c></x:row>
      <x:row r="5"><x:c r="C5"><x:v>5.0</x:v></x:c><x:c r="A5" t="d"><x:v>2001-05-01T00:00:00</x:v></x:c></x:row>
      </x:sheetData></x:worksheet>"""
    strings = """<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><r><t>张</t></r>
      <r><t xml:space="preserve"> 伟</t></r><rPh sb="0" eb="1"><t>zhang</t></rPh></si></sst>"""
    found = read(rewritten(one_cell(), sheet1=sheet, sharedStrings=strings))
    assert [(line.number, line.cells) for line in found] == [
        (1, ["张 伟", "王芳"]),
        (5, ["2001-05-01", "", "5"]),
    ]


def test_characters_that_xml_cannot_hold_are_named_unreadable() -> None:
    strings = "<sst><si><t>a_xD800_b_x0000_c_x000D_d_xD83D__xDE00_</t></si></sst>"
    assert cells(rewritten(one_cell(), sharedStrings=strings)) == [["a\ufffdb\ufffdc d😀"]]


def test_a_million_rows_are_the_limit() -> None:
    text = "姓名\n" + "王芳\n" * 5
    assert len(read(text.encode(), most=6)) == 6
    with pytest.raises(FileRefused) as refused:
        read(text.encode(), most=5)
    assert "100 万" in refused.value.why[0]


@pytest.mark.parametrize("kind", ["shared", "inline", "csv"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    """Four thousand rows more, at most 2 MB more; held in lists they would be 8. What is kept to be at hand (the
    strings used last) is full after the first thousand."""
    peaks = []
    for most in (1_500, 5_500):
        path = tmp_path / f"{kind}{most}"
        if kind == "csv":
            spreadsheets.as_csv(path, spreadsheets.rows(most))
        else:
            spreadsheets.as_xlsx(path, spreadsheets.rows(most), shared_strings=kind == "shared")
        tracemalloc.start()
        with path.open("rb") as file:
            assert sum(1 for _ in sheets.read(file, "名册")) == most + 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 2 << 20, peaks


def as_excel_writes(data: bytes, ours: str, excels: str) -> bytes:
    """Where Excel's own XML differs from the library's."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as book, zipfile.ZipFile(out, "w") as changed:
        for name in book.namelist():
            changed.writestr(name, book.read(name).decode().replace(ours, excels))
    return out.getvalue()


def test_a_number_that_excel_has_rounded_is_shown_as_such() -> None:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        book.add_worksheet().write_row(0, 0, [642093199301019035, 123456789012345, 12])
    data = as_excel_writes(out.getvalue(), "6.42093199301019E+17", "642093199301019000")
    assert cells(data) == [["6.42093E+17", "123456789012345", "12"]]


def test_an_empty_result_of_a_formula_is_empty() -> None:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        sheet = book.add_worksheet()
        sheet.write_formula(0, 0, '=IF(B1="","",B1)', value="")
        sheet.write_string(0, 1, "王芳")
    data = as_excel_writes(out.getvalue(), '<c r="A1">', '<c r="A1" t="str">')
    assert cells(data) == [["", "王芳"]]


def test_the_delimiter_is_the_one_between_headings() -> None:
    text = "村（社区）,与户主关系,姓名,证件号码,类别\r\n"
    text += '塔桥村,户主,王芳,="640104199001010013",低保;五保;空巢;a;b;c;d\r\n'
    assert cells(text.encode())[1][3:] == ["640104199001010013", "低保;五保;空巢;a;b;c;d"]
