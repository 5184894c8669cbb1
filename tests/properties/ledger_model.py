"""What the ledger should answer, and what should stand in it: a dictionary of what was posted, read anew each time."""

import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date

from app.models.ledger import Phase, TransferKind
from app.services.ledger.flows import next_month
from app.services.ledger.posting import Entry, transfer_id

MOVED, NOTHING = (Phase.SINGLE, Phase.POST), uuid.UUID(int=0)


def same(one: Entry, other: Entry) -> bool:
    return replace(one, effective=other.effective, group=other.group, commitment=other.commitment) == other


@dataclass
class Model:
    """`limits`: whose money stands on an account. `carried`: to which an account of income or cost goes in December."""

    limits: dict[str, str]
    carried: dict[str, str]
    books: dict[uuid.UUID, Entry] = field(default_factory=dict)
    refused: dict[uuid.UUID, Entry] = field(default_factory=dict)
    open_from: date = date.min

    def balances(self, before: date = date.max) -> dict[str, tuple[int, int, int]]:
        """Debits, credits, held; by account."""
        debits, credits, held = Counter[str](), Counter[str](), Counter[str]()
        for one in self.books.values():
            if one.effective < before and one.phase in MOVED:
                debits[one.debit] += one.amount
                credits[one.credit] += one.amount
            if one.phase is Phase.HOLD:
                held[one.debit] += one.amount
            elif one.pending:
                held[one.debit] -= self.books[one.pending].amount
        return {code: (debits[code], credits[code], held[code]) for code in {*debits, *credits, *held}}

    def available(self, limit: str | None) -> int:
        return sum(c - d - h for code, (d, c, h) in self.balances().items() if self.limits.get(code) == limit)

    def post(self, new: Entry, *, record: bool, today: date) -> str:
        kept, hold = self.books.get(new.id), self.books.get(new.pending or NOTHING)
        closed, books = new.effective < self.open_from, self.books.values()
        if hold and (new.amount > hold.amount or (new.phase is Phase.VOID and new.amount < hold.amount)):
            return "more_than_held"
        if kept:
            return "replayed" if same(kept, new) else "mismatch"
        if not record and not hold and (no := self.refusal(new, closed)):
            if no == "insufficient":
                self.refused.setdefault(new.id, new)
            return no
        if any((one.pending, one.reverses) == (new.pending, new.reverses) != (None, None) for one in books):
            return "already_resolved" if new.pending else "already_reversed"
        self.books[new.id] = replace(new, effective=max(today, self.open_from)) if closed else new
        return "posted"

    def refusal(self, new: Entry, closed: bool) -> str | None:
        if new.id in self.refused:
            return "insufficient" if same(self.refused[new.id], new) else "mismatch"
        limit = self.limits.get(new.debit)
        poor = limit and limit != self.limits.get(new.credit) and self.available(limit) < new.amount
        return "closed_month" if closed else "insufficient" if poor else None

    def close(self, month: date, *, today: date) -> str:
        until, first = next_month(month), self.open_from == date.min
        if until > today or until <= self.open_from:
            return "not_over" if until > today else "already"
        if any(one.effective < month for one in self.books.values()) if first else month > self.open_from:
            return "earlier_open"
        for code, (debit, credit, _) in self.balances(until).items() if month.month == 12 else ():
            if code in self.carried and (left := credit - debit):
                sides = (code, self.carried[code]) if left > 0 else (self.carried[code], code)
                id, day = transfer_id("closing", month.year, code), month.replace(day=31)
                self.books[id] = Entry(id, *sides, abs(left), TransferKind.CLOSING, "", day)
        self.open_from = until
        return "closed"
