"""`nuanxin demo` as a newcomer meets it: it starts, survives kill -9, starts again, and stops with Ctrl-C or SIGTERM,
and PostgreSQL with it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.servers import NUANXIN, free_ports, wait_ready


@contextmanager
def demo(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Started and ready; whatever happens, gone afterwards."""
    environment = {**os.environ, "NUANXIN_DATA_DIR": str(folder)}
    environment.pop("NUANXIN_WECHAT_BASE_URL", None)
    command = (*NUANXIN, "demo", "--port", str(port))
    with (folder / "output").open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_ready(f"http://127.0.0.1:{port}", process, folder / "output")
        yield process
    finally:
        process.kill()
        process.wait()


def postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]))


def services(port: int) -> list[str]:
    answer = httpx.get(f"http://127.0.0.1:{port}/public/v1/services", trust_env=False)
    return [service["code"] for service in answer.json()]


def test_kill_9_hinders_no_later_start_and_ctrl_c_and_sigterm_stop_all_of_it(tmp_path):
    (port,) = free_ports(1)
    with demo(tmp_path, port) as first:
        offered = services(port)
        assert "pre_pregnancy_check" in offered
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert postmaster(tmp_path).is_running()  # left behind, and joined

    for number in (signal.SIGTERM, signal.SIGINT):
        with demo(tmp_path, port) as again:
            running = postmaster(tmp_path)
            assert services(port) == offered  # nothing is lost, nothing is there twice
            again.send_signal(number)
            if number is signal.SIGTERM:  # `timeout` sends it, and `make` once more
                again.send_signal(number)
            assert again.wait(timeout=30) == 0
        running.wait(timeout=10)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False)
