"""Stacks of their own for tests: a state directory each, taken down and purged whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import orphans
from local.cli import take_down
from local.state import CHECKOUT, State, locate

COMMAND_SECONDS = 180


class Local:
    """`strangler-local` on one state directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state: State = locate(directory)
        self.environment = os.environ | {"STRANGLER_STATE": str(directory)}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "local", *words], env=self.environment, cwd=CHECKOUT, capture_output=True, text=True,
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip

    def succeed(self, *words: str) -> str:
        done = self(*words)
        assert done.returncode == 0, f"{words} said: {done.stdout}{done.stderr}"
        return done.stdout

    def processes(self) -> list[str]:
        """What runs of this stack, for a test's failure to show."""
        return [f"{process.pid} {process.name()}" for process in orphans.find(self.state)]

    @property
    def public(self) -> list[str]:
        return list(self.state.read("addresses.json")["public"])


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a refused command said: nothing but one line."""
    assert done.returncode == 2, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    found = Local(tmp_path / "state")
    yield found
    take_down(found.state, purge=True)
    assert found.processes() == []
