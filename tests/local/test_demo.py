"""The demo at small size: it ends well, and it leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cli import take_down
from local.state import CHECKOUT
from tests.local.conftest import Local

WALK = ["users", "topics", "messages"]


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "demo"
    take_down(Local(tmp_path / "demo" / "state").state, purge=True)


def start(out: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "local.demo", "--out", str(out), "--messages", "3000", "--users", "8",
         "--duration", "10", *words],
        cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={name: value for name, value in os.environ.items() if name not in ("KEEP", "ROUNDTRIP")},
    )  # fmt: skip


def left_over(out: Path) -> list[str]:
    return Local(out / "state").processes()


@pytest.mark.timeout(1000)
def test_the_way_under_load_keeps_every_promise(out: Path) -> None:
    process = start(out)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    last = said.splitlines()[-1]
    assert re.fullmatch(r"promises: requests [1-9]\d*, failed 0, lost 0, doubled 0, stale 0", last), said
    report = json.loads((out / "report.json").read_text())
    assert last == "promises: " + ", ".join(
        f"{name} {report[name]}" for name in ("requests", "failed", "lost", "doubled", "stale")
    )
    told = [(one["module"], one["direction"]) for one in report["switches"]]
    assert told == [(name, "switch") for name in WALK]
    assert all(0 < one["pause_ms"] < 5000 for one in report["switches"])
    record = [json.loads(line) for line in (out / "moves.jsonl").read_text().splitlines()]
    switches = [(one["module"], one["epoch"]) for one in record if one["action"] == "switch"]
    assert switches == [(name, 2) for name in WALK]
    for name in WALK:
        steps = [one["action"] for one in record if one["module"] == name]
        assert steps[:5] == ["create", "ready", "diff", "switch", "arrived"]
    assert left_over(out) == []


@pytest.mark.parametrize("moment", ["[", "users: copying"])
def test_ctrl_c_leaves_nothing_running(out: Path, moment: str) -> None:
    process = start(out)
    assert process.stdout
    for line in process.stdout:
        if moment in line or moment == "[":
            break
    else:
        pytest.fail(f"the demo ended before it said {moment!r}")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted; nothing is left running" in said
    assert left_over(out) == []


@pytest.mark.parametrize(("variable", "value"), [("MESSAGES", "many"), ("USERS", "0"), ("DURATION", "-1")])
def test_a_size_that_makes_no_sense_is_refused(tmp_path: Path, variable: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.demo", "--out", str(tmp_path / "demo")], env=os.environ | {variable: value},
        cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "demo").exists()
