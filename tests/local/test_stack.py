"""The stack: what it promises about starting, being killed, and bad input."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
from collections.abc import Iterator

import psycopg
import pytest
import requests

from local import probe
from local.cli import take_down
from local.layout import Layout
from local.state import CHECKOUT
from local.supervisor import Supervisor
from tests.local.conftest import Local, one_line


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A stack at stage 0 that the tests look at and leave as it is."""
    found = Local(tmp_path_factory.mktemp("running") / "state")
    found.succeed("up")
    yield found
    take_down(found.state, purge=True)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A stack that was up once and is down."""
    found = Local(tmp_path_factory.mktemp("stopped") / "state")
    found.succeed("up")
    assert found.processes()
    found.succeed("down")
    yield found
    take_down(found.state, purge=True)


def test_a_killed_stack_is_found_and_started_again_with_its_data(local: Local) -> None:
    local.succeed("stage", "gateway")
    answer = requests.post(
        f"{local.public[0]}/api/users",
        json={"username": "survivor", "email": "survivor@example.org", "password": "a long enough password"},
        timeout=10,
    )
    assert answer.status_code == 201
    addresses = local.public

    os.kill(Supervisor(local.state).pid(), signal.SIGKILL)
    assert local.processes(), "killing the supervisor should have left its programs"
    local.succeed("up")

    assert local.public == addresses
    found = requests.get(f"{local.public[0]}{answer.headers['Location']}", timeout=10)
    assert found.json()["username"] == "survivor"
    assert "ended" not in local.succeed("up"), "a second `up` should leave what runs alone"


def test_a_program_that_crashes_is_started_again(running: Local) -> None:
    supervisor, layout = Supervisor(running.state), Layout(running.state)
    before = supervisor.info("monolith-1")["pid"]
    os.kill(before, signal.SIGKILL)

    def replaced() -> bool:
        info = supervisor.info("monolith-1")
        return info["pid"] != before and info["statename"] == "RUNNING"

    assert probe.wait_for(replaced, 60)
    assert probe.wait_for(lambda: probe.is_ready(layout.url("monolith-1")), 60)


def test_secrets_are_for_their_owner_only(running: Local) -> None:
    for file in (running.state.env, *running.state.secrets.iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(running.state.secrets.stat().st_mode) == 0o700


def test_the_database_refuses_who_has_no_password(running: Local) -> None:
    cluster = Layout(running.state).cluster("monolith")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(cluster.dsn(password="guessed"))


def test_an_unknown_program_is_refused(running: Local) -> None:
    assert "'nobody' does not run" in one_line(running("restart", "nobody"))
    assert "no log of 'nobody'" in one_line(running("logs", "nobody"))


def test_an_unknown_stage_is_refused(local: Local) -> None:
    assert "there is no stage 'six'" in one_line(local("stage", "six"))


def test_two_commands_at_once_do_not_meet(local: Local) -> None:
    with local.state.lock():
        assert f"in use by another command (pid {os.getpid()})" in one_line(local("up"))
    assert local.processes() == []


def test_down_leaves_no_process_and_keeps_the_data(stopped: Local) -> None:
    assert stopped.processes() == []
    assert Layout(stopped.state).cluster("monolith").exists


def test_a_taken_database_port_is_named_with_the_mend(stopped: Local) -> None:
    port = Layout(stopped.state).ports["postgres-monolith"]
    with socket.create_server(("127.0.0.1", port)):
        said = one_line(stopped("up"))
    assert f"port {port}" in said
    assert f"pid {os.getpid()}" in said
    assert "--purge" in said
    assert stopped.processes() == []


def test_a_damaged_state_is_named_with_the_mend(stopped: Local) -> None:
    damaged = stopped.state.root / "stage.json"
    damaged.write_text("{")
    assert "stage.json is damaged; run: strangler-local down --purge" in one_line(stopped("up"))
    damaged.unlink()


def test_a_taken_port_of_an_application_is_exchanged(stopped: Local) -> None:
    port = Layout(stopped.state).ports["monolith-1"]
    with socket.create_server(("127.0.0.1", port)):
        assert f"monolith-1 moved from port {port}" in stopped.succeed("up")
        assert all(not url.endswith(f":{port}") for url in stopped.public)
    stopped.succeed("down", "--purge")
    assert not stopped.state.root.exists()


def test_the_commands_that_see_to_events_do_what_docs_say(running: Local) -> None:
    text = (CHECKOUT / "docs" / "events.md").read_text()
    lines = re.findall(r"^    \.venv/bin/strangler-local (events .*)$", text, re.MULTILINE)
    assert len(lines) == 6
    said = [running.succeed(*line.split()) for line in lines]
    assert "topics: 0 not delivered, 0 not acknowledged" in said[0]
    assert said[1:] == [
        "nothing is parked\n", "0 will be tried again\n", "0 dropped\n", "0 events will be published again\n",
        "0 topics will be counted\n",
    ]  # fmt: skip
    assert "--since" in running("events", "topics", "replay").stdout
