"""Files that are broken, hostile or something else: each is refused with advice, in little time and memory."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.imports import csv_lines, sheets, xlsx_package
from app.services.imports.lines import LONGEST_CELL, MOST_COLUMNS, FileRefused, Line

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELATED = f"""<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="rId1" Type="{OFFICE}/%s" Target="%s"/></Relationships>"""
PARTS = {
    "[Content_Types].xml": "<Types/>",
    "_rels/.rels": RELATED % ("officeDocument", "xl/workbook.xml"),
    "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{OFFICE}"><sheets><sheet name="名册" sheetId="1" r:id="rId1"/>'
    "</sheets></workbook>",
    "xl/_rels/workbook.xml.rels": RELATED % ("worksheet", "worksheets/sheet1.xml"),
}


def package(sheet: str | bytes = "", *, method: int = zipfile.ZIP_DEFLATED, **more: str | bytes) -> bytes:
    """The least that is a workbook, with this sheet; more or other parts under their last names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in PARTS.items():
            archive.writestr(name, more.pop(name.rpartition("/")[2].replace(".", "_"), content))
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
        for name, content in more.items():
            archive.writestr(name, content)
    return out.getvalue()


def worksheet(rows: str) -> str:
    return f"<worksheet {MAIN}><sheetData>{rows}</sheetData></worksheet>"


GOOD = worksheet('<row r="1"><c r="A1" t="inlineStr"><is><t>姓名</t></is></c></row>')


def read(data: bytes, name: str = "名册.xlsx") -> list[Line]:
    with little_more_memory():
        return list(sheets.read(io.BytesIO(data), name))


@contextmanager
def little_more_memory() -> Iterator[None]:
    """Where a test asks for it: tracing is slow."""
    if not tracemalloc.is_tracing():
        yield
        return
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    try:
        yield
    finally:
        assert tracemalloc.get_traced_memory()[1] - before < 8 << 20


def refused(data: bytes, name: str = "名册.xlsx") -> str:
    """Why, in Chinese."""
    with pytest.raises(FileRefused) as problem:
        read(data, name)
    zh, en = problem.value.why
    assert zh
    assert en
    return zh


@pytest.fixture
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_the_least_workbook_is_read() -> None:
    assert [line.cells for line in read(package(GOOD))] == [["姓名"]]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "空"),
        (b"\xef\xbb\xbf", "编码"),
        (b"\0" * 100, "空"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "xls"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"), "密码"),
        (b"<html><table><tr><td>1</td></tr></table>", "xlsx"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><Workbook/>', "xlsx"),
        (b"%PDF-1.7", "xlsx"),
        (b"\x89PNG\r\n\x1a\n", "xlsx"),
        (b"a,b\n\x00\x01\x02", "编码"),
        (b"a,b\n\xff\xff\xff", "编码"),
        ("姓名,村\n".encode("utf-16-le"), "编码"),
        (b"PK\x03\x04 is not enough", "损坏"),
    ],
)  # fmt: skip
def test_other_files_are_named_for_what_they_are(data: bytes, why: str) -> None:
    if data == b"\xef\xbb\xbf":
        assert read(data) == []
    else:
        assert why in refused(data)


def archive(**members: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def test_a_letter_renamed_is_no_list() -> None:
    letter = {
        "_rels/.rels": RELATED % ("officeDocument", "word/document.xml"),
        "word/document.xml": "<document/>",
    }
    assert "工作表" in refused(archive(**letter))
    assert "工作表" in refused(archive(readme="x"))


def test_macros_and_binary_workbooks_are_refused() -> None:
    assert "宏" in refused(package(GOOD, **{"xl/vbaProject.bin": b"x"}))
    assert "宏" in refused(package(GOOD, **{"xl/macrosheets/sheet1.xml": b"x"}))
    assert "宏" in refused(package(GOOD), "名册.XLSM")
    assert "xlsb" in refused(archive(**{"xl/workbook.bin": "x"}))


def test_a_workbook_of_hidden_sheets_has_nothing_to_read() -> None:
    hidden = PARTS["xl/workbook.xml"].replace("<sheet ", '<sheet state="veryHidden" ')
    assert "隐藏" in refused(package(GOOD, workbook_xml=hidden))


def test_a_chart_in_place_of_a_sheet_is_refused() -> None:
    assert "工作表" in refused(
        package(GOOD, workbook_xml_rels=RELATED % ("chartsheet", "worksheets/sheet1.xml"))
    )


def test_a_truncated_file_is_refused_wherever_it_ends() -> None:
    data = package(GOOD)
    for length in range(4, len(data) - 1, 7):
        assert refused(data[:length])


@pytest.mark.usefixtures("little_memory")
def test_a_member_that_inflates_without_end_is_refused() -> None:
    assert "过大" in refused(package("<worksheet>" + f'<a x="{"b" * 1000}"/>' * (32 << 10)))
    assert refused(package(worksheet(" " * (64 << 20))))


@pytest.mark.usefixtures("little_memory")
def test_the_strings_and_the_styles_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_package, "RATIO_COUNTS_FROM", 100_000)
    monkeypatch.setattr(xlsx_package, "HIGHEST_RATIO", 20)
    related = RELATED.replace(
        "</Relationships>", f'<Relationship Id="rId2" Type="{OFFICE}/%s" Target="x.xml"/></Relationships>'
    )
    for kind in ("sharedStrings", "styles"):
        more: dict[str, Any] = {"workbook_xml_rels": related % ("worksheet", "worksheets/sheet1.xml", kind)}
        bomb = b"<sst>" + b"<si><t>a</t></si>" * (1 << 18) + b"</sst>"
        assert "过大" in refused(package(GOOD, **more, **{"xl/x.xml": bomb}))


