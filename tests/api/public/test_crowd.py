"""A crowd asks for the same: the database hears it once."""

import asyncio

import pytest
from pydantic import TypeAdapter
from sqlalchemy import event

from app.api.public import crowd
from app.api.public.crowd import Answers
from app.errors import NotFound
from tests.clients import client
from tests.factories import ledger
from tests.factories.transparency import accountant, gift

NUMBER = TypeAdapter(int)


@pytest.fixture
def asked(connection):
    """Every statement that reaches the database from now on."""
    statements = []

    def note(*said):
        if said[2].lstrip().startswith(("SELECT", "WITH")):
            statements.append(said[2])

    event.listen(connection.sync_connection, "before_cursor_execute", note)
    yield statements
    event.remove(connection.sync_connection, "before_cursor_execute", note)


async def test_a_hundred_readers_at_once_cost_what_one_costs(session, asked, monkeypatch):
    fund = await ledger.fund(session)
    await gift(session, await accountant(session), fund, 700)
    await session.commit()
    url = f"/public/v1/funds/{fund.id}"
    async with client() as http:
        asked.clear()
        await http.get(url)
        alone = len(asked)
        monkeypatch.setattr(crowd, "_answers", type(crowd._answers)())
        asked.clear()
        answers = await asyncio.gather(*(http.get(url, params={"x": n}) for n in range(100)))
        assert len(asked) == alone <= 4
        assert {one.json()["received_fen"] for one in answers} == {700}
        assert {one.headers["cache-control"] for one in answers} == {"public, max-age=5"}
        (tag,) = {one.headers["etag"] for one in answers}
        unchanged = await http.get(url, headers={"If-None-Match": f'W/"x", {tag}'})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
        assert len(asked) == alone


async def test_an_answer_is_found_out_anew_after_a_while(session, monkeypatch):
    monkeypatch.setattr(crowd, "SECONDS", 0)
    monkeypatch.setattr(crowd, "TIMES", 0)
    fund, by = await ledger.fund(session), await accountant(session)
    await session.commit()
    url = f"/public/v1/funds/{fund.id}"
    async with client() as http:
        first = await http.get(url)
        await gift(session, by, fund, 700)
        await session.commit()
        second = await http.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (first.json()["received_fen"], second.json()["received_fen"]) == (0, 700)


async def test_who_goes_away_takes_the_answer_from_nobody_and_a_refusal_is_not_kept(connection):
    answers, gate, times = Answers(), asyncio.Event(), []

    async def make(_):
        times.append(1)
        await gate.wait()
        if len(times) == 1:
            raise NotFound
        return 7

    first = asyncio.create_task(answers.get(("x",), NUMBER, make))
    second = asyncio.create_task(answers.get(("x",), NUMBER, make))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(NotFound):
        await second
    assert first.cancelled()
    assert (await answers.get(("x",), NUMBER, make)).body == b"7"
    assert len(times) == 2


async def test_what_took_long_is_kept_long_and_not_everything_is_kept(connection, monkeypatch):
    monkeypatch.setattr(crowd, "MOST", 2)
    answers, now = Answers(), asyncio.get_running_loop().time

    async def slow(_):
        await asyncio.sleep(0.1)
        return 1

    began = now()
    assert (await answers.get((0,), NUMBER, slow)).until > began + 10
    for n in (1, 2):
        await answers.get((n,), NUMBER, slow)
    assert set(answers.kept) == {(1,), (2,)}
    monkeypatch.setattr(crowd, "LONGEST", 1)
    assert (await answers.get((3,), NUMBER, slow)).until < now() + 1


async def test_no_more_than_two_are_found_out_at_once(connection):
    answers, inside, most = Answers(), [], []

    async def make(_):
        inside.append(1)
        most.append(len(inside))
        await asyncio.sleep(0)
        inside.pop()
        return 1

    await asyncio.gather(*(answers.get((n,), NUMBER, make) for n in range(8)))
    assert (max(most), len(most)) == (2, 8)
