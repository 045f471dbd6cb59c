"""Docker's command line, as a person would use it, and waiting for what it brings about."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PAUSE = 0.3


def run(*words: str, env: Mapping[str, str] | None = None, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """A command in the checkout, whatever comes of it."""
    return subprocess.run(
        list(words), env=env, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
        check=False,
    )  # fmt: skip


def docker(*words: str, env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """What `docker WORDS` prints; with `check` it has to succeed."""
    done = run("docker", *words, env=env)
    assert not check or done.returncode == 0, f"docker {' '.join(words)} said: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def lines(*words: str) -> list[str]:
    return docker(*words).splitlines()


def wait_for(ask: Callable[[], object], what: str, seconds: float = 120, why: Callable[[], str] = lambda: "") -> None:
    """Until `ask` says so. `why` tells, for the failure, what there is instead."""
    deadline = time.monotonic() + seconds
    while not ask():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}\n{why()}"
        time.sleep(PAUSE)
