"""The load test as a process beside the stack, and what its report says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from local import probe
from local.errors import LocalError
from local.layout import Layout
from local.state import CHECKOUT, MARKER

FIRST_REQUEST_SECONDS = 30.0
REPORT_SECONDS = 120.0
PROMISES = ("requests", "failed", "lost", "doubled", "stale")


class LoadTest:
    """`loadtest run`, in a session of its own: Ctrl-C ends it through us."""

    def __init__(self, layout: Layout, out: Path) -> None:
        self.out = out
        self._layout = layout
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def report(self) -> Path:
        return self.out / "report.json"

    @property
    def log(self) -> Path:
        return self.out / "loadtest.log"

    def start(self, users: int) -> None:
        """Start it, and wait for its first requests. Raises LocalError when there are none."""
        state = self._layout.state
        live = self.out / "live.json"
        live.unlink(missing_ok=True)
        environment = os.environ | self._layout.environment() | {MARKER: str(state.root)}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [
                    sys.executable, "-m", "loadtest.cli", "run", "--addresses", str(state.addresses),
                    "--users", str(users), "--duration", "86400", "--out", str(self.out),
                    "--timeline", str(state.timeline), "--seed-password", environment["SEED_PASSWORD"],
                ],
                env=environment, cwd=CHECKOUT, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

        def working() -> bool:
            self.require_alive()
            return live.exists() and json.loads(live.read_text()).get("requests", 0) > 0

        if not probe.wait_for(working, FIRST_REQUEST_SECONDS, pause=0.2):
            raise LocalError(f"the load test makes no requests; see {self.log}", 1)

    def require_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines() or ["nothing in its log"]
            raise LocalError(f"the load test has ended too early: {lines[-1]} ({self.log})", 1)

    def finish(self) -> int:
        """Let it stop, check and report. Returns its exit code: 1 for a broken promise."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(REPORT_SECONDS)
        except subprocess.TimeoutExpired:
            raise LocalError(
                f"the load test's check takes more than {REPORT_SECONDS:.0f} s; see {self.log}", 1
            ) from None

    def kill(self) -> None:
        """End it and what it started, without a report, when it still runs."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def figures(self) -> dict[str, Any]:
        """report.json. Raises LocalError when there is none."""
        try:
            found: dict[str, Any] = json.loads(self.report.read_text())
        except (OSError, ValueError):
            raise LocalError(f"the load test left no report; see {self.log}", 1) from None
        return found


def summary(load: LoadTest, seconds: float, memory: int) -> None:
    """What a person at the back row wants to know."""
    console = Console(highlight=False)
    table = Table(title="Switches", title_justify="left", title_style="bold")
    for name in ("module", "direction", "writes paused", "longest write around it"):
        table.add_column(name, justify="left" if name in ("module", "direction") else "right")
    for one in load.figures()["switches"]:
        longest = one.get("longest_write_ms")
        table.add_row(
            one["module"],
            one["direction"],
            f"{one['pause_ms']:.0f} ms",
            "-" if longest is None else f"{longest:.0f} ms",
        )
    console.print()
    console.print(table)
    console.print(f"{seconds:.0f} s in all; the stack took up to {memory / 2**20:,.0f} MB of memory (PSS)")
    console.print(f"report: {load.out / 'report.html'}", soft_wrap=True)


def verdict(load: LoadTest) -> str:
    """The last line: what was promised and what came of it."""
    figures = load.figures()
    return "promises: " + ", ".join(f"{name} {figures[name]}" for name in PROMISES)
