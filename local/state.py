"""The state directory: where it is, who may work on it, and the files by which the stack tells others about itself."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import postgres
from local.errors import LocalError

CHECKOUT = Path(__file__).resolve().parent.parent
MARKER = "STRANGLER_STACK"
"""In the environment of every process of a stack, with its state directory: by it a killed stack is found again."""


@dataclass(frozen=True)
class State:
    """Paths under one state directory. Two stacks with different directories know nothing of each other."""

    root: Path
    link: Path | None = None
    """Where it was wished to be, when it had to be elsewhere."""

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def addresses(self) -> Path:
        return self.root / "addresses.json"

    @property
    def timeline(self) -> Path:
        return self.root / "timeline.jsonl"

    @property
    def moves(self) -> Path:
        """The kit's event record, a line each: who did what to which module, when, at which epoch."""
        return self.root / "moves.jsonl"

    @property
    def env(self) -> Path:
        return self.root / "env"

    def make(self) -> None:
        """Create the directories, so that PostgreSQL's account can pass through but not look around."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        if self.link is not None and not self.link.is_symlink():
            if self.link.exists():
                raise LocalError(f"{self.link} is in the way: PostgreSQL's account cannot reach it; remove it")
            self.link.parent.mkdir(parents=True, exist_ok=True)
            self.link.symlink_to(self.root)
        self.root.mkdir(mode=0o711, exist_ok=True)
        if self.root.stat().st_uid != os.geteuid():
            raise LocalError(f"{self.root} belongs to another account; name another with STRANGLER_STATE")
        self.root.chmod(0o711)
        for directory in (self.logs, self.secrets):
            directory.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Only one command at a time changes a stack. Raises LocalError when another one is at work."""
        self.make()
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pid = os.pread(handle, 20, 0).decode() or "?"
                raise LocalError(f"{self.root} is in use by another command (pid {pid}); wait for it") from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(handle)

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of ours; empty when it is not there."""
        try:
            found: dict[str, Any] = json.loads((self.root / name).read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            raise LocalError(f"{self.root / name} is damaged; run: strangler-local down --purge") from None
        return found

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Replace a JSON file of ours at once, so that a reader sees the old or the new one."""
        self.replace(self.root / name, json.dumps(content, indent=1) + "\n")

    def replace(self, path: Path, text: str) -> None:
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        fresh.replace(path)

    def happened(self, kind: str, **what: Any) -> None:
        """A line for the timeline, which the load test's report is drawn on."""
        line = json.dumps({"t": round(time.time(), 4), "kind": kind, **what})
        with self.timeline.open("a") as file:
            file.write(line + "\n")

    def happenings(self, kind: str) -> list[dict[str, Any]]:
        """What the timeline says of one kind, oldest first."""
        lines = self.timeline.read_text().splitlines() if self.timeline.exists() else []
        return [happening for line in lines if (happening := json.loads(line))["kind"] == kind]

    def purge(self) -> None:
        """Remove everything. Renamed first: what is half removed is never taken for a state directory."""
        if self.root.exists():
            doomed = self.root.with_name(f"{self.root.name}.purged.{os.getpid()}")
            self.root.rename(doomed)
            shutil.rmtree(doomed)
        if self.link is not None and self.link.is_symlink():
            self.link.unlink()


def locate(wish: str | Path | None = None) -> State:
    """The state directory: `wish`, else $STRANGLER_STATE, else `.state` in the checkout.

    Where PostgreSQL's account could not reach it (root's home, say) it lies under /var/tmp, and a link leads there.
    """
    path = Path(os.path.abspath(wish or os.environ.get("STRANGLER_STATE") or CHECKOUT / ".state"))  # noqa: PTH100
    real = postgres.shadow(path)
    return State(real, link=path if real != path else None)
