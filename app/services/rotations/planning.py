"""Which village comes in which month: a pure function of the people to place and the room that clinics have.

Whole villages come together. Those longest without a check come first, those whose last year it is before them, and
each year has its share. A village is parted only where no month that it may come in has room for all of it."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from app.access import lies_in


@dataclass(frozen=True, slots=True)
class Group:
    """People of one village who may come in the years `first` to `last`; `waited` longer come sooner."""

    village: str
    first: int
    last: int
    people: int
    waited: int = 0

    @property
    def key(self) -> tuple[str, int, int]:
        return self.village, self.first, self.last


@dataclass(frozen=True, slots=True)
class Room:
    """A clinic in one month: how many it takes of the villages within `serves`."""

    clinic: uuid.UUID
    month: date
    capacity: int
    serves: str

    def for_village(self, village: str) -> bool:
        return lies_in(village, self.serves)


@dataclass(frozen=True, slots=True)
class Part:
    """So many of a group come in this month."""

    group: tuple[str, int, int]
    clinic: uuid.UUID
    month: date
    people: int


class _Board:
    """What is still free, and what has been given out."""

    def __init__(self, free: Mapping[Room, int], villages: Iterable[str]) -> None:
        # Where more come already than a clinic takes now, nothing is free.
        self.free = {room: max(number, 0) for room, number in free.items()}
        self.parts: list[Part] = []
        ordered = sorted(free, key=lambda room: (room.month, -len(room.serves.rstrip("0")), room.clinic))
        self.serving = {
            village: [room for room in ordered if room.for_village(village)] for village in villages
        }

    def open_to(self, group: Group, first: int, last: int) -> list[Room]:
        rooms = self.serving[group.village]
        return [room for room in rooms if max(first, group.first) <= room.month.year <= last]

    def take(self, group: Group, room: Room, people: int) -> Group:
        self.free[room] -= people
        self.parts.append(Part(group.key, room.clinic, room.month, people))
        return replace(group, people=group.people - people)

    def whole(self, group: Group, rooms: Iterable[Room]) -> Group:
        """All of them in the first month that has room for them, or nobody."""
        found = next((room for room in rooms if self.free[room] >= group.people), None)
        return self.take(group, found, group.people) if found else group

    def parted(self, group: Group, rooms: Iterable[Room]) -> Group:
        """In as few months as it takes, the emptiest first: one, if it has room for all. Returns who is left."""
        for room in sorted(rooms, key=lambda room: -self.free[room]):
            if group.people and self.free[room]:
                group = self.take(group, room, min(group.people, self.free[room]))
        return group


def place(
    groups: Sequence[Group], free: Mapping[Room, int],
    beside: Mapping[str, Collection[tuple[uuid.UUID, date]]] | None = None,
) -> list[Part]:  # fmt: skip
    """Who comes when, each once at most. Who is in no part could not be placed: the months open to them are full.
    `beside`: where others of the village come already; who has joined it since comes with them if there is room."""
    board = _Board(free, {group.village for group in groups})
    left = [group for group in sorted(groups, key=_turn) if group.people]
    left = [
        rest for group in left if (rest := _join(board, group, (beside or {}).get(group.village, ()))).people
    ]
    years = sorted({room.month.year for room in free})
    for number, year in enumerate(years):
        ends = year == years[-1]
        share = -(-sum(group.people for group in left) // (len(years) - number))
        left = _year(board, left, year, share, ends=ends)
    return board.parts


def _turn(group: Group) -> tuple[int, str, int, int]:
    return -group.waited, *group.key


def _join(board: _Board, group: Group, beside: Collection[tuple[uuid.UUID, date]]) -> Group:
    rooms = board.open_to(group, group.first, group.last)
    return board.whole(group, [room for room in rooms if (room.clinic, room.month) in beside])


def _year(board: _Board, left: list[Group], year: int, share: int, *, ends: bool) -> list[Group]:
    """Whose last year it is come whatever the share, those who could not have come before first of all."""
    last = [group for group in left if ends or group.last <= year]
    later = [group for group in left if group not in last]
    last.sort(key=lambda group: -group.first)
    waiting: list[Group] = []
    for group in last:
        rest = _at_last(board, group, year)
        share -= group.people - rest.people
    for group in later:
        rest = group
        if share > 0 and group.first <= year:
            rest = _in_turn(board, group, year)
            share -= group.people - rest.people
        if rest.people:
            waiting.append(rest)
    return waiting


def _in_turn(board: _Board, group: Group, year: int) -> Group:
    """Together, or in the next year; more than any month takes are parted now."""
    rooms = board.open_to(group, year, year)
    rest = board.whole(group, rooms)
    ever = board.open_to(group, group.first, group.last)
    if rest.people > max((room.capacity for room in ever), default=0):
        return board.parted(rest, rooms)
    return rest


def _at_last(board: _Board, group: Group, year: int) -> Group:
    """Together in the last year or in one before, else in parts wherever there is room."""
    until = min(max(group.last, group.first), year)
    rest = board.whole(group, board.open_to(group, year, year) if until == year else ())
    return board.parted(rest, board.open_to(group, group.first, until)) if rest.people else rest
