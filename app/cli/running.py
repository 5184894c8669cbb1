"""Commands that run something: the demo, servers, the worker, migrations, the doctor."""

import asyncio
import os
import signal
from contextlib import suppress
from ipaddress import ip_address
from typing import Annotated

import pyotp
import typer
import uvicorn
from rich.table import Table

from app import api, db, demo, jobs, logs, schema
from app import doctor as checks
from app import journey as story
from app.cli.base import cli, console, database_url, in_transaction, owner_url
from app.models.identity import STAFF_ROLES
from app.services import reference_data
from app.settings import settings

Port = Annotated[int, typer.Option(help="Port on which to listen.")]


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
