"""What a payment says: how much, out of which line of which fund, for what, to whom and where."""

import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from app.errors import Unfit
from app.models.disbursements import PayeeKind
from app.services.plain import Body, Line, Text, example

Fen = Annotated[int, Field(ge=1, le=100_000_000_00)]


SHOWN: dict[str, Any] = {
    "fund_id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", "budget_line_id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02",
    "amount_fen": 200_000, "purpose": "紧急救助金", "payee_kind": "person", "payee": "王小芳",
    "bank_name": "宁夏银行凤凰支行", "bank_account": "6222 0210 0111 6245 702",
}  # fmt: skip


def _digits(text: str) -> str:
    number = text.replace(" ", "").replace("-", "")
    if not (number.isascii() and number.isdigit() and 8 <= len(number) <= 32):
        raise Unfit("账号应为 8 至 32 位数字", "an account number has 8 to 32 digits")
    return number


#: As printed on a card, in groups, or without blanks.
AccountNumber = Annotated[str, Text(48), AfterValidator(_digits)]


@dataclass(frozen=True, slots=True)
class Remark:
    """Worth a second look, and no refusal."""

    pointer: str
    zh: str
    en: str


class NewDisbursement(Body):
    """`purpose` is public: never about whom. `person_id`: the payee's file, where there is one."""

    model_config = example(**SHOWN)

    fund_id: uuid.UUID
    budget_line_id: uuid.UUID
    campaign_id: uuid.UUID | None = None
    amount_fen: Fen
    purpose: Line
    payee_kind: PayeeKind
    payee: Line
    bank_name: Line
    bank_account: AccountNumber
    person_id: uuid.UUID | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.person_id is not None and self.payee_kind is not PayeeKind.PERSON:
            raise Unfit("收款单位没有个人档案", "an organisation has no person's file")
        if _card(self.payee_kind, self.bank_account) and not 16 <= len(self.bank_account) <= 19:
            raise Unfit(
                "62 开头的银行卡号为 16 至 19 位", "card numbers that begin with 62 have 16 to 19 digits"
            )
        return self


def _card(kind: PayeeKind, account: str) -> bool:
    return kind is PayeeKind.PERSON and account.startswith("62")


def remarks(kind: PayeeKind, account: str) -> list[Remark]:
    """A bank card whose last digit does not agree with the others was probably mistyped; old passbooks have none."""
    if _card(kind, account) and not luhn(account):
        said = "银行卡号校验位不符，请核对", "the check digit of the card does not agree: look again"
        return [Remark("/bank_account", *said)]
    return []


def luhn(number: str) -> bool:
    """ISO/IEC 7812-1 annex B."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
