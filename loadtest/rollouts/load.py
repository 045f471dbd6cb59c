"""The load beside the rollouts: `loadtest run`, from before the first to after the last of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest.errors import LoadtestError
from loadtest.live import read_live
from loadtest.plan import Folder
from loadtest.rollouts.target import COOKIE, HEADER

USERS, RATE = 30, 50.0
COHORT = 20
"""Percent of the users who say that they are of the group b, half of them by header, half by cookie."""
START_SECONDS, CHECK_SECONDS = 90.0, 180.0


class Load:
    def __init__(self, folder: Folder, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._process = process

    def require_alive(self) -> None:
        """Raises LoadtestError when it has ended."""
        if self._process.poll() is not None:
            lines = _log(self.folder).read_text(errors="replace").strip().splitlines() or ["nothing"]
            raise LoadtestError(f"the load has ended: {lines[-1]} ({_log(self.folder)})")

    def wait_for_users(self, users: int) -> None:
        until = time.monotonic() + START_SECONDS
        while (read_live(self.folder.live) or {}).get("users", 0) < users:
            self.require_alive()
            if time.monotonic() > until:
                raise LoadtestError(f"the load's users do not come in; see {_log(self.folder)}")
            time.sleep(0.2)

    def finish(self) -> dict[str, Any]:
        """Stop, check everything that was written; the figures of report.json."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(CHECK_SECONDS)
        except subprocess.TimeoutExpired:
            raise LoadtestError(f"the check takes more than {CHECK_SECONDS:.0f} s; see {_log(self.folder)}") from None
        if not self.folder.report.exists():
            raise LoadtestError(f"the load made no report; see {_log(self.folder)}")
        found: dict[str, Any] = json.loads(self.folder.report.read_text())
        return found


@contextmanager
def load(
    out: Path, where: Sequence[str], timeline: Path, users: int = USERS, rate: float = RATE,
) -> Iterator[Load]:  # fmt: skip
    """`where`: `--url URL` or `--addresses FILE`. Nothing of it runs afterwards."""
    folder = Folder(out)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.live.unlink(missing_ok=True)
    folder.report.unlink(missing_ok=True)
    words = [
        "run", *where, "--users", str(users), "--rate", str(rate), "--duration", "86400", "--out", str(out),
        "--cohort", f"{HEADER[0]}: {HEADER[1]}", "--cohort", f"Cookie: {COOKIE[0]}={COOKIE[1]}",
        "--cohort-share", str(COHORT), "--mix", "browse=2", "--timeline", str(timeline),
    ]  # fmt: skip
    with _log(folder).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "loadtest", *words],
            start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        found = Load(folder, process)
        found.wait_for_users(users)
        yield found
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _log(folder: Folder) -> Path:
    return folder.path / "loadtest.log"
