"""The command as an operator meets it: a mistake is a clear line and exit 1, never a traceback."""

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.settings import ROOT
from tests.command import told, told_by_process
from tests.servers import free_ports


def test_a_problem_is_told_with_its_place_and_what_to_do(database: str) -> None:
    said = told_by_process("partner", "create", "三医院", "990000000000", database=database)
    assert "The input is not valid" in said
    assert "/region_code: not a current division" in said
    assert "send again" in said


def test_a_journey_without_a_server_says_how_to_start_one() -> None:
    (port,) = free_ports(1)
    assert "nuanxin demo" in told("journey", "--url", f"http://127.0.0.1:{port}")


def test_a_database_that_does_not_answer_is_told_by_its_setting() -> None:
    (port,) = free_ports(1)
    for command, host in (
        ("serve", f"127.0.0.1:{port}"),
        ("worker", f"127.0.0.1:{port}"),
        ("serve", "nowhere.invalid"),
    ):
        said = told(command, database=f"postgresql://{host}/nuanxin")
        assert "NUANXIN_DATABASE_URL" in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "nuanxin.example"])
def test_development_does_not_listen_to_the_outside(host: str) -> None:
    refused = CliRunner().invoke(cli, ["serve", "--host", host], env={"COLUMNS": "200"})
    assert refused.exit_code == 2
    assert "NUANXIN_ENVIRONMENT=production" in refused.output


def test_the_image_refuses_to_run_on_known_keys() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "NUANXIN_ENVIRONMENT=production" in lines
    assert "NUANXIN_SANDBOX=false" in lines
    said = told_by_process("doctor", NUANXIN_ENVIRONMENT="production", NUANXIN_SANDBOX="false")
    assert "NUANXIN_FIELD_KEYS" in said
    assert said.count("docs/operating.md lists every setting") == 1


def test_the_doctor_warns_of_development_on_a_real_database(database: str) -> None:
    heading, warning, mend, *_ = told("doctor", database=database, code=0).splitlines()
    assert heading == "development"
    assert warning.startswith("! settings")
    assert "NUANXIN_ENVIRONMENT=production" in mend
