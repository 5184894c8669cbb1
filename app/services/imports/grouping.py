"""Which lines make a household: by the number that the village gave it, or else from one head to the next."""

from dataclasses import dataclass

from app.models.households import Relation
from app.services.imports import cells
from app.services.imports.row import Row

SHARED = ("region", "local_number", "address", "family_type")


@dataclass(slots=True)
class Household:
    """The household to which the next lines may belong. `key` is None where its own columns cannot be read."""

    key: str | None
    numbered: bool
    shared: dict[str, str]  # the household's own columns, filled down
    head_line: int | None = None


class Grouping:
    def __init__(self) -> None:
        self._current: Household | None = None

    def begins(self, row: Row) -> bool:
        """Whether this line begins a household: by another number, or without numbers by its head. So does a line whose
        relation cannot be read, or that lives elsewhere: who follows must not join the household above."""
        current, number = self._current, row.cells.get("local_number", "")
        if current is None:
            return True
        if number:
            region = row.cells["region"]
            same_region = not region or region == current.shared["region"]
            return not (same_region and number == current.shared.get("local_number"))
        elsewhere = ("region", "address") if current.numbered else ("region",)
        if any(row.cells.get(key) and row.cells[key] != current.shared[key] for key in elsewhere):
            return True
        relation = row.cells["relation"]
        return cells.RELATIONS.get(relation, cells.RELATIONS.get(cells.plain(relation), "head")) == "head"

    def fill_down(self, row: Row, *, new: bool) -> list[str]:
        """What merged cells leave blank: the region over a whole village, the rest within the household. The columns
        that were filled."""
        current = self._current
        if current is None:
            return []
        broken = {wrong.column for wrong in row.wrong}
        filled = [
            key
            for key, text in current.shared.items()
            if text and not row.cells[key] and key not in broken and (key == "region" or not new)
        ]
        for key in filled:
            row.cells[key] = current.shared[key]
        return filled

    def join(self, row: Row, *, new: bool) -> None:
        """Give the row its household, whose head it may be."""
        if new or self._current is None:
            self._current = _household(row)
        current = self._current
        row.household = current.key
        if row.relation is Relation.HEAD:
            current.head_line = row.number
        row.head_line = current.head_line
        if not current.numbered:
            _hold(row, current, first=new)


def _household(row: Row) -> Household:
    shared = {key: row.cells[key] for key in SHARED if key in row.cells}
    numbered = bool(row.cells.get("local_number"))
    key: str | None = f"#{row.number}"
    if numbered:
        known = row.region_code is not None and row.local_number is not None
        key = f"{row.region_code}|{row.local_number}" if known else None
    return Household(key, numbered, shared)


def _hold(row: Row, current: Household, *, first: bool) -> None:
    """Without a number a household can only be found through its head: the members wait for it."""
    if first:
        if row.relation is not Relation.HEAD and not any(wrong.column == "relation" for wrong in row.wrong):
            zh, en = (
                "找不到所属家庭：请填户编号，或在上方加户主行",
                "of no household: give its number or its head",
            )
            row.note("relation", "no_household", zh, en)
        current.head_line = row.head_line = row.number