def test_the_total_is_bounded_however_well_it_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_package, "MOST_INFLATED", 1000)
    assert "过大" in refused(package(GOOD + " " * 2000, method=zipfile.ZIP_STORED))


@pytest.mark.usefixtures("little_memory")
def test_a_directory_of_a_million_members_is_refused() -> None:
    """The end of the archive promises a directory; what stands there is not read beyond a MiB."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *(0,) * 18) + b""
    directory = entry * 100_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), 4, 0)
    assert refused(b"PK\x03\x04" + directory + end)


def test_a_directory_that_lies_about_sizes_is_refused() -> None:
    data = package(GOOD)
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"sheet1.xml"))

    def saying(size: int) -> bytes:
        return data[: at + 24] + struct.pack("<L", size) + data[at + 28 :]

    for size in (1, 5, len(GOOD.encode()) - 1):
        assert refused(saying(size))
    assert read(saying(0xFFFFFFF)) == read(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_kinds_of_compression_that_excel_does_not_know_are_refused(method: int) -> None:
    assert refused(package(GOOD, method=method))


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">%s]>'
ENTITIES = [
    LAUGHS % "",
    LAUGHS % "".join(f'<!ENTITY {chr(99 + n)} "{f"&{chr(98 + n)};" * 10}">' for n in range(9)),
    '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">',
    '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
]


@pytest.mark.parametrize("doctype", ENTITIES)
def test_entities_are_refused_in_every_part(doctype: str) -> None:
    assert refused(package(doctype + GOOD.replace("姓名", "&a;")))
    for part in ("workbook_xml", "workbook_xml_rels", "_rels"):
        name = next(name for name in PARTS if name.rpartition("/")[2].replace(".", "_") == part)
        assert refused(package(GOOD, **{part: doctype + PARTS[name]}))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "sheet",
    [
        worksheet("<a>" * 200_000),
        worksheet("<row><c>" * 200_000),
        worksheet(f'<row r="1"><c r="A1" t="str"><v>{"长" * 40_000}</v></c></row>'),
        worksheet(f'<row r="1"><c r="A1" t="str"><v>{"长" * 4_000_000}</v></c></row>'),
        worksheet(f'<row r="1"><c r="A1" t="inlineStr"><is>{"<r><t>长</t></r>" * 60_000}</is></c></row>'),
        worksheet(f'<row r="1" x="{"长" * 2_000_000}"/>'),
        worksheet('<row r="2"/><row r="1"/>'),
        worksheet('<row r="x"/>'),
        worksheet('<row r="-5"/>'),
        worksheet('<row r="1"><c t="s"><v>7</v></c></row>'),
        worksheet('<row r="1"><c t="s"><v>-1</v></c></row>'),
        worksheet('<row r="1"><c t="s"><v>x</v></c></row>'),
        worksheet('<row r="1"><c t="s"/><c t="str"><v>\x01</v></c></row>'),
        worksheet("<row></c></row>"),
        "not xml",
        "",
        b"\xff\xfe\x00\xd8",
    ],
    ids=range(17),
)
def test_a_sheet_that_no_excel_wrote_is_refused(sheet: str | bytes) -> None:
    assert refused(package(sheet))


@pytest.mark.usefixtures("little_memory")
def test_cells_far_out_take_no_room() -> None:
    far = '<row r="1"><c r="A1"><v>1</v></c><c r="XFD1"><v>2</v></c><c r="ZZZZZZZ1"><v>3</v></c></row>'
    last = '<row r="1048576"><c r="XFD1048576"><v>4</v></c></row>'
    first, *others = read(package(worksheet(far + last)))
    assert (first.cells, first.warnings) == (["1"], ("beyond",))
    assert others == []


def test_a_line_of_a_million_cells_is_cut() -> None:
    cells = '<c t="str"><v>甲</v></c>' * 100_000
    (line,) = read(package(worksheet(f"<row>{cells}</row>")))
    assert (len(line.cells), line.warnings) == (MOST_COLUMNS, ("beyond",))
    (line,) = read(b"a," * 40_000 + b"a")
    assert (len(line.cells), line.warnings) == (MOST_COLUMNS, ("beyond",))


def test_a_long_cell_is_cut_where_its_column_has_long_refused_it() -> None:
    (line,) = read(package(worksheet(f'<row><c t="str"><v>{"长" * 30_000}</v></c></row>')))
    assert len(line.cells[0]) == LONGEST_CELL


@pytest.mark.parametrize("text", ["#N/A", "#REF!", "=cmd|' /C calc'!A0", "\u202e王芳", "true"])
def test_odd_values_come_as_they_are(text: str) -> None:
    (line,) = read(package(worksheet(f'<row><c t="e"><v>{text}</v></c></row>')))
    assert line.cells == [text]


def test_styles_and_numbers_that_make_no_sense_do_no_harm() -> None:
    related = RELATED.replace(
        "</Relationships>", f'<Relationship Id="rId2" Type="{OFFICE}/styles" Target="s.xml"/></Relationships>'
    )
    styles = "".join(f'<xf numFmtId="{number}"/>' for number in ("14", "x", "99999999999999"))
    styles = f"<styleSheet><cellXfs>{styles}</cellXfs></styleSheet>"
    values = ("1e400", "-5", "99999999999", "NaN", "x", "1E+3", "0", "１")
    row = "".join(f'<c s="0"><v>{value}</v></c>' for value in values)
    data = package(
        worksheet(f'<row>{row}<c s="77"><v>1E+3</v></c></row>'),
        workbook_xml_rels=related % ("worksheet", "worksheets/sheet1.xml"), **{"xl/s.xml": styles},
    )  # fmt: skip
    (line,) = read(data)
    assert line.cells == ["1e400", "-5", "99999999999", "NaN", "x", "1902-09-26", "0", "1900-01-01", "1000"]


@pytest.mark.parametrize(
    "text",
    ['姓名,村\n王芳,"新渠梢\n李伟,塔桥\n', '姓名,村\n"' + "a,b\n" * 60_000, "姓名,村\n" + '"a\n",' * 60_000],
)
def test_a_missing_quotation_mark_is_named_with_its_line(text: str) -> None:
    assert "第 2 行" in refused(text.encode())


@pytest.mark.usefixtures("little_memory")
def test_a_field_without_end_is_not_read_to_its_end() -> None:
    class Endless(io.RawIOBase):
        read_bytes = 0

        def seek(self, *_: int) -> int:
            return 0

        def read(self, size: int = -1) -> bytes:
            self.read_bytes += size
            return b"a" * size

    endless = Endless()
    with pytest.raises(FileRefused):
        list(csv_lines._Physical(csv_lines._blocks(endless, "utf-8"), 10_000))  # type: ignore[arg-type]
    assert endless.read_bytes < 2 * csv_lines.BLOCK
    assert "引号" in refused(b"a" * 3_000_000)


@pytest.mark.usefixtures("little_memory")
def test_two_million_rows_are_refused_when_the_limit_is_passed() -> None:
    """On the fly, so that what is read can be counted: with a limit of 50,000 little more is read."""
    half = b"\xe7\x8e\x8b\xe8\x8a\xb3,1\n" * 1_000_000
    file = io.BytesIO(half + half)
    taken = 0
    with suppress(FileRefused), little_more_memory():
        for _ in sheets.read(file, "名册.csv", most=50_000):
            taken += 1
    assert taken == 50_000
    assert file.tell() < len(half) // 10


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_workbook_with_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(WORKBOOK)
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FileRefused):
        read(bytes(whole))


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"PK\x03\x04", b"\xef\xbb\xbf", b"\xff\xfe", "姓名,村\n".encode()]),
)
def test_any_bytes_are_read_or_refused(data: bytes, head: bytes) -> None:
    with suppress(FileRefused):
        read(head + data)


@given(
    st.text(max_size=300),
    st.sampled_from([worksheet, str, lambda text: worksheet(f"<row><c>{text}</c></row>")]),
)
@settings(deadline=None)
def test_any_sheet_is_read_or_refused(text: str, around: Callable[[str], str]) -> None:
    with suppress(FileRefused):
        read(package(around(text).encode("utf-8", "replace")))


def _workbook() -> bytes:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out)
    sheet = book.add_worksheet()
    for row in range(20):
        sheet.write_row(row, 0, ["王芳", row, "新渠梢村", f"13800000{row:03}"])
    book.close()
    return out.getvalue()


WORKBOOK = _workbook()
