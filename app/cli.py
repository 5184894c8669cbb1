"""The `nuanxin` command."""

import asyncio
import json
import os
import signal
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import pyotp
import typer
import uvicorn
from asyncpg import PostgresError
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from app import api, crypto, db, demo, embedded, errors, jobs, logs, schema
from app import doctor as checks
from app import journey as story
from app.access import Actor
from app.integrations.wechat_pay import BillNotReady, WechatPayRefused
from app.models.identity import STAFF_ROLES, Role
from app.models.partners import Algorithm
from app.services import disbursements, imports, partners, reference_data, regions, staff
from app.services.reconciliation import matching
from app.services.reconciliation import report as clearing
from app.services.reconciliation.report import ClearingReport
from app.settings import complaints, settings

# The embedded server's folder library warns about desktop sessions.
warnings.filterwarnings("ignore", message=".*XDG_RUNTIME_DIR.*")

cli = typer.Typer(help="暖心 Nuanxin: the backend of a family planning association.", no_args_is_help=True)
staff_cli = typer.Typer(help="Workers' accounts.", no_args_is_help=True)
partner_cli = typer.Typer(help="Partner hospitals.", no_args_is_help=True)
regions_cli = typer.Typer(help="Villages, and changes of boundaries.", no_args_is_help=True)
openapi_cli = typer.Typer(help="The contracts of the four doors.", no_args_is_help=True)
cli.add_typer(staff_cli, name="staff")
cli.add_typer(partner_cli, name="partner")
cli.add_typer(regions_cli, name="regions")
cli.add_typer(openapi_cli, name="openapi")
# Long lines stay whole: what is printed here gets copied.
console = Console(soft_wrap=True)
Port = Annotated[int, typer.Option(help="Port on which to listen.")]


def database_url() -> str:
    return settings().database_url or embedded.url(settings())


def owner_url() -> str:
    """Whoever owns the tables: migrates, and fills in what the association's services begin with."""
    config = settings()
    return config.migration_database_url or config.database_url or embedded.owner_url(config)


Result = TypeVar("Result")


def in_transaction(action: Callable[[AsyncSession], Awaitable[Result]], url: str = "") -> Result:
    """Run one service call in one transaction on a connection of its own."""

    async def run() -> Result:
        crypto.use(crypto.SettingsKeys(settings()))
        engine = db.connect(settings(), url or database_url())
        try:
            async with db.begin() as session:
                return await action(session)
        finally:
            await engine.dispose()

    return asyncio.run(run())


@cli.command(name="demo")
def run_demo(port: Port = 8000) -> None:
    """Start everything on this machine: database, schema, demo data, the four doors, the job worker."""
    os.environ.setdefault("NUANXIN_WECHAT_BASE_URL", f"http://127.0.0.1:{port}/sandbox/wechat")
    os.environ.setdefault("NUANXIN_WECHAT_PAY_BASE_URL", f"http://127.0.0.1:{port}/sandbox/wechat_pay")
    os.environ.setdefault("NUANXIN_PUBLIC_URL", f"http://127.0.0.1:{port}")
    if settings().environment != "development":
        raise typer.BadParameter("the demo runs in development only")
    with console.status("Starting PostgreSQL …"):
        url = database_url()
    with console.status("Migrating …"):
        schema.upgrade(owner_url())
    with console.status("Loading regions, services, notices, rules, demo data …"):
        in_transaction(reference_data.load)
        in_transaction(demo.seed)
    introduce(port)
    with suppress(KeyboardInterrupt):  # uvicorn hands the signal on when it has shut down
        asyncio.run(serve_with_worker(port, url))
    console.print("Stopped.")


def introduce(port: int) -> None:
    base = f"http://127.0.0.1:{port}"
    console.print(f"\n[bold]暖心 Nuanxin[/] is at [link]{base}[/]   Ctrl-C stops all of it\n")
    doors = Table(title="Doors", title_justify="left", box=None)
    for prefix, title in api.TITLES.items():
        doors.add_row(title, f"{base}{prefix}/docs")
    accounts = Table("role", "username", "password", title="Demo workers", title_justify="left", box=None)
    for role in STAFF_ROLES:
        accounts.add_row(role, role, demo.PASSWORD)
    console.print(doors, "", accounts, sep="\n")
    console.print(
        "One-time codes:      [bold].venv/bin/nuanxin totp[/]   (good for 30 seconds, once for each worker)"
    )
    console.print(f"Demo hospital key:   {demo.PARTNER_KEY}   secret {demo.PARTNER_SECRET}")
    console.print("See it all work:     [bold].venv/bin/nuanxin journey[/] in another terminal\n")


async def serve_with_worker(port: int, url: str) -> None:
    logs.configure()
    stop = asyncio.Event()
    server = uvicorn.Server(uvicorn.Config("app.main:create_app", factory=True, port=port, log_config=None))
    worker = asyncio.create_task(jobs.run(url, stop))
    try:
        await server.serve()
    finally:
        stop.set()
        await asyncio.wait([worker], timeout=10)


