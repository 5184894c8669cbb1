"""django-hordak, to compare with: run by the Python of an environment that has it (hordak.py), once a process.

Reads one job a line from its input, as JSON, and answers in one line: `prepare` the tables and accounts; `post`: says
`ready`, and goes when a line comes. Tuned in its favour: accounts are loaded once, connections are kept, and who pays
locks the fund's own row so that gifts need not wait (hordak itself knows no overdraft).
"""

import json
import sys
from dataclasses import asdict
from decimal import Decimal
from threading import Event, Thread
from time import perf_counter
from typing import Any

from bench.ledger.plan import Posted, Wish, Workload, wishes

CURRENCY = "CNY"


def set_up(database: dict[str, str]) -> None:
    import django
    from django.conf import settings

    place = {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": None, **database}
    settings.configure(
        DATABASES={"default": place}, INSTALLED_APPS=["django.contrib.contenttypes", "mptt", "hordak"], USE_TZ=True,
        DEFAULT_CURRENCY=CURRENCY, HORDAK_INTERNAL_CURRENCY=CURRENCY, CURRENCIES=[CURRENCY],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )  # fmt: skip
    django.setup()


def prepare(many: int) -> None:
    from django.core.management import call_command
    from hordak.models import Account, AccountType

    call_command("migrate", verbosity=0)
    kinds = {"channel": AccountType.asset, "income": AccountType.income, "cost": AccountType.expense}
    for number in range(1, many + 1):
        for name, kind in kinds.items():
            Account.objects.create(name=f"{name} {number}", type=kind, currencies=[CURRENCY])
    Account.objects.create(name="bank", type=AccountType.asset, currencies=[CURRENCY])


def send(accounts: dict[str, Any], wish: Wish) -> bool:
    from django.db import transaction
    from hordak.models import Account
    from moneyed import Money

    income, cost = accounts[f"income {wish.fund}"], accounts[f"cost {wish.fund}"]
    amount = Money(Decimal(wish.amount) / 100, CURRENCY)
    if not wish.out:
        income.transfer_to(accounts[f"channel {wish.channel}"], amount)
        return True
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).only("pk").get(pk=income.pk)
        both = {
            one.pk: one.balance for one in Account.objects.filter(pk__in=[income.pk, cost.pk]).with_balances()
        }
        if (both[income.pk] - both[cost.pk])[CURRENCY] < amount:
            return False
        accounts["bank"].transfer_to(cost, amount)
    return True


class Client(Thread):
    """A thread, a connection."""

    def __init__(self, workload: Workload, seed: int, accounts: dict[str, Any], go: Event) -> None:
        super().__init__()
        self.plan, self.accounts, self.go = wishes(workload, seed), accounts, go
        self.ready, self.posted, self.deadline = Event(), Posted(), 0.0

    def run(self) -> None:
        self.post()
        self.ready.set()
        self.go.wait()
        while (since := perf_counter()) < self.deadline:
            self.post()
            self.posted.latencies.append(perf_counter() - since)
        close_connections()

    def post(self) -> None:
        self.posted.count(send(self.accounts, next(self.plan)))


def post(workload: Workload, seconds: float, seeds: range) -> Posted:
    from hordak.models import Account

    accounts, go, all_of_us = {account.name: account for account in Account.objects.all()}, Event(), Posted()
    clients = [Client(workload, seed, accounts, go) for seed in seeds]
    for client in clients:
        client.start()
    for client in clients:
        client.ready.wait()
    answer({"ready": True})
    sys.stdin.readline()
    all_of_us.begin()
    for client in clients:
        client.deadline = perf_counter() + seconds
    go.set()
    for client in clients:
        client.join()
        all_of_us.done += client.posted.done
        all_of_us.refused += client.posted.refused
        all_of_us.latencies += client.posted.latencies
    all_of_us.end()
    return all_of_us


def close_connections() -> None:
    """Of this thread."""
    from django.db import connections

    connections.close_all()


def answer(said: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def main() -> None:
    set_up(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        job = json.loads(line)
        if "prepare" in job:
            prepare(job["prepare"])
            answer({"prepared": True})
        else:
            seeds = range(*job["seeds"])
            answer(asdict(post(Workload(**job["workload"]), job["seconds"], seeds)))


if __name__ == "__main__":
    main()
