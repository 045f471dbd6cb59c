"""The load test as a process beside a forum, and what it found out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.docker import CHECKOUT, wait_for

SEED_PASSWORD = "a password for tests"
LONGEST = 1500
"""Seconds, whatever happens to the test."""
PROMISES = ("failed", "lost", "doubled", "stale", "wrong", "counters_off", "errors")


class Load:
    """`loadtest run`, whose clients go where `go` says."""

    def __init__(self, folder: Path, url: str, users: int, rate: float, seeded: bool, timeline: Path | None) -> None:
        self.out = folder / "load"
        self.out.mkdir()
        self._addresses = folder / "addresses.json"
        self.go(url)
        command = [
            sys.executable, "-m", "loadtest", "run", "--addresses", str(self._addresses), "--users", str(users),
            "--rate", str(rate), "--duration", str(LONGEST), "--settle", "90", "--out", str(self.out),
            *(["--timeline", str(timeline)] if timeline else []),
        ]  # fmt: skip
        self._log = self.out / "loadtest.log"
        environment = os.environ | ({"SEED_PASSWORD": SEED_PASSWORD} if seeded else {})
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def go(self, url: str) -> None:
        """The public uses this address from now on, as if a name in the DNS had changed."""
        new = self._addresses.with_suffix(".new")
        new.write_text(json.dumps({"public": [url]}))
        new.replace(self._addresses)

    def live(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.out / "live.json").read_text())
        except (FileNotFoundError, ValueError):
            return {"requests": 0, "failed": 0, "acknowledged": 0}
        return found

    def more(self, requests: int = 40) -> None:
        """Wait for so many further requests: the forum as it is has been tried."""
        wanted = self.live()["requests"] + requests
        wait_for(lambda: self.ended or self.live()["requests"] >= wanted, f"{requests} requests", 180, self.said)
        assert not self.ended, f"the load has ended: {self.said()}"

    def acknowledged(self, writes: int = 3) -> None:
        """Wait for so many further writes to be acknowledged."""
        ledger = self.out / "ledger.jsonl"
        with ledger.open("rb") as lines:
            lines.seek(0, os.SEEK_END)
            left = writes

            def enough() -> bool:
                nonlocal left
                left -= lines.read().count(b'"e":"ack"')
                return self.ended or left <= 0

            wait_for(enough, f"{writes} writes", 180, self.said)
        assert not self.ended, f"the load has ended: {self.said()}"

    def finish(self) -> dict[str, Any]:
        """Stop, check; the figures of report.json."""
        self.process.terminate()
        self.process.wait(300)
        assert (self.out / "report.json").exists(), self.said()
        found: dict[str, Any] = json.loads((self.out / "report.json").read_text())
        assert found["requests"] > 100, self.said()
        return found

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def said(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    def failures(self) -> list[dict[str, Any]]:
        """Every failed request as the ledger has it."""
        lines = (json.loads(line) for line in (self.out / "ledger.jsonl").read_text().splitlines())
        return [line for line in lines if line["e"] == "failed"]

    def require_kept(self, but: tuple[str, ...] = ()) -> dict[str, Any]:
        """Stop, check; every promise was kept, `but` those. The figures."""
        figures = self.finish()
        broken = {name: figures[name] for name in PROMISES if figures[name] and name not in but}
        assert not broken, f"{broken} {self.failures()[:5]}\n{self.said()}"
        return figures


@contextmanager
def load(
    folder: Path, url: str, users: int = 5, rate: float = 25, seeded: bool = False, timeline: Path | None = None
) -> Iterator[Load]:
    """Few and slow: the machine is small, and nothing is judged by speed.

    `seeded`: there are accounts with SEED_PASSWORD.
    """
    found = Load(folder, url, users, rate, seeded, timeline)
    try:
        found.more(20)
        yield found
    finally:
        if not found.ended:
            found.process.kill()
            found.process.wait()
