"""The load test as a process beside a stack, and its report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.swarm.docker import CHECKOUT, wait_for
from tests.swarm.stack import SEED_PASSWORD, Stack

LONGEST = 900  # seconds, whatever happens to the test
# Few and slow: the machine is small, and nothing is judged by speed.
USERS, RATE = 4, 15
REPORT_SECONDS = 120


class Load:
    """`loadtest run` for as long as the `with` block; `report` afterwards."""

    def __init__(self, stack: Stack, out: Path) -> None:
        self.out = out
        self._command = [
            sys.executable, "-m", "loadtest", "run", "--addresses", str(stack.addresses), "--users", str(USERS),
            "--rate", str(RATE), "--duration", str(LONGEST), "--out", str(out), "--timeline", str(stack.timeline),
            "--settle", "60",
        ]  # fmt: skip

    def __enter__(self) -> Self:
        self.out.mkdir(parents=True)
        with (self.out / "loadtest.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=CHECKOUT, env=os.environ | {"SEED_PASSWORD": SEED_PASSWORD},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            self.wait_for_requests(20)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(REPORT_SECONDS)
            finally:
                self._kill()
        else:
            self._kill()

    def _kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def requests(self) -> int:
        live = self.out / "live.json"
        return int(json.loads(live.read_text())["requests"]) if live.exists() else 0

    def wait_for_requests(self, more: int) -> None:
        """Until it has made so many more than now: the stack as it is has been tried."""
        goal = self.requests + more
        wait_for(f"{more} requests", lambda: self.requests >= goal, 120, self.said)

    def said(self) -> str:
        return (self.out / "loadtest.log").read_text(errors="replace")[-6000:]

    @property
    def report(self) -> dict[str, Any]:
        assert (self.out / "report.json").exists(), self.said()
        report: dict[str, Any] = json.loads((self.out / "report.json").read_text())
        return report

    def require_kept(self) -> None:
        """Every promise: nothing failed, lost, doubled, stale, or counted wrongly."""
        assert self.report["kept"], self.said()
        assert self.report["requests"] > 100, self.said()
