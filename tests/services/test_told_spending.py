"""Whatever two figures are compared, no difference is about fewer than five people."""

from collections import Counter
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from app.services.transparency.spending import FEWEST, Paid, told

MONTHS = [date(2026, month, 1) for month in range(1, 7)]
PAYMENTS = st.lists(
    st.builds(
        Paid,
        campaign_id=st.none(),
        code=st.sampled_from(["care", "books"]),
        to_person=st.booleans(),
        month=st.sampled_from(MONTHS),
        purpose=st.sampled_from(["紧急救助金", "丧葬补助", "慰问"]),
        payments=st.integers(0, 7),
        fen=st.integers(-500, 500),
    ),
    max_size=20,
)


@given(PAYMENTS)
def test_people_are_told_in_fives_and_nothing_is_told_twice_or_anew(paid):
    batches = told(paid)
    to_people = [one for one in batches if one.purposes]
    for batch in to_people:
        assert all(part.payments >= FEWEST for part in batch.purposes)
        assert sum(part.payments for part in batch.purposes) == batch.payments
        assert sum(part.spent_fen for part in batch.purposes) == batch.fen
    # What is told of some months stays as it is when more are closed.
    for month in MONTHS:
        earlier = told(one for one in paid if one.month <= month)
        assert sorted(map(repr, earlier)) == sorted(repr(one) for one in batches if one.month <= month)


@given(PAYMENTS)
def test_fewer_than_five_wait_and_everything_else_is_told(paid):
    left = Counter((one.code, one.to_person) for one in paid for _ in range(one.payments))
    for batch in told(paid):
        left[batch.code, bool(batch.purposes)] -= batch.payments
    assert all(0 <= count < FEWEST if to_person else count == 0 for (_, to_person), count in left.items())
