"""What a run was asked to do (`run.json`), and the names of the files that it leaves in its folder."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.addresses import Addresses
from loadtest.errors import LoadtestError

SEED_USERNAME = "demo"


@dataclass(frozen=True)
class Folder:
    """The folder of one run (`--out`)."""

    path: Path

    @property
    def plan(self) -> Path:
        return self.path / "run.json"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples.bin"

    def worker_ledger(self, number: int) -> Path:
        """At the master: what worker `number`, from 1, has sent of its ledger."""
        return self.path / f"ledger-{number}.jsonl"

    def worker_samples(self, number: int) -> Path:
        return self.path / f"samples-{number}.bin"

    @property
    def live(self) -> Path:
        return self.path / "live.json"

    @property
    def log(self) -> Path:
        return self.path / "load.log"

    @property
    def timeline(self) -> Path:
        return self.path / "timeline.jsonl"

    @property
    def check(self) -> Path:
        return self.path / "check.json"

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    def prepare(self) -> None:
        """Make the folder, and remove what an earlier run left in it: two runs in one ledger prove nothing."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            workers = (*self.path.glob("ledger-*.jsonl"), *self.path.glob("samples-*.bin"))
            for name in (self.plan, self.ledger, self.samples, self.live, self.log, self.timeline, self.check,
                         self.report, self.page, *workers):  # fmt: skip
                name.unlink(missing_ok=True)
        except OSError as error:
            raise LoadtestError(f"cannot write to {self.path}: {error.strerror}; choose another --out") from None


@dataclass(frozen=True)
class Plan:
    """One run. `rate` is a cap on requests per second of all users together; times are in seconds."""

    users: int
    duration: float
    rate: float
    # A request whose answer takes longer has failed: longer than any should take, shorter than a person would wait.
    patience: float = 10.0
    addresses: str | None = None
    url: str | None = None
    timeline: str | None = None
    # HOST:PORT of Locust's own page.
    web: str | None = None
    allow_hosts: tuple[str, ...] = ()
    # Headers that the `cohort_share` percent of the users in the cohort send, each of them one, in turn.
    cohort: tuple[str, ...] = ()
    cohort_share: float = 20.0
    # HOST:PORT where workers are awaited, and how many; without, the users are here.
    master: str | None = None
    workers: int = 0
    # What is done more often or less than usual, and the budgets in milliseconds.
    mix: dict[str, float] = field(default_factory=dict)
    budgets: dict[str, float] = field(default_factory=dict)
    # Part of every write id, so that two runs against one forum never meet.
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    started: float = field(default_factory=time.time)

    @property
    def leave_seconds(self) -> float:
        """How long users may take to finish: a request that is under way, and once more the write that it was; with
        little patience, all the tries of a write.
        """
        return max(25.0, 2 * self.patience + 5)

    def where(self) -> Addresses:
        return Addresses(Path(self.addresses) if self.addresses else None, self.url, self.allow_hosts)

    def save(self, folder: Folder) -> None:
        folder.plan.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Folder) -> Plan:
        try:
            fields: dict[str, Any] = json.loads(folder.plan.read_text())
            return cls(**{**fields, "allow_hosts": tuple(fields["allow_hosts"]),
                          "cohort": tuple(fields.get("cohort", ()))})  # fmt: skip
        except FileNotFoundError:
            raise LoadtestError(f"no run in {folder.path}; make one with: loadtest run --out {folder.path}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise LoadtestError(f"{folder.plan} cannot be read ({error}); run the load again") from None
