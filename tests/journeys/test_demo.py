"""`nuanxin demo` as a newcomer meets it: it starts, survives kill -9, starts again, and stops with Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = pytest.mark.servers
PATIENCE = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def demo(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Started and ready; whatever happens, gone afterwards."""
    environment = {**os.environ, "NUANXIN_DATA_DIR": str(folder)}
    environment.pop("NUANXIN_WECHAT_BASE_URL", None)
    command = [sys.executable, "-c", "from app.cli import main; main()", "demo", "--port", str(port)]
    with (folder / "output").open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready(port):
            assert process.poll() is None, (folder / "output").read_text()
            assert time.monotonic() < deadline, (folder / "output").read_text()
            time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]))


def test_kill_9_hinders_no_later_start_and_ctrl_c_stops_all_of_it(tmp_path):
    port = free_port()
    with demo(tmp_path, port) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
    left_behind = postmaster(tmp_path)
    assert left_behind.is_running()

    with demo(tmp_path, port) as second:
        services = httpx.get(f"http://127.0.0.1:{port}/public/v1/services", trust_env=False).json()
        assert len(services) == 2
        second.send_signal(signal.SIGINT)
        assert second.wait(timeout=30) == 0
    left_behind.wait(timeout=10)
    assert not ready(port)
