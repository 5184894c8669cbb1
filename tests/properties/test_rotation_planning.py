"""Planning a rotation: whatever villages and clinics there are, nobody is forgotten and no month is overfull."""

import random
import time
import uuid
from collections import Counter
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.rotations.planning import Group, Part, Room, place

YEARS = (2027, 2028, 2029)
CLINICS = (uuid.UUID(int=1), uuid.UUID(int=2))
TOWNS = ("640104001000", "640104002000")
COUNTY = "640104000000"


@st.composite
def groups(draw: st.DrawFn) -> list[Group]:
    keys = st.tuples(
        st.sampled_from(TOWNS), st.integers(201, 206), st.sampled_from(YEARS), st.sampled_from(YEARS)
    )
    found = draw(st.sets(keys, max_size=10))
    return [
        Group(
            town[:9] + str(village), min(first, last), max(first, last),
            draw(st.integers(1, 40)), draw(st.integers(-100, 600)),
        )
        for town, village, first, last in {(t, v, min(a, b), max(a, b)) for t, v, a, b in found}
    ]  # fmt: skip


@st.composite
def rooms(draw: st.DrawFn) -> dict[Room, int]:
    places = draw(
        st.sets(
            st.tuples(st.sampled_from(CLINICS), st.sampled_from(YEARS), st.integers(1, 12)),
            min_size=1,
            max_size=10,
        )
    )
    serves = {clinic: draw(st.sampled_from([COUNTY, *TOWNS])) for clinic in CLINICS}
    found = {}
    for clinic, year, month in sorted(places):
        capacity = draw(st.integers(0, 50))
        found[Room(clinic, date(year, month, 1), capacity, serves[clinic])] = capacity - draw(
            st.integers(0, 5)
        )
    return found


def open_to(group: Group, free: dict[Room, int]) -> list[Room]:
    return [
        room
        for room in free
        if room.for_village(group.village) and group.first <= room.month.year <= group.last
    ]


def left_after(free: dict[Room, int], parts: list[Part]) -> Counter[Room]:
    taken: Counter[tuple[uuid.UUID, date]] = Counter()
    for part in parts:
        taken[part.clinic, part.month] += part.people
    return Counter(
        {room: max(room_free, 0) - taken[room.clinic, room.month] for room, room_free in free.items()}
    )


@settings(max_examples=150, deadline=None)
@given(groups(), rooms())
def test_everybody_comes_once_within_the_years_and_no_month_is_overfull(
    people: list[Group], free: dict[Room, int]
) -> None:
    parts = place(people, free)
    by_key = {group.key: group for group in people}
    placed: Counter[tuple[str, int, int]] = Counter()
    for part in parts:
        group = by_key[part.group]
        assert part.people > 0
        assert (part.clinic, part.month) in {(room.clinic, room.month) for room in open_to(group, free)}
        placed[part.group] += part.people
    left = left_after(free, parts)
    assert all(number >= 0 for number in left.values())
    for group in people:
        assert placed[group.key] <= group.people
        if placed[group.key] < group.people:  # who is left out could not be helped
            assert not any(left[room] for room in open_to(group, free))


@settings(max_examples=150, deadline=None)
@given(groups(), rooms())
def test_a_village_is_parted_only_where_no_month_has_room_for_it(
    people: list[Group], free: dict[Room, int]
) -> None:
    parts = place(people, free)
    left = left_after(free, parts)
    for group in people:
        own = {(part.clinic, part.month): part.people for part in parts if part.group == group.key}
        if len(own) > 1:
            assert all(
                left[room] + own.get((room.clinic, room.month), 0) < group.people
                for room in open_to(group, free)
            )


@settings(max_examples=100, deadline=None)
@given(groups(), rooms(), st.randoms(use_true_random=False))
def test_the_order_in_which_they_are_told_does_not_matter(
    people: list[Group], free: dict[Room, int], chance: random.Random
) -> None:
    shuffled, turned = list(people), list(free.items())
    chance.shuffle(shuffled)
    chance.shuffle(turned)
    assert place(people, free) == place(shuffled, dict(turned))


@settings(max_examples=100, deadline=None)
@given(groups(), rooms())
def test_who_was_placed_is_left_alone_and_who_joins_a_village_comes_with_it(
    people: list[Group], free: dict[Room, int]
) -> None:
    parts = place(people, free)
    left = dict(left_after(free, parts))
    rest: Counter[tuple[str, int, int]] = Counter({group.key: group.people for group in people})
    rest.subtract(dict.fromkeys(rest, 0))
    for part in parts:
        rest[part.group] -= part.people
    assert place([Group(*key, number) for key, number in rest.items()], left) == []
    for part in parts:
        village, first, last = part.group
        room = next(room for room in free if (room.clinic, room.month) == (part.clinic, part.month))
        if left[room] and first <= room.month.year <= last:
            beside = {village: {(part.clinic, part.month)}}
            [joined] = place([Group(village, first, last, 1)], left, beside)
            assert (joined.clinic, joined.month) == (part.clinic, part.month)


def even(years: tuple[int, ...] = YEARS, monthly: int = 5000) -> dict[Room, int]:
    months = [date(year, month, 1) for year in years for month in range(1, 13)]
    return {Room(CLINICS[0], month, monthly, COUNTY): monthly for month in months}


def test_a_third_comes_each_year_and_those_longest_without_a_check_first() -> None:
    people = [
        Group(f"640104001{number:03d}", 2027, 2029, 100, waited=number % 30 * 10)
        for number in range(201, 501)
    ]
    parts = place(people, even(monthly=1000))
    years: Counter[int] = Counter()
    for part in parts:
        years[part.month.year] += part.people
    assert years == {2027: 10_000, 2028: 10_000, 2029: 10_000}
    month = {part.group[0]: part.month for part in parts}
    ordered = [month[group.village] for group in sorted(people, key=lambda group: -group.waited)]
    assert ordered == sorted(ordered)


def test_a_county_is_placed_in_no_time() -> None:
    chance = random.Random(1)
    people = [
        Group(f"640104{town:03d}{village:03d}", first, 2029, chance.randint(20, 300), chance.randint(0, 600))
        for town in range(1, 21) for village in range(201, 231) for first in YEARS
    ]  # fmt: skip
    assert sum(group.people for group in people) > 120_000
    began = time.process_time()
    parts = place(people, even(monthly=9000))
    assert time.process_time() - began < 2
    assert sum(part.people for part in parts) == sum(group.people for group in people)
