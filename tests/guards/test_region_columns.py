"""When a division ends, every column that names one either follows or says why it stays."""

from app.db import Base
from app.services.regions.following import FOLLOWS, OF_PERSON, SERVING, STAYS


def test_every_region_column_follows_or_says_why_it_stays() -> None:
    columns = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if column.name.endswith("region_code")
    }
    undecided = columns - FOLLOWS.keys() - STAYS.keys()
    assert not undecided, f"app/services/regions/following.py: FOLLOWS or STAYS? {sorted(undecided)}"
    assert FOLLOWS.keys() | STAYS.keys() == columns
    assert not FOLLOWS.keys() & STAYS.keys()
    assert all(STAYS.values())


def test_what_is_moved_by_hand_follows_by_itself_too() -> None:
    for table in (*SERVING, *OF_PERSON):
        assert (table, "region_code") in FOLLOWS
    for table in OF_PERSON:
        assert "person_id" in Base.metadata.tables[table].columns
