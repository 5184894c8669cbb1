"""`nuanxin doctor`: what is wrong with an installation, and how to mend it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from pydantic import ValidationError
from rich.console import Console
from sqlalchemy import func, select, text, union
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, crypto, db, embedded, schema
from app.access import Actor
from app.models.households import Household, HouseholdStatus, Membership, Person, Relation
from app.models.ledger import LedgerAccount
from app.services.reconciliation import report as clearing
from app.settings import Settings, complaints, settings

OLDEST_POSTGRES = 160000
MOST_SKEW_SECONDS = 2.0
MOST_UNSEALED = timedelta(minutes=5)

#: What was checked, whether it is well (None: a warning), how to mend it.
Finding = tuple[str, bool | None, str]
SIGNS = {True: "[green]✓[/]", None: "[yellow]![/]", False: "[red]✗[/]"}


def report(console: Console) -> bool:
    """Print every finding; True if all is well."""
    try:
        config = settings()
    except ValidationError as error:
        for complaint in complaints(error):
            console.print(f"[red]✗[/] settings: {complaint}", highlight=False)
        console.print("  → docs/operating.md lists every setting")
        return False
    console.print(f"[bold]{config.environment}[/]")
    findings = asyncio.run(_findings(config))
    for what, well, mend in findings:
        console.print(f"{SIGNS[well]} {what}" + ("" if well else f"\n  → {mend}"), highlight=False)
    return all(well is not False for _, well, _ in findings)


async def _findings(config: Settings) -> list[Finding]:
    found = [_settings(config), _keys(config)]
    if not found[-1][1]:
        return found
    engine = db.connect(config, config.database_url or embedded.url(config))
    try:
        async with AsyncSession(engine) as session:
            found += [finding async for finding in _database(session)]
    except (OSError, SQLAlchemyError) as error:
        name = type(error).__name__
        found.append(
            (f"database answers ({name})", False, "start PostgreSQL, or correct NUANXIN_DATABASE_URL")
        )
    finally:
        await engine.dispose()
    return found


def _settings(config: Settings) -> Finding:
    if config.environment == "development" and config.database_url:
        what = "settings: known keys and a stand-in for WeChat, on a database of your own"
        return what, None, "if people's data are in it, set NUANXIN_ENVIRONMENT=production"
    return "settings", True, ""


def _keys(config: Settings) -> Finding:
    try:
        crypto.use(crypto.SettingsKeys(config))
        crypto.unseal(crypto.seal("暖心", place="doctor"), place="doctor")
    except (ValueError, crypto.Undecryptable) as error:
        return f"field keys ({error})", False, 'NUANXIN_FIELD_KEYS must be JSON: {"1": "<32 hex digits>"}'
    return f"field keys: version {crypto.keys().current} encrypts", True, ""


async def _database(session: AsyncSession) -> AsyncIterator[Finding]:
    await session.execute(text("SET LOCAL statement_timeout = '10min'"))  # whole tables are read
    version = int(await session.scalar(text("SHOW server_version_num")) or 0)
    yield f"PostgreSQL {version // 10000}", version >= OLDEST_POSTGRES, "PostgreSQL 16 or newer is needed"
    there: datetime = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
    skew = abs((clock.now() - there).total_seconds())
    yield (
        f"clock: {skew:.2f} s from the database's",
        skew < MOST_SKEW_SECONDS,
        "synchronise both machines with NTP",
    )
    found = await schema.found(session)
    yield f"schema at {found}, code at {schema.head()}", found == schema.head(), "run `nuanxin migrate`"
    if found == schema.head():
        yield await _role(session)
        yield await _stored_data(session)
        yield await _counted_places(session)
        yield await _heads(session)
        yield await _clearing(session)
        yield await _sealed(session)


async def _role(session: AsyncSession) -> Finding:
    """Who could change a transfer could bend the books."""
    name, bends = (
        await session.execute(
            text(
                "SELECT current_user, has_table_privilege('transfer', 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER') OR "
                "(SELECT pg_has_role(relowner, 'MEMBER') FROM pg_class WHERE oid = 'transfer'::regclass)"
            )
        )
    ).one()
    return (
        f"role {name}: {'could bend the ledger' if bends else 'can only add to the ledger'}",
        None if bends else True,
        f"connect as {schema.ROLE} (NUANXIN_DATABASE_URL), migrate as the owner "
        "(NUANXIN_MIGRATION_DATABASE_URL): docs/operating.md, “Roles”",
    )


async def _counted_places(session: AsyncSession) -> Finding:
    """Everybody is counted where the household of the active membership lives, and nowhere without one."""
    lives = (
        select(Household.region_code)
        .join(Membership, Membership.household_id == Household.id)
        .where(
            Membership.person_id == Person.id,
            Membership.valid_to.is_(None),
            Household.status == HouseholdStatus.ACTIVE,
        )
        .scalar_subquery()
    )
    query = select(func.count()).select_from(Person).where(Person.region_code.is_distinct_from(lives))
    wrong = await session.scalar(query) or 0
    return (
        f"people counted elsewhere than where they live: {wrong}",
        wrong == 0,
        "a fault of this program: report it with docs/registry.md, “Where a person is counted”, at hand",
    )


async def _heads(session: AsyncSession) -> Finding:
    heads = (
        select(func.count())
        .where(
            Membership.household_id == Household.id,
            Membership.relation == Relation.HEAD,
            Membership.valid_to.is_(None),
        )
        .scalar_subquery()
    )
    query = (
        select(func.count())
        .select_from(Household)
        .where(Household.status == HouseholdStatus.ACTIVE, heads != 1)
    )
    wrong = await session.scalar(query) or 0
    return (
        f"active households without one head: {wrong}",
        True if wrong == 0 else None,
        "name the head of each as a life event",
    )


async def _clearing(session: AsyncSession) -> Finding:
    """What WeChat Pay holds for us is what the books say, but for what the report on it names."""
    if not await session.scalar(select(LedgerAccount.id).limit(1)):
        return "ledger accounts", False, "run `nuanxin migrate`"
    today = clock.today()
    told = await clearing.report(session, Actor.system("doctor"), first=today, last=today)
    wrong = told.at_wechat.unexplained_fen if told.at_wechat else 0
    return (
        f"WeChat Pay against the books: {wrong} fen unexplained, {told.open_differences} differences open",
        True if wrong == 0 else None,
        "run `nuanxin reconcile DAY` for the latest days, then look at the report (docs/care-fund.md)",
    )


async def _sealed(session: AsyncSession) -> Finding:
    """The application takes transfers off the list of those that wait for the public log: none may be lost there."""
    missing, oldest = (
        await session.execute(
            text(
                "SELECT (SELECT count(*) FROM transfer) - (SELECT count(*) FROM ledger_leaf) - "
                "(SELECT count(*) FROM unsealed_transfer), (SELECT recorded_at FROM transfer WHERE id = "
                "(SELECT transfer_id FROM unsealed_transfer ORDER BY number LIMIT 1))"
            )
        )
    ).one()
    if missing:
        mend = "somebody kept them out of it, or put in others: compare both tables, then docs/proofs.md"
        return f"transfers that the public log misses: {missing}", False, mend
    late = oldest is not None and clock.now() - oldest > MOST_UNSEALED
    return "every transfer is in the public log, or will be", None if late else True, "start `nuanxin worker`"


async def _stored_data(session: AsyncSession) -> Finding:
    """The newest and the oldest value of each sealed attribute open with the keys at hand, and no key is missing that
    anything was ever sealed with."""
    what, mend = "stored data open with these keys", "a key version is missing from NUANXIN_FIELD_KEYS, or "
    mend += "the database is of another installation"
    try:
        for model, name in crypto.sealed(db.Base):
            there = select(model).where(getattr(model, f"{name}_sealed").is_not(None)).limit(1)
            for order in (model.id, model.id.desc()):
                row = await session.scalar(there.order_by(order))
                _ = row and getattr(row, name)
        in_use = await _versions(session)
        for version in in_use:
            crypto.keys().field_key(version)
    except (crypto.Undecryptable, KeyError):
        return what, False, mend
    return f"{what} (versions in use: {', '.join(map(str, in_use)) or 'none'})", True, ""


async def _versions(session: AsyncSession) -> list[int]:
    """Of keys: a version that is not among them may be thrown away."""
    columns = [column for table in db.Base.metadata.sorted_tables for column in table.columns]
    each = (
        select(func.get_byte(func.substr(column, 1, 1), 0)).where(column.is_not(None)).distinct()
        for column in columns
        if column.name.endswith("_sealed")
    )
    return sorted(await session.scalars(union(*each)))
