"""The load of several workers, from where it is ordered: no users here, everyone's ledger, one picture."""

from __future__ import annotations

import logging
import os
from collections import Counter
from typing import Any

import gevent
from locust.runners import MasterRunner

from loadtest.errors import LoadtestError
from loadtest.ledger import Ledger
from loadtest.plan import Folder, Plan

COME = 60.0  # seconds in which the workers must be there
SUMS = ("requests", "failed", "lost", "doubled", "stale", "wrong", "errors", "acknowledged", "rps", "users")
HIGHEST = ("t", "longest_gap_ms", "p95_ms")
log = logging.getLogger("loadtest")


class Master:
    """Keeps what the workers tell. `ledger` is the master's own, for what went wrong with them."""

    def __init__(self, folder: Folder, plan: Plan, ledger: Ledger, seeded: bool) -> None:
        self._folder = folder
        self._plan = plan
        self._ledger = ledger
        self._seeded = seeded
        self._runner: MasterRunner
        self._urls: list[str] = []
        self._ready: set[str] = set()
        self._done: dict[str, dict[str, int]] = {}
        self._kept: Counter[tuple[str, str]] = Counter()  # bytes, by worker and file
        self._holes: set[str] = set()
        self._live: dict[str, dict[str, Any]] = {}
        self._refused: str | None = None

    def gather(self, runner: MasterRunner, urls: tuple[str, ...]) -> None:
        """Wait until every worker has the plan and is ready. Raises LoadtestError when not."""
        self._runner, self._urls = runner, list(urls)
        listeners = {"hello": self._hello, "ready": self._is_ready, "refused": self._refuse, "part": self._part,
                     "done": self._is_done}  # fmt: skip
        for name, listener in listeners.items():
            runner.register_message(name, listener)
        log.info("waiting for %d workers at %s", self._plan.workers, self._plan.master)
        with gevent.Timeout(COME, False):
            while len(self._ready) < self._plan.workers and not self._refused:
                gevent.sleep(0.05)
        if self._refused or len(self._ready) < self._plan.workers:
            runner.quit()
            raise LoadtestError(
                self._refused
                or f"--workers {self._plan.workers}: {len(self._ready)} came within {COME:.0f} s; "
                f"start them with: loadtest worker --master {self._plan.master}"
            )

    def point_to(self, urls: tuple[str, ...]) -> None:
        self._urls = list(urls)
        self._runner.send_message("addresses", {"urls": self._urls})

    @property
    def lost(self) -> bool:
        """Whether a worker has gone although nobody asked it to."""
        return bool(self._ready - set(self._done) - self._here())

    def _here(self) -> set[str]:
        return {client.id for client in self._runner.clients.all if client.state != "missing"}

    def finish(self) -> None:
        """Have every worker end its writes and send what it has; who does not is an error of the load."""
        self._runner.send_message("over")
        with gevent.Timeout(self._plan.leave_seconds + 10, False):
            while (self._ready & self._here()) - set(self._done):
                gevent.sleep(0.05)
        for worker in sorted(self._ready, key=self._number):
            sizes = self._done.get(worker)
            if sizes is None or worker in self._holes or any(
                self._kept[worker, name] != size for name, size in sizes.items()
            ):  # fmt: skip
                number = self._number(worker)
                self._ledger.error(
                    f"worker {number} ({worker.rpartition('_')[0]}) has not sent everything; to look for all its "
                    f"writes, copy its ledger.jsonl to {self._folder.worker_ledger(number)} and check again"
                )
        self._runner.quit()

    def status(self, state: str) -> dict[str, Any]:
        """What live.json says: the workers' figures together, of latency and gap the worst."""
        lives = list(self._live.values())
        served: Counter[str] = Counter()
        for live in lives:
            served.update(live["served_by"])
        highest = {name: max((live[name] for live in lives if live[name] is not None), default=None)
                   for name in HIGHEST}  # fmt: skip
        sums = {name: round(sum(live[name] for live in lives), 1) for name in SUMS}
        sums["errors"] += self._ledger.errors
        return {"state": state, **highest, **sums, "served_by": dict(served)}

    def _number(self, worker: str) -> int:
        index: int = self._runner.get_worker_index(worker)  # type: ignore[no-untyped-call]
        return index + 1

    def _hello(self, msg: Any, **_: Any) -> None:
        plan = {"urls": self._urls, "rate": self._plan.rate / self._plan.workers, "mix": self._plan.mix,
                "patience": self._plan.patience, "seeded": self._seeded, "cohort": list(self._plan.cohort),
                "cohort_share": self._plan.cohort_share}  # fmt: skip
        self._runner.send_message("plan", plan, msg.node_id)

    def _is_ready(self, msg: Any, **_: Any) -> None:
        self._ready.add(msg.node_id)

    def _refuse(self, msg: Any, **_: Any) -> None:
        self._refused = f"worker {self._number(msg.node_id)} refused: {str(msg.data['why'])[:300]}"

    def _is_done(self, msg: Any, **_: Any) -> None:
        self._done[msg.node_id] = msg.data

    def _part(self, msg: Any, **_: Any) -> None:
        worker = msg.node_id
        self._live[worker] = msg.data["live"]
        number = self._number(worker)
        paths = {"ledger": self._folder.worker_ledger(number), "samples": self._folder.worker_samples(number)}
        for name, path in paths.items():
            new = msg.data[name]
            if new["at"] != self._kept[worker, name]:
                self._holes.add(worker)
            if worker in self._holes:
                continue
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(file, new["bytes"])
            finally:
                os.close(file)
            self._kept[worker, name] += len(new["bytes"])
