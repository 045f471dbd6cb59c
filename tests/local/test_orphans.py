"""What a killed command has left is ended, and nothing of a stack that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local import orphans
from local.state import MARKER, locate

PARENT = """
import subprocess, sys
for _ in sys.stdin:
    print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
"""


@pytest.mark.parametrize("spared", [True, False])
def test_a_process_born_during_the_look_is_the_supervisors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spared: bool
) -> None:
    state = locate(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], env=os.environ | {MARKER: str(state.root)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdin is not None
    assert parent.stdout is not None
    born: list[int] = []
    look = psutil.process_iter

    def late() -> Iterator[psutil.Process]:
        print("one more", file=parent.stdin, flush=True)
        assert parent.stdout is not None
        born.append(int(parent.stdout.readline()))
        return look()

    monkeypatch.setattr(psutil, "process_iter", late)
    try:
        found = {process.pid for process in orphans.find(state, parent.pid if spared else None)}
        assert found == (set() if spared else {parent.pid, *born})
    finally:
        for pid in born:
            psutil.Process(pid).kill()
        parent.kill()
        parent.communicate()
