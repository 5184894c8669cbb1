"""Identity documents. GB 11643-1999 resident numbers, 81/82/83 residence permits, and the foreign permanent
resident cards of 2023-12-01 share one form: 17 digits and a check character (ISO 7064 MOD 11-2)."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from operator import mul

from app import clock
from app.crypto import blind_index
from app.errors import Invalid, place
from app.models.households import DocumentKind, Sex

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_CHARACTERS = "10X98765432"
_ZEROS = ord("0") * sum(WEIGHTS)
EIGHTEEN = re.compile(r"[0-9]{17}[0-9X]")
FIFTEEN = re.compile(r"[0-9]{15}")
OLD_PERMANENT_RESIDENT = re.compile(r"[A-Z]{3}[0-9]{12}")
_OF_EIGHTEEN = frozenset(
    {DocumentKind.RESIDENT_ID, DocumentKind.RESIDENCE_PERMIT, DocumentKind.PERMANENT_RESIDENT}
)
OTHER = re.compile(r"[0-9A-Z\u4e00-\u9fff-]{5,30}")
EARLIEST_BIRTH = date(1890, 1, 1)


class DocumentNotValid(Invalid):
    zh, en = "证件号码有误", "The document number is not valid"
    do_zh, do_en = (
        "请对照证件核对号码、出生日期和性别",
        "Check number, birth date and sex against the document",
    )


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is stored. `birth_date` and `sex` are None where the number does not carry them."""

    kind: DocumentKind
    number: str
    birth_date: date | None
    sex: Sex | None

    @property
    def index(self) -> bytes:
        return index(self.kind, self.number)


def index(kind: DocumentKind, number: str) -> bytes:
    """Of a number as `read` leaves it."""
    return blind_index(f"document/{kind}", number)


def check_character(first_seventeen: str) -> str:
    """GB 11643-1999 §4.2: the weighted sum modulo 11 picks the character."""
    total = sum(map(mul, first_seventeen.encode(), WEIGHTS)) - _ZEROS
    return CHECK_CHARACTERS[total % 11]


def normalise(number: str) -> str:
    """Full-width to ASCII, no blanks, capital X."""
    if number.isascii() and number.isalnum():
        return number.upper()
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", number)).upper()


def upgrade(number: str, *, pointer: str = "/document_number") -> str:
    """The 18 digits of a 15-digit number (GB 11643-1989): the century goes in, the check character follows. Such
    cards ceased in 2013 and stand in old lists only: what is given as proof has 18 digits."""
    number = normalise(number)
    if not FIFTEEN.fullmatch(number):
        raise _refused(pointer, "应为 15 位号码", "15 digits are expected")
    first = f"{number[:6]}19{number[6:]}"
    return first + check_character(first)


def read(kind: DocumentKind, number: str, *, pointer: str = "/document_number") -> Document:
    """The document, or DocumentNotValid at `pointer`. The region inside a number is not judged: divisions come
    and go, and a number issued in one that is gone stays good."""
    number = normalise(number)
    if kind is DocumentKind.PERMANENT_RESIDENT and OLD_PERMANENT_RESIDENT.fullmatch(number):
        return Document(kind, number, None, None)
    if kind in _OF_EIGHTEEN:
        return _eighteen(kind, number, pointer)
    if not OTHER.fullmatch(number):
        raise _refused(pointer, "号码格式不正确", "not in the form of this document")
    return Document(kind, number, None, None)


def _eighteen(kind: DocumentKind, number: str, pointer: str) -> Document:
    if not EIGHTEEN.fullmatch(number):
        raise _refused(pointer, "应为 18 位号码", "18 characters are expected")
    if check_character(number[:17]) != number[17]:
        raise _refused(
            pointer, "校验码不正确，请检查是否输错", "the check character does not fit: a digit is wrong"
        )
    residence = number[:2] in {"81", "82", "83"}
    foreign = number[0] == "9"
    if (kind is DocumentKind.RESIDENCE_PERMIT) != residence or (
        kind is DocumentKind.PERMANENT_RESIDENT
    ) != foreign:
        raise _refused(pointer, "号码与证件类型不符", "the number is of another kind of document")
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        raise _refused(pointer, "号码中的出生日期不存在", "the birth date inside does not exist") from None
    if not EARLIEST_BIRTH <= born <= clock.today():
        raise _refused(pointer, "号码中的出生日期无效", "the birth date inside is not possible")
    return Document(kind, number, born, Sex.MALE if int(number[16]) % 2 else Sex.FEMALE)


def _refused(pointer: str, zh: str, en: str) -> DocumentNotValid:
    return DocumentNotValid(errors=[place(pointer, zh, en)])


def person_facts(
    document: Document, *, birth_date: date | None, sex: Sex | None, pointer: str = ""
) -> tuple[date, Sex]:
    """Birth date and sex from the number, or as stated where the number has none; a contradiction is refused."""
    born, gender = document.birth_date or birth_date, document.sex or sex
    if born is None or gender is None:
        missing = "birth_date" if born is None else "sex"
        raise _refused(f"{pointer}/{missing}", "此类证件需要填写", "this kind of document needs it stated")
    if birth_date not in {None, born} or not EARLIEST_BIRTH <= born <= clock.today():
        raise _refused(
            f"{pointer}/birth_date", "与证件不符或不可能", "not that of the document, or not possible"
        )
    if sex not in {None, gender}:
        raise _refused(f"{pointer}/sex", "与证件不符", "not that of the document")
    return born, gender
