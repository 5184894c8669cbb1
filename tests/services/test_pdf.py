import zlib

import pytest

from app.services.results import pdf
from app.services.results.pdf import ActivePdf, NotAPdf
from tests.factories import pdfs

WHOLE = pdfs.pdf()


@pytest.mark.parametrize(
    "data",
    [
        WHOLE,
        pdfs.pdf(pdfs.packed(b"<< /Type /Annot /Subtype /Link >>")),
        # Words by chance in what is compressed or drawn, and names that only begin alike.
        pdfs.pdf(page=b"/JS /XFA"),
        pdfs.pdf(b"<< /JSON 1 /Launches 2 >>"),
        WHOLE + b"\r\n",
    ],
)
def test_ordinary_documents_pass(data: bytes) -> None:
    pdf.check(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-1.7",
        WHOLE[:-8],
        WHOLE[100:],
        WHOLE + b"PK\x03\x04",
        b"GIF89a" + WHOLE,
        b"%PDF-1.7\n%%EOF",
        pdfs.pdf(b"<< /Length 9 >>\nstream\nnever ended"),
        pdfs.pdf(b"<< /Type /ObjStm /Filter /FlateDecode >>\nstream\nnot deflated\nendstream"),
    ],
)
def test_what_is_not_a_whole_pdf_is_refused(data: bytes) -> None:
    with pytest.raises(NotAPdf):
        pdf.check(data)


@pytest.mark.parametrize(
    "part",
    [
        b"<< /S /JavaScript /JS (app.alert) >>",
        b"<< /S /J#61vaScript >>",
        b"<< /S/Launch /F (cmd.exe) >>",
        b"<< /Names << /EmbeddedFiles 9 0 R >> >>",
        b"<< /XFA 5 0 R >>",
        b"<< /S /SubmitForm >>",
        pdfs.packed(b"<< /S /JavaScript /JS (x) >>"),
        b"<< /Type /ObjStm /Filter /ASCIIHexDecode >>\nstream\n2f4a53>\nendstream",
        b"<< /Type /Ob#6aStm /Filter /LZWDecode >>\nstream\nx\nendstream",
        pdfs.packed(b"<< >>").replace(b"/FlateDecode", b"[/FlateDecode /ASCIIHexDecode]"),
        pdfs.packed(b"<< >>").replace(b"/FlateDecode", b"/FlateDecode /Filter /LZWDecode"),
    ],
)
def test_what_acts_when_it_is_opened_is_refused(part: bytes) -> None:
    with pytest.raises(ActivePdf):
        pdf.check(pdfs.pdf(part))


SCRIPT = b"<< /S /JavaScript /JS (x) >>"


@pytest.mark.parametrize(
    "hidden",
    [
        # A stream that only seems to begin, in a comment or in a text, and to end after what acts.
        b"null %% 9 0 obj << >> stream\nendobj\n6 0 obj\n%b\nendobj\n7 0 obj\n(endstream)",
        b"(\n9 0 obj << >> stream\n)\nendobj\n6 0 obj\n%b\nendobj\n7 0 obj\n(endstream)",
    ],
)
@pytest.mark.parametrize("active", [SCRIPT, pdfs.packed(SCRIPT)])
def test_what_acts_is_found_behind_a_stream_that_is_none(hidden: bytes, active: bytes) -> None:
    with pytest.raises(ActivePdf):
        pdf.check(pdfs.pdf(hidden % active))


def test_an_object_stream_in_which_another_end_stands_is_refused() -> None:
    """Its first block is stored, not compressed, and says endstream; the second holds the script."""
    begin = b"<< >> endstream"
    length = len(begin).to_bytes(2, "little")
    deflate = zlib.compressobj(wbits=-15)
    rest = deflate.compress(SCRIPT) + deflate.flush()
    check = zlib.adler32(begin + SCRIPT).to_bytes(4, "big")
    data = b"\x78\x01\x00" + length + bytes(255 - byte for byte in length) + begin + rest + check
    assert zlib.decompress(data) == begin + SCRIPT
    part = b"<< /Type /ObjStm /Filter /FlateDecode >>\nstream\n%b\nendstream" % data
    with pytest.raises(NotAPdf):
        pdf.check(pdfs.pdf(part))


def test_an_encrypted_document_is_refused() -> None:
    with pytest.raises(ActivePdf):
        pdf.check(pdfs.pdf(trailer=b"/Encrypt 9 0 R"))


def test_a_small_file_that_hides_a_very_large_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MOST", 1000)
    assert len(zlib.compress(b" " * 100_000)) < 1000
    with pytest.raises(ActivePdf):
        pdf.check(pdfs.pdf(pdfs.packed(b" " * 100_000)))
    exactly = pdfs.packed(b" " * 1000)
    pdf.check(pdfs.pdf(exactly))
    with pytest.raises(ActivePdf):  # nothing is left of what may be inflated
        pdf.check(pdfs.pdf(exactly, pdfs.packed(b" " * 100_000)))
