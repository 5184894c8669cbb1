"""Spending: from a draft to what the payee acknowledged, the limits of those who approve, and the bank's files."""

from app.services.disbursements.answers import Answer, AnswerTaken, take_answer
from app.services.disbursements.bank_files import (
    NewBankFile,
    NotToPay,
    bank_files,
    bank_workbook,
    cancel_bank_file,
    make_bank_file,
)
from app.services.disbursements.drafts import Asked, SourceTaken, change, copy, draft, request, request_many
from app.services.disbursements.forms import NewDisbursement, Remark, remarks
from app.services.disbursements.limits import BeyondLimit, NewLimit, OwnLimit, set_limit
from app.services.disbursements.limits import listing as limits_listing
from app.services.disbursements.reading import Detail, Row, Work, detail, listing, row_of, workbook
from app.services.disbursements.steps import (
    BudgetExceeded,
    BudgetYearOver,
    InBankFile,
    OwnDisbursement,
    PayerDecided,
    acknowledge,
    approve,
    expire_due,
    pay,
    reject,
    submit,
    void,
)

__all__ = [
    "Answer",
    "AnswerTaken",
    "Asked",
    "BeyondLimit",
    "BudgetExceeded",
    "BudgetYearOver",
    "Detail",
    "InBankFile",
    "NewBankFile",
    "NewDisbursement",
    "NewLimit",
    "NotToPay",
    "OwnDisbursement",
    "OwnLimit",
    "PayerDecided",
    "Remark",
    "Row",
    "SourceTaken",
    "Work",
    "acknowledge",
    "approve",
    "bank_files",
    "bank_workbook",
    "cancel_bank_file",
    "change",
    "copy",
    "detail",
    "draft",
    "expire_due",
    "limits_listing",
    "listing",
    "make_bank_file",
    "pay",
    "reject",
    "remarks",
    "request",
    "request_many",
    "row_of",
    "set_limit",
    "submit",
    "take_answer",
    "void",
    "workbook",
]
