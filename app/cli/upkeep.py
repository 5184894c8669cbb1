"""Commands for the upkeep of an installation: accounts, hospitals, lists, divisions, bills, contracts."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import to_jsonable_python
from rich.markup import escape
from rich.progress import Progress
from sqlalchemy.ext.asyncio import AsyncSession

from app import api, crypto, db, errors, schema
from app.access import Actor
from app.cli.base import cli, console, database_url, in_transaction
from app.integrations.wechat_pay import BillNotReady, WechatPayRefused
from app.models.identity import Role
from app.models.partners import Algorithm
from app.services import disbursements, imports, partners, regions, staff
from app.services.reconciliation import matching
from app.services.reconciliation import report as clearing
from app.services.reconciliation.report import ClearingReport
from app.settings import settings

staff_cli = typer.Typer(help="Workers' accounts.", no_args_is_help=True)
partner_cli = typer.Typer(help="Partner hospitals.", no_args_is_help=True)
regions_cli = typer.Typer(help="Villages, and changes of boundaries.", no_args_is_help=True)
openapi_cli = typer.Typer(help="The contracts of the four doors.", no_args_is_help=True)
cli.add_typer(staff_cli, name="staff")
cli.add_typer(partner_cli, name="partner")
cli.add_typer(regions_cli, name="regions")
cli.add_typer(openapi_cli, name="openapi")


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
    for field, value in to_jsonable_python(told).items():
        console.print(f"{field:<20} {value}", highlight=False, markup=False)


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
    _told(asyncio.run(run()))


def _told(batch: dict[str, Any]) -> None:
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
