"""B1–B3: when everybody wants a place at once, exactly the places there are get booked."""

from pathlib import Path

from tests import servers
from tests.races import rush


async def test_five_hundred_residents_fill_twenty_places_exactly(committed: str, tmp_path: Path) -> None:
    # Given twenty places, four hundred couples and three servers,
    async with servers.looking(committed) as session:
        prepared = await rush.prepare(session)
    with servers.fleet(committed, tmp_path, servers=3) as fleet:
        # when they all tap together, some twice, some wife and husband both,
        crowd = rush.Crowd(fleet.urls)
        await crowd.book(prepared)
        assert fleet.unharmed()

    # then twenty couples have a place each, and everybody else heard why not.
    rush.check_answers(crowd)
    async with servers.looking(committed) as session:
        await rush.check_database(session, prepared, crowd.booked())
