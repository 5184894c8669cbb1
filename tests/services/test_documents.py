"""Identity documents, GB 11643-1999 and its neighbours."""

from datetime import date

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from app.models.households import DocumentKind as K
from app.models.households import Sex
from app.services import documents


def test_the_examples_of_the_standard_are_good():
    first = documents.read(K.RESIDENT_ID, "11010519491231002X")
    assert (first.birth_date, first.sex) == (date(1949, 12, 31), Sex.FEMALE)
    assert documents.check_character("44052418800101001") == "4"


@pytest.mark.parametrize("written", ["11010519491231002x", " 110105 19491231 002X ", "11010519491231002X"])
def test_full_width_blanks_and_small_x_are_the_same_number(written):
    assert documents.read(K.RESIDENT_ID, written).number == "11010519491231002X"
    assert (
        documents.read(K.RESIDENT_ID, written).index
        == documents.read(K.RESIDENT_ID, "11010519491231002X").index
    )


@given(st.integers(0, 16), st.sampled_from("0123456789"))
def test_any_one_wrong_digit_is_noticed(place, digit):
    number = "11010519491231002X"
    changed = number[:place] + digit + number[place + 1 :]
    if changed == number:
        return
    with pytest.raises(documents.DocumentNotValid):
        documents.read(K.RESIDENT_ID, changed)


def with_check(first: str) -> str:
    return first + documents.check_character(first)


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (K.RESIDENT_ID, "65420320210301002"),  # 沙湾市, a city since 2021
        (K.RESIDENT_ID, "12345619900101001"),  # an unknown division is no error
        (K.RESIDENCE_PERMIT, "83000019900101001"),
        (K.RESIDENCE_PERMIT, "81000019900101001"),
        (K.PERMANENT_RESIDENT, "91184019900101001"),
        (K.RESIDENCE_PERMIT, "82000019900101001"),
    ],
)
def test_every_kind_that_shares_the_form_is_read(kind, first):
    assert documents.read(kind, with_check(first)).birth_date is not None


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (K.RESIDENT_ID, with_check("83000019900101001")),
        (K.RESIDENT_ID, with_check("91184019900101001")),
        (K.RESIDENCE_PERMIT, "11010519491231002X"),
        (K.PERMANENT_RESIDENT, "11010519491231002X"),
        (K.RESIDENT_ID, "610104620927690"),
        (K.PASSPORT, "E1"),
        (K.PASSPORT, "E12345678; DROP"),
    ],
)
def test_a_number_of_another_kind_or_form_is_refused(kind, number):
    with pytest.raises(documents.DocumentNotValid):
        documents.read(kind, number)


@pytest.mark.parametrize("birth", ["19900230", "19901301", "18800101", "20261122", "00000000"])
@time_machine.travel("2026-11-21T04:00:00Z")
def test_impossible_and_future_birth_dates_are_refused(birth):
    with pytest.raises(documents.DocumentNotValid):
        documents.read(K.RESIDENT_ID, with_check(f"640104{birth}001"))


@time_machine.travel("2026-11-20T16:30:00Z")
def test_a_child_born_today_in_shanghai_is_not_in_the_future():
    assert documents.read(K.RESIDENT_ID, with_check("64010420261121001")).birth_date == date(2026, 11, 21)


def test_what_the_number_says_wins_and_contradictions_are_refused():
    known = documents.read(K.RESIDENT_ID, "11010519491231002X")
    assert documents.person_facts(known, birth_date=None, sex=None) == (date(1949, 12, 31), Sex.FEMALE)
    with pytest.raises(documents.DocumentNotValid):
        documents.person_facts(known, birth_date=date(1949, 12, 30), sex=None)
    with pytest.raises(documents.DocumentNotValid):
        documents.person_facts(known, birth_date=None, sex=Sex.MALE)


def test_a_passport_needs_birth_date_and_sex_stated():
    passport = documents.read(K.PASSPORT, "e12345678")
    with pytest.raises(documents.DocumentNotValid):
        documents.person_facts(passport, birth_date=None, sex=Sex.MALE)
    assert documents.person_facts(passport, birth_date=date(1990, 1, 2), sex=Sex.MALE) == (
        date(1990, 1, 2),
        Sex.MALE,
    )


def test_the_same_digits_in_two_kinds_are_two_documents():
    assert documents.read(K.PASSPORT, "E12345678").index != documents.read(K.OFFICER, "E12345678").index


def test_an_old_permanent_resident_card_carries_neither_birth_date_nor_sex():
    card = documents.read(K.PERMANENT_RESIDENT, "usa110012345678")
    assert (card.number, card.birth_date, card.sex) == ("USA110012345678", None, None)
    for wrong in ("USA11001234567", "US1100123456789", "USA1100123456789"):
        with pytest.raises(documents.DocumentNotValid):
            documents.read(K.PERMANENT_RESIDENT, wrong)


@pytest.mark.parametrize(
    ("kind", "number"),
    [(K.OFFICER, "军字第1234567号"), (K.HOUSEHOLD_BOOK, "640104-000123"), (K.PASSPORT, "ＥＡ1234567")],
)
def test_other_typed_documents_are_taken_as_written(kind, number):
    document = documents.read(kind, number)
    assert (document.kind, document.birth_date, document.sex) == (kind, None, None)


def test_a_15_digit_number_gets_century_and_check_character():
    assert documents.upgrade("610104620927690") == "610104196209276908"
    assert documents.upgrade(" 610104 620927 690") == "610104196209276908"
    for wrong in ("61010462092769", "6101046209276900", "61010462092769X"):
        with pytest.raises(documents.DocumentNotValid):
            documents.upgrade(wrong)


@given(st.dates(date(1900, 1, 1), date(1999, 12, 31)), st.integers(0, 999))
def test_an_upgraded_number_is_one_of_the_same_birth_date_and_sex(born, sequence):
    number = documents.upgrade(f"640104{born:%y%m%d}{sequence:03}")
    document = documents.read(K.RESIDENT_ID, number)
    assert (document.birth_date, document.sex) == (born, Sex.MALE if sequence % 2 else Sex.FEMALE)
