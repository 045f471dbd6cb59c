"""A load on the fake forum, as a person would start it: the command in a process of its own."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "loadtest"]
ENVIRONMENT = {**os.environ, "SEED_PASSWORD": "demo-password"}

logging.getLogger("werkzeug").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Outcome:
    code: int
    output: str
    out: Path

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.out / "report.json").read_text())
        return report

    @property
    def last_line(self) -> str:
        return self.output.strip().splitlines()[-1]


Loadtest = Callable[..., Outcome]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def loadtest(out: Path) -> Loadtest:
    """`loadtest WORDS --out DIR`, to its end."""

    def run(*words: str) -> Outcome:
        done = subprocess.run(
            [*COMMAND, *words, "--out", str(out)], env=ENVIRONMENT, capture_output=True, text=True, timeout=90
        )
        return Outcome(done.returncode, done.stdout + done.stderr, out)

    return run


def sizes(url: str, duration: float = 3, settle: float = 1) -> list[str]:
    """A small, quick load."""
    return ["--url", url, "--users", "6", "--rate", "200", "--duration", str(duration), "--settle", str(settle)]


def wait_until(what: Callable[[], bool], patience: float = 120) -> None:
    until = time.monotonic() + patience
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def live(out: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((out / "live.json").read_text())
    except FileNotFoundError:
        return {"requests": 0, "acknowledged": 0}
    return found


@contextmanager
def running(out: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A load under way, with some writes acknowledged. It is gone afterwards."""
    command = subprocess.Popen(
        [*COMMAND, "run", *words, "--out", str(out)],
        env=ENVIRONMENT, start_new_session=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        wait_until(lambda: live(out)["acknowledged"] > 20 or command.poll() is not None)
        yield command
    finally:
        if command.poll() is None:
            os.killpg(command.pid, signal.SIGKILL)
        command.communicate()


def load_until(enough: Callable[[], bool], url: str, out: Path) -> Outcome:
    """A load that is stopped in good order when `enough` says so."""
    with running(out, *sizes(url, duration=600)) as command:
        wait_until(enough)
        command.terminate()
        output, _ = command.communicate(timeout=60)
    return Outcome(command.returncode, output, out)
