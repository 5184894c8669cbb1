"""Which lines make a household: by the number that the village gave it, or else from one head to the next."""

from collections.abc import Collection
from dataclasses import dataclass

from app.models.households import Relation
from app.services.imports import cells
from app.services.imports.columns import ABOVE
from app.services.imports.row import Row

PLACE = (*ABOVE, "region")
OF_HOUSEHOLD = ("local_number", "address", "family_type")


@dataclass(slots=True)
class Household:
    """The household to which the next lines may belong. `key` is None where its own columns cannot be read."""

    key: str | None
    numbered: bool
    shared: dict[str, str]  # the household's own columns, filled down
    head_line: int | None = None


class Grouping:
    def __init__(self, keys: Collection[str]) -> None:
        """`keys` of the columns that the list has."""
        self._current: Household | None = None
        self._place = [key for key in PLACE if key in keys]
        self._own = [key for key in OF_HOUSEHOLD if key in keys]

    def begins(self, row: Row) -> bool:
        """Whether this line begins a household: by another number, or without numbers by its head. So does a line whose
        relation cannot be read, or that lives elsewhere: who follows must not join the household above."""
        current, number = self._current, row.cells.get("local_number", "")
        if current is None:
            return True
        shared, elsewhere = current.shared, self._place
        if current.numbered and not number and "address" in self._own:
            elsewhere = [*elsewhere, "address"]
        moved = any((text := row.cells[key]) and text != shared[key] for key in elsewhere)
        if number or moved:
            return moved or number != shared["local_number"]
        relation = row.cells["relation"]
        return cells.RELATIONS.get(relation, cells.RELATIONS.get(cells.plain(relation), "head")) == "head"

    def fill_down(self, row: Row, *, new: bool) -> list[str]:
        """What merged cells leave blank: the place over a whole village, the rest within the household. The columns
        that were filled. Below another town no village is."""
        current, cells = self._current, row.cells
        if current is None:
            return []
        shared, filled = current.shared, []
        for key in self._place:
            if not cells[key]:
                filled.append(key)
            elif cells[key] != shared[key]:
                break
        if not new:
            filled += [key for key in self._own if not cells[key]]
        broken = {wrong.column for wrong in row.wrong} if row.wrong else ()
        filled = [key for key in filled if shared[key] and key not in broken]
        for key in filled:
            cells[key] = shared[key]
        return filled

    def join(self, row: Row, *, new: bool) -> None:
        """Give the row its household, whose head it may be."""
        if new or self._current is None:
            self._current = self._begun(row)
        current = self._current
        row.household = current.key
        if row.relation is Relation.HEAD:
            current.head_line = row.number
        row.head_line = current.head_line
        if not current.numbered:
            _hold(row, current, first=new)

    def _begun(self, row: Row) -> Household:
        numbered = bool(row.cells.get("local_number"))
        key: str | None = f"#{row.number}"
        if numbered:
            known = row.region_code is not None and row.local_number is not None
            key = f"{row.region_code}|{row.local_number}" if known else None
        return Household(key, numbered, {key: row.cells[key] for key in (*self._place, *self._own)})


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
