"""The load in a process of its own, watched from here: started, shown, stopped, and outlived when it dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from loadtest.errors import LoadtestError
from loadtest.ledger import Ledger
from loadtest.live import read_live
from loadtest.plan import Folder, Plan

SAY_EVERY = 5.0  # seconds


def run(folder: Folder, plan: Plan, seed_password: str | None, say: Callable[[str], None]) -> None:
    """Run the load to its end (or SIGTERM, SIGINT). A load that died is written into its ledger, as an error."""
    plan.where()  # a wrong address is said before anything is touched
    folder.prepare()
    plan.save(folder)
    environment = {**os.environ, "SEED_PASSWORD": seed_password or ""}
    with folder.log.open("wb") as log:
        load = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "loadtest.swarm", str(folder.path)],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    with _stopping(load):
        _watch(load, folder, say)
    if plan.timeline and Path(plan.timeline).exists():
        shutil.copyfile(plan.timeline, folder.timeline)
    if load.returncode == 2:
        raise LoadtestError(_last_line(folder.log))
    if load.returncode:
        ledger = Ledger(folder.ledger, plan.run)
        how = f"was killed by signal {-load.returncode}" if load.returncode < 0 else f"ended with {load.returncode}"
        ledger.error(f"the load {how}; see {folder.log}")
        ledger.close()
        say(f"the load {how}: checking what its ledger says; its last words: {_last_line(folder.log)}")


@contextmanager
def _stopping(load: subprocess.Popen[bytes]) -> Iterator[None]:
    """SIGTERM and SIGINT end the load in good order; a second one ends it at once."""
    asked = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            load.terminate()
        else:
            load.kill()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(load: subprocess.Popen[bytes], folder: Folder, say: Callable[[str], None]) -> None:
    began = following = time.monotonic()
    while True:
        following += SAY_EVERY
        try:
            load.wait(timeout=max(0.0, following - time.monotonic()))
            return
        except subprocess.TimeoutExpired:
            if live := read_live(folder.live):
                say(f"{time.monotonic() - began:4.0f} s  {live_line(live)}")


def live_line(live: dict[str, Any]) -> str:
    p95 = f"{live['p95_ms']:.0f} ms" if live["p95_ms"] is not None else "-"
    return (
        f"{live['requests']:,} requests  failed {live['failed']}  lost {live['lost']}  doubled {live['doubled']}  "
        f"stale {live['stale']}  "
        f"{live['rps']:.0f}/s  p95 {p95}  {live['users']} users"
    )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].partition(" ERROR loadtest ")[2] or lines[-1] if lines else "it said nothing"
