"""The load test as a process beside the stack, and what its report says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from local import probe
from local.errors import LocalError
from local.layout import Layout
from local.state import CHECKOUT, MARKER

FIRST_REQUEST_SECONDS = 30.0
REPORT_SECONDS = 120.0
LIVE = "live.json"


class LoadTest:
    """`loadtest run`, in a session of its own: Ctrl-C ends it through us."""

    def __init__(self, layout: Layout, out: Path) -> None:
        self.out = out
        self._layout = layout
        self._command = [str(Path(sys.executable).with_name("loadtest"))]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def live(self) -> Path:
        """Its figures so far, written anew every second."""
        return self.out / LIVE

    @property
    def log(self) -> Path:
        return self.out / "loadtest.log"

    def start(self, users: int, *words: str) -> None:
        """Start it (`words`: more options) and wait for its first requests. Raises LocalError when there are none."""
        state = self._layout.state
        environment = os.environ | self._layout.environment() | {MARKER: str(state.root)}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [
                    *self._command, "run", "--addresses", str(state.addresses),
                    "--users", str(users), "--duration", "86400", "--out", str(self.out),
                    "--timeline", str(state.timeline), *words,
                ],
                env=environment, cwd=CHECKOUT, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

        def working() -> bool:
            self.require_alive()
            return self.live.exists() and json.loads(self.live.read_text()).get("requests", 0) > 0

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

    def report(self) -> None:
        """Print its report; the last line is the promises and what came of them."""
        sys.stdout.flush()
        subprocess.run([*self._command, "report", "--out", str(self.out)], cwd=CHECKOUT, check=False)  # noqa: S603
