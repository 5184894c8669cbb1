"""pretix, to compare with: run by the Python of an environment that has it (pretix.py).

`open QUOTAS`: the tables, an event, so many products with a quota each; says what the client must know, as JSON.
`serve PORT`: its own application, and whether it is there yet.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

#: To each a connection: two processes have as many as there are clients.
THREADS = 8


def prepare(quotas: int) -> dict[str, Any]:
    import django

    django.setup()
    from django.apps import apps
    from django.conf import settings
    from django.core.management import call_command
    from django_scopes import scopes_disabled

    # As its own tests do: from the models at once, since its hundreds of migrations take minutes.
    settings.MIGRATION_MODULES = {app.label: None for app in apps.get_app_configs()}
    call_command("migrate", run_syncdb=True, verbosity=0)
    with scopes_disabled():
        return furnish(quotas)


def furnish(quotas: int) -> dict[str, Any]:
    from datetime import timedelta

    from django.utils.timezone import now
    from pretix.base.models import Event, Organizer, Team

    organizer = Organizer.objects.create(name="Bench", slug="bench")
    event = Event.objects.create(
        organizer=organizer, name="Bench", slug="bench", currency="CNY", plugins="", date_from=now() + timedelta(days=7)
    )  # fmt: skip
    items = [event.items.create(name=f"Check {number}", default_price=1) for number in range(quotas)]
    for item in items:
        event.quotas.create(name=f"Slot {item.pk}", size=0).items.add(item)
    team = Team.objects.create(organizer=organizer, all_events=True, all_event_permissions=True)
    return {"token": team.tokens.create(name="bench").token, "items": [item.pk for item in items]}


Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve(port: int) -> None:
    from pretix.wsgi import application
    from waitress import serve as listen

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/readyz":
            return application(environ, start)
        start("200 OK", [("Content-Length", "2")])
        return [b"{}"]

    listen(app, host="127.0.0.1", port=port, threads=THREADS)


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "pretix.settings"
    what, number = sys.argv[1], int(sys.argv[2])
    if what == "open":
        sys.stdout.write(json.dumps(prepare(number)) + "\n")
    else:
        serve(number)


if __name__ == "__main__":
    main()