@cli.command()
def totp() -> None:
    """The demo workers' one-time code of this half minute."""
    console.print(pyotp.TOTP(demo.TOTP_SECRET).now())


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cli.command()
def serve(
    host: Annotated[str, typer.Option(help="Address on which to listen.")] = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
) -> None:
    """Serve the four doors. In development on this machine only: its keys are known to everyone."""
    if settings().environment == "development" and not is_loopback(host):
        raise typer.BadParameter(
            f"{host} can be reached from outside, and development runs with keys that everyone knows: "
            "set NUANXIN_ENVIRONMENT=production, or listen on 127.0.0.1"
        )
    in_transaction(schema.require_head)
    uvicorn.run("app.main:asgi", factory=True, host=host, port=port, workers=workers, log_config=None)


@cli.command()
def worker() -> None:
    """Work on the jobs."""

    async def run() -> None:
        stop, url = asyncio.Event(), database_url()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        engine = db.connect(settings(), url)
        await jobs.run(url, stop)
        await engine.dispose()

    in_transaction(schema.require_head)
    logs.configure()
    asyncio.run(run())


@cli.command()
def migrate() -> None:
    """Bring the schema up to date and load the reference data that is missing."""
    with console.status("Migrating …"):
        granted = schema.upgrade(owner_url(), settings().database_url or "")
    with console.status("Loading regions, services, notices, rules …"):
        in_transaction(reference_data.load, owner_url())
    if not granted:
        console.print(
            f"There is no role {schema.ROLE}, which servers and workers should connect as: let somebody who may run\n"
            f"  {schema.CREATE_ROLE}\nand then run `nuanxin migrate` again (docs/operating.md, “Roles”).",
            highlight=False,
        )
    console.print(f"The schema is at {schema.head()}.")


@cli.command()
def journey(
    url: Annotated[str, typer.Option(help="A server started by `nuanxin demo`.")] = "http://127.0.0.1:8000",
) -> None:
    """Play the first journey against a running server, as a story."""
    asyncio.run(story.play(url, console.print))


@cli.command()
def doctor() -> None:
    """Check settings, database, migrations, keys and clock, and say how to mend what is wrong."""
    if not checks.report(console):
        raise typer.Exit(1)


@cli.command()
def reconcile(day: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="2026-11-20")]) -> None:
    """Fetch WeChat Pay's bills of a day, if they are not there, match them with the books, and say what is left."""

    async def run() -> ClearingReport:
        crypto.use(crypto.SettingsKeys(settings()))
        engine = db.connect(settings(), database_url())
        try:
            with console.status("对账 Reconciling …") as status:
                await matching.reconcile(day.date(), status.update)
            async with db.begin() as session:
                actor = Actor.system("cli")
                return await clearing.report(session, actor, first=day.date(), last=day.date())
        finally:
            await engine.dispose()

    in_transaction(schema.require_head)
    try:
        told = asyncio.run(run())
    except (BillNotReady, WechatPayRefused, errors.Problem) as error:
        console.print(f"[red]✗[/] {escape(getattr(error, 'en', None) or str(error) or 'not ready yet')}")
        for wrong in getattr(error, "errors", None) or []:
            console.print(f"  {wrong['pointer']}: {wrong['zh']} {wrong['en']}", highlight=False, markup=False)
        raise typer.Exit(1) from error
    for field, value in asdict(told).items():
        console.print(f"{field:<20} {value}", highlight=False)


@staff_cli.command("create")
def staff_create(username: str, name: str, role: Role, region_code: str) -> None:
    """Create a worker's account and print its first password, once. At the first sign-in the worker enrols
    an authenticator."""
    actor = Actor.system("cli")
    _, password = in_transaction(
        lambda session: staff.create(
            session, actor, None, username=username, name=name, role=role, region_code=region_code
        )
    )
    console.print(f"{username}: first password [bold]{password}[/]", highlight=False)


@staff_cli.command("approval-limit")
def approval_limit(
    region_code: str, role: Role, yuan: Annotated[int, typer.Argument(min=1, max=100_000_000)]
) -> None:
    """Up to how many yuan a role may approve at once, in a region and those below it that have no limit of their own.
    Supervisors set those of others in the system; their own is set here."""
    new = disbursements.NewLimit.model_construct(region_code=region_code, role=role, limit_fen=yuan * 100)
    in_transaction(lambda session: disbursements.set_limit(session, Actor.system("cli"), new=new))
    console.print(f"{region_code} {role}: {yuan} CNY", highlight=False)


@partner_cli.command("create")
def partner_create(name: str, region_code: str, algorithm: Algorithm = Algorithm.HMAC_SHA256) -> None:
    """Register a hospital and print its first signing key, once."""
    actor = Actor.system("cli")
    _, key = in_transaction(
        lambda session: partners.create(
            session, actor, None, name=name, region_code=region_code, algorithm=algorithm
        )
    )
    console.print(f"key    {key.id}\nsecret [bold]{key.secret}[/]", highlight=False)


TableFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="A csv table, UTF-8 or GB18030.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Look only.")]


@cli.command(name="import")
def run_import(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A list, xlsx or csv.")],
    worker: Annotated[str, typer.Option("--as", help="Username of the worker who answers for it.")],
    commit: Annotated[
        bool, typer.Option("--commit", help="Take in what is ready; without it: look only.")
    ] = False,
) -> None:
    """Import a list of families: every line gets a verdict; with --commit the good ones enter the registry."""

    async def run() -> dict[str, Any]:
        engine = db.connect(settings(), database_url())
        try:
            with Progress(console=console) as shown:
                bar = shown.add_task(file.name, total=None)
                return await imports.bring_in(
                    file,
                    worker,
                    commit=commit,
                    told=lambda done, total: shown.update(bar, completed=done, total=total),
                )
        finally:
            await engine.dispose()

    in_transaction(schema.require_head)
    batch = asyncio.run(run())
    console.print(f"import    {batch['id']}\nstatus    {batch['status']}", highlight=False)
    for verdict, count in batch["counts"].items():
        console.print(f"{verdict:<10}{count}", highlight=False)
    for notice in batch["problem"]:
        console.print(f"  {escape(notice.get('en') or notice['zh'])}", highlight=False)
    if batch["status"] == "failed":
        raise typer.Exit(1)


@regions_cli.command("import")
def regions_import(file: TableFile, dry_run: DryRun = False) -> None:
    """Import villages from the statistics bureau's table: all of it or nothing."""
    data, actor = file.read_bytes(), Actor.system("cli")
    with Progress(console=console) as shown:
        bar = shown.add_task("Villages", total=None)
        plan = in_transaction(
            lambda session: regions.load_villages(
                session,
                actor,
                data,
                dry_run=dry_run,
                progress=lambda done, total: shown.update(bar, completed=done, total=total),
            )
        )
        shown.update(bar, completed=1, total=1)
    for kind, found in (("added", plan.added), ("renamed", plan.renamed), ("ended", plan.ended)):
        console.print(f"{kind:<10}{len(found)}", highlight=False)
    console.print(f"unchanged {plan.unchanged}\nskipped   {plan.skipped}", highlight=False)
    console.print("Nothing was changed: a dry run." if dry_run else "Done.")


@regions_cli.command("succeed")
def regions_succeed(file: TableFile, dry_run: DryRun = False) -> None:
    """State changes of boundaries from a table, and carry out those whose day has come."""
    data, actor = file.read_bytes(), Actor.system("cli")

    async def carry_out(session: AsyncSession) -> tuple[int, int, int]:
        stated, known = await regions.record_file(session, actor, data, dry_run=dry_run)
        return stated, known, 0 if dry_run else await regions.apply_due(session, actor)

    with console.status("Moving everybody to the new divisions …"):
        stated, known, applied = in_transaction(carry_out)
    console.print(f"stated    {stated}\nknown     {known}\nin effect {applied}", highlight=False)
    console.print("Nothing was changed: a dry run." if dry_run else "Done.")


@openapi_cli.command("export")
def openapi_export(folder: Annotated[Path, typer.Argument()] = Path("openapi")) -> None:
    """Write the OpenAPI documents of the four doors."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix in api.DOORS:
        file = folder / f"{prefix.strip('/').replace('/', '-')}.json"
        file.write_text(json.dumps(api.create_door(prefix).openapi(), ensure_ascii=False, indent=2) + "\n")
        console.print(str(file))


# What an operator meets and mends; anything else is a fault of ours and shows where.
EXPECTED = (
    ValidationError, schema.StaleSchema, errors.Problem, story.Refused, httpx.ConnectError, ConnectionError,
    PostgresError,
)  # fmt: skip


def explain(error: Exception) -> list[str]:
    """What an operator needs to know of it; the first line is the heading."""
    match error:
        case ValidationError():
            return ["Refusing to start:", *complaints(error)]
        case schema.StaleSchema():
            return ["Refusing to start:", str(error)]
        case errors.Problem():
            told = error.document("en")
            places = [f"{wrong['pointer']}: {wrong['detail']}" for wrong in told.get("errors", [])]
            return [told["title"], *places, *filter(None, [told.get("detail")])]
        case story.Refused():
            return ["The story cannot go on.", str(error)]
        case httpx.ConnectError():
            return ["No server answers.", f"start one with `nuanxin demo` ({error})"]
        case _:
            return ["PostgreSQL does not answer.", f"start it, or correct NUANXIN_DATABASE_URL ({error})"]


def main() -> None:
    try:
        cli()
    except EXPECTED as error:
        heading, *lines = explain(error)
        console.print(
            f"[red]{heading}[/]", *(f"  {escape(line)}" for line in lines), sep="\n", highlight=False
        )
        raise SystemExit(1) from error
