"""One worker of a load (`python -m loadtest.worker HOST:PORT DIR ALLOWED...`): users here, orders from the master.

What it writes down is in its own folder first, and goes to the master as it grows.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from loadtest.addresses import Addresses
from loadtest.errors import LoadtestError
from loadtest.freshness import Memory
from loadtest.ledger import Ledger
from loadtest.live import Live
from loadtest.mix import mixed
from loadtest.pace import Pace
from loadtest.plan import Folder, Plan
from loadtest.samples import SampleFile
from loadtest.scene import Scene
from loadtest.users import Member, Person, Regular

EVERY = 0.2  # seconds between two messages to the master
CHUNK = 1 << 20  # bytes
log = logging.getLogger("loadtest")


class Worker:
    """Its users from the master's plan to the master's leave."""

    def __init__(self, folder: Folder, allow_hosts: tuple[str, ...], seed_password: str | None) -> None:
        self.folder = folder
        self._allow = allow_hosts
        self._seed_password = seed_password
        self._scene: Scene | None = None
        self._leave_seconds = 0.0
        self._told = {"ledger": 0, "samples": 0}
        self._trouble: LoadtestError | None = None
        self._leaving = False

    def run(self, host: str, port: int) -> None:
        """Until the master has everything. Raises LoadtestError."""
        self.folder.prepare()
        self._environment = Environment(user_classes=[Member, Regular])
        try:
            self._runner = runner = self._environment.create_worker_runner(host, port)
        except ConnectionError:
            raise LoadtestError(f"no master at {host}:{port}; start it with: loadtest run --master ...") from None
        self._environment.events.user_error.add_listener(self._user_error)  # type: ignore[no-untyped-call]
        for name, listener in (("plan", self._plan), ("addresses", self._addresses), ("over", self._over)):
            runner.register_message(name, listener)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._leave)
        runner.send_message("hello")
        while runner.greenlet and not self._leaving:
            self._tell()
            gevent.sleep(EVERY)
        if self._trouble is None and not self._leaving:
            self._trouble = LoadtestError(f"the master is gone; what was written is in {self.folder.path}")
        self._finish()
        if self._trouble:
            raise self._trouble

    def _plan(self, msg: Any, **_: Any) -> None:
        """Everything is made ready; users come when Locust says so."""
        asked = msg.data
        try:
            if asked["seeded"] and not self._seed_password:
                raise LoadtestError("SEED_PASSWORD is not set here, and it is at the master")
            plan = Plan(users=0, duration=0, rate=asked["rate"], url=asked["urls"][0], allow_hosts=self._allow,
                        mix=asked["mix"], patience=asked["patience"])  # fmt: skip
            plan.save(self.folder)
            addresses = Addresses(None, plan.url, self._allow)
            addresses.use(asked["urls"])
            for one in (Member, Regular):
                one.tasks = mixed(one.tasks, plan.mix)
        except LoadtestError as error:
            self._trouble = error
            self._runner.send_message("refused", {"why": str(error)})
            return
        ledger = Ledger(self.folder.ledger, plan.run)
        memory = Memory(ledger)
        self._leave_seconds = plan.leave_seconds
        Person.network_timeout = plan.patience
        self._live = Live(SampleFile(self.folder.samples), memory)
        self._scene = Person.scene = Scene(
            addresses, ledger, memory, self._live, Pace(plan.rate), self._seed_password, others=True
        )
        self._scene.cohort, self._scene.cohort_share = tuple(asked["cohort"]), asked["cohort_share"]
        self._runner.send_message("ready")

    def _addresses(self, msg: Any, **_: Any) -> None:
        try:
            if self._scene and self._scene.addresses.use(msg.data["urls"]):
                log.info("addresses: %s", " ".join(self._scene.addresses.urls))
        except LoadtestError as error:
            self._trouble = error
            self._leave()

    def _over(self, **_: Any) -> None:
        gevent.spawn(self._leave)

    def _leave(self) -> None:
        self._leaving = True

    def _user_error(self, exception: BaseException, **_: Any) -> None:
        if self._scene:
            self._scene.ledger.error(repr(exception)[:500])

    def _finish(self) -> None:
        """No write is cut off half-way; then the master gets the rest."""
        if self._scene:
            self._scene.over = True
            with gevent.Timeout(self._leave_seconds, False):
                while self._runner.user_count:
                    gevent.sleep(0.05)
        if self._trouble:
            return
        while self._tell():
            pass
        self._runner.send_message("done", dict(self._told))
        with gevent.Timeout(self._leave_seconds, False):
            while self._runner.greenlet:  # the master says quit when it has everything
                gevent.sleep(0.05)

    def _tell(self) -> bool:
        """Send what is new; whether there may be more."""
        if self._scene is None:
            return False
        part: dict[str, Any] = {"live": self._live.status(self._runner.user_count, "running")}
        for name, path in (("ledger", self.folder.ledger), ("samples", self.folder.samples)):
            with path.open("rb") as file:
                file.seek(self._told[name])
                new = file.read(CHUNK)
            part[name] = {"at": self._told[name], "bytes": new}
            self._told[name] += len(new)
        self._runner.send_message("part", part)
        return any(len(part[name]["bytes"]) == CHUNK for name in self._told)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    where, out, *allow_hosts = sys.argv[1:]
    host, _, port = where.rpartition(":")
    worker = Worker(Folder(Path(out)), tuple(allow_hosts), os.environ.get("SEED_PASSWORD") or None)
    try:
        worker.run(host, int(port))
    except LoadtestError as error:
        print(f"loadtest: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
