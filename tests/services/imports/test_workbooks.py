"""The template that goes out, and the annotated list that comes back."""

import io
import zipfile
from collections.abc import Iterable, Sequence
from datetime import date

from app.services.imports import annotated, columns, sheets
from app.services.imports.annotated import ADDED, Judged
from app.services.imports.columns import COLUMNS, Layout
from app.services.imports.lines import Line
from app.services.imports.row import Row
from app.services.imports.rows import read_rows
from app.services.imports.template import blank
from tests.factories import spreadsheets
from tests.factories.known import known
from tests.factories.spreadsheets import HEADINGS, KEYS

WATERMARK = "演示计划生育协会 王芳 2026-11-22 09:00"


def understood(data: bytes | Iterable[Line]) -> tuple[Layout, list[Row]]:
    lines = sheets.read(io.BytesIO(data), "名册.xlsx") if isinstance(data, bytes) else iter(data)
    layout = columns.find(lines)
    return layout, list(read_rows(lines, layout, known()))


def judged(row: Row) -> Judged:
    numbered = bool(row.cells.get("local_number"))
    return Judged(
        row.number, row.given, "未通过" if row.refused else "可导入", [(wrong.column, wrong.zh) for wrong in row.wrong],
        row.refused, None if numbered else row.head_line,
    )  # fmt: skip


def given_back(layout: Layout, rows: Sequence[Row]) -> bytes:
    out = io.BytesIO()
    annotated.write(out, layout, map(judged, rows), watermark=WATERMARK)
    return out.getvalue()


def listed(lines: Iterable[Sequence[str]], keys: Sequence[str] = KEYS) -> list[Line]:
    headings = Line(1, [HEADINGS[KEYS.index(key)] for key in keys])
    return [headings, *(Line(number, list(line)) for number, line in enumerate(lines, 2))]


def test_the_template_is_a_list_without_lines() -> None:
    data = blank(["大新镇新渠梢村", "大新镇塔桥村"], ["低保", "二女户"])
    layout, rows = understood(data)
    assert set(layout.places) == {column.key for column in COLUMNS}
    assert (layout.warnings, rows) == ([], [])


def test_the_template_offers_what_can_be_chosen() -> None:
    with zipfile.ZipFile(io.BytesIO(blank(["大新镇塔桥村"], ["低保"]))) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count('type="list"') == 1 + sum(bool(column.choices) for column in COLUMNS)
    assert "选项!$A$1:$A$1" in sheet
    assert "户主,配偶,子女,父母,其他" in sheet


def test_the_examples_of_the_template_are_good_lines() -> None:
    (row,) = understood(listed([[column.example for column in COLUMNS]]))[1]
    assert [wrong for wrong in row.wrong if wrong.fatal] == []


def test_what_is_given_back_holds_the_refused_lines_and_can_be_uploaded_as_it_is() -> None:
    made = list(spreadsheets.people(80, wrong_share=0.25, seed=5))
    layout, rows = understood(listed([[cells.get(key, "") for key in KEYS] for cells, _ in made]))
    again, refused = understood(given_back(layout, rows))
    expected = [row for row in rows if row.refused]
    assert len(expected) > 10
    assert [row.given[: len(KEYS)] for row in refused] == [row.given for row in expected]
    assert [row.given[len(KEYS)] for row in refused] == [str(row.number) for row in expected]
    assert all(row.refused and row.given[-1] for row in refused)
    assert (again.warnings, again.line, again.headings) == ([], 2, [*HEADINGS, *ADDED])


def test_a_corrected_line_goes_in_and_columns_of_ours_are_not_doubled() -> None:
    made = list(spreadsheets.people(30, wrong_share=1, seed=6))
    layout, rows = understood(listed([[cells.get(key, "") for key in KEYS] for cells, _ in made]))
    again, refused = understood(given_back(layout, rows))
    right = {cells["document_number"]: cells for cells, _ in spreadsheets.people(30, wrong_share=0, seed=6)}
    third, still = understood(given_back(again, refused))
    assert third.headings == again.headings
    assert [row.given for row in still][:1] == [[*refused[0].given[:-3], "3", *refused[0].given[-2:]]]
    for row in still:
        if row.document_number in right:
            for key, value in right[row.document_number].items():
                row.given[layout.places[key]] = value
    _, corrected = understood(
        [Line(1, third.headings), *(Line(n, row.given) for n, row in enumerate(still, 2))]
    )
    assert [row.refused for row in corrected] == [row.document_number not in right for row in still]


def test_merged_cells_are_given_back_in_every_line() -> None:
    head = {
        "region": "新渠梢村",
        "local_number": "7",
        "address": "三组",
        "relation": "户主",
        "name": "李建国",
    }
    head["document_number"] = spreadsheets.number(1, date(1990, 1, 1), female=False)
    child = {"relation": "子", "name": "李小", "document_number": "1"}
    layout, rows = understood(listed([[cells.get(key, "") for key in KEYS] for cells in (head, child)]))
    (alone,) = understood(given_back(layout, rows))[1]
    assert (alone.household, alone.cells["address"]) == (rows[0].household, "三组")


def test_a_refused_member_of_a_household_without_number_comes_below_its_head() -> None:
    keys = [key for key in KEYS if key != "local_number"]
    households = []
    for serial in (10, 20):
        for place, relation in enumerate(("户主", "配偶", "子")):
            number = spreadsheets.number(serial + place, date(1990, 1, 1), female=False)
            wrong = "1" if (serial, relation) == (20, "子") else number
            households.append(
                {"region": "新渠梢村", "relation": relation, "name": "李某", "document_number": wrong}
            )
    layout, rows = understood(listed([[cells.get(key, "") for key in keys] for cells in households], keys))
    _, back = understood(given_back(layout, rows))
    assert [row.given[len(keys)] for row in back] == ["5", "7"]
    assert back[0].household == back[1].household
    assert not back[0].refused


def test_no_cell_becomes_a_formula() -> None:
    layout, rows = understood(
        listed([["=1+1", "+1", "@SUM(A1)", "-2", "=HYPERLINK(1)", "=cmd|' /C calc'!A0"]])
    )
    with zipfile.ZipFile(io.BytesIO(given_back(layout, rows))) as archive:
        written = "".join(
            archive.read(name).decode() for name in archive.namelist() if "sheets/sheet" in name
        )
    assert "<f>" not in written
    assert written.count("=HYPERLINK(1)") == 2


def test_who_made_it_and_when_is_on_the_first_line_and_at_the_foot_of_each_page() -> None:
    layout, rows = understood(listed([["x"]]))
    data = given_back(layout, rows)
    assert next(iter(sheets.read(io.BytesIO(data), "x"))).cells == [WATERMARK]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert all(WATERMARK in archive.read(f"xl/worksheets/sheet{n}.xml").decode() for n in (1, 2))
