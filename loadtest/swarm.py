"""The process that makes the load (`python -m loadtest.swarm DIR`). Importing Locust patches the standard library for
gevent, so that it lives in a process of its own and the command beside it stays an ordinary program.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.exception import RPCError
from locust.stats import stats_history
from locust.user import User

from loadtest.errors import LoadtestError
from loadtest.freshness import Memory
from loadtest.ledger import Ledger
from loadtest.live import Live, write_live
from loadtest.master import Master
from loadtest.mix import mixed
from loadtest.pace import Pace
from loadtest.plan import Folder, Plan
from loadtest.samples import SampleFile
from loadtest.scene import Scene
from loadtest.users import Member, Person, Regular
from loadtest.web import show

# Users are let in one by one: each costs the server two Argon2 hashes.
ARRIVALS_PER_SECOND = 4.0
log = logging.getLogger("loadtest")


class Swarm:
    """One load from its first user to its last."""

    def __init__(self, folder: Folder, plan: Plan, seed_password: str | None) -> None:
        self.folder = folder
        self.plan = plan
        self.ledger = Ledger(folder.ledger, plan.run)
        self.samples = SampleFile(folder.samples)
        memory = Memory(self.ledger)
        self.live = Live(self.samples, memory)
        self.addresses = plan.where()
        self.scene = Scene(self.addresses, self.ledger, memory, self.live, Pace(plan.rate), seed_password)
        self.scene.cohort, self.scene.cohort_share = plan.cohort, plan.cohort_share
        self.trouble: LoadtestError | None = None
        self.master = Master(folder, plan, self.ledger, bool(seed_password)) if plan.master else None

    def run(self) -> None:
        Person.scene, Person.network_timeout = self.scene, self.plan.patience
        regulars = max(1, self.plan.users // 8) if self.scene.seed_password and self.plan.users > 1 else 0
        Regular.fixed_count = regulars
        classes: list[type[User]] = [Member, Regular] if regulars else [Member]
        for one in classes:
            one.tasks = mixed(one.tasks, self.plan.mix)
        environment = Environment(
            user_classes=classes, host=self.addresses.urls[0], stop_timeout=self.plan.leave_seconds
        )
        environment.events.user_error.add_listener(self._user_error)  # type: ignore[no-untyped-call]
        runner = self._runner(environment)
        helpers = [gevent.spawn(self._watch_addresses), gevent.spawn(self._watch_parent)]
        if self.plan.web:
            show(environment, self.plan.web, lambda: self._status(runner.user_count, "running"))
            helpers.append(gevent.spawn(stats_history, runner))
        tell = gevent.spawn(self._tell, runner)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._end)
        runner.start(self.plan.users, spawn_rate=ARRIVALS_PER_SECOND)
        with gevent.Timeout(self.plan.duration, False):
            while not self.scene.over and not (self.master and self.master.lost):
                gevent.sleep(0.05)
        self._end()
        log.info("stopping: waiting for %d users to finish what they do", runner.user_count)
        if self.master:
            self.master.finish()
        else:
            with gevent.Timeout(self.plan.leave_seconds, False):
                while runner.user_count:
                    gevent.sleep(0.05)
            runner.quit()
        gevent.killall([*helpers, tell])
        self._show(0, "checking")
        if self.trouble:
            raise self.trouble

    def _end(self) -> None:
        self.scene.over = True

    def _runner(self, environment: Environment) -> Any:
        if self.master is None:
            return environment.create_local_runner()
        host, _, port = str(self.plan.master).rpartition(":")
        try:
            runner = environment.create_master_runner(host, int(port))
        except (OSError, RPCError, SystemExit):
            raise LoadtestError(f"--master {self.plan.master}: cannot listen there; choose another port") from None
        self.master.gather(runner, self.addresses.urls)
        return runner

    def _status(self, users: int, state: str) -> dict[str, Any]:
        return self.master.status(state) if self.master else self.live.status(users, state)

    def _show(self, users: int, state: str) -> None:
        write_live(self.folder.live, self._status(users, state))

    def _user_error(self, exception: BaseException, **_: Any) -> None:
        self.ledger.error(repr(exception)[:500])

    def _watch_addresses(self) -> None:
        while True:
            try:
                if self.addresses.refresh():
                    log.info("addresses: %s", " ".join(self.addresses.urls))
                    if self.master:
                        self.master.point_to(self.addresses.urls)
            except LoadtestError as error:
                self.trouble = error
                self._end()
                return
            gevent.sleep(0.1)

    def _watch_parent(self) -> None:
        """Nobody to report to: then no load either."""
        parent = os.getppid()
        while os.getppid() == parent:
            gevent.sleep(0.5)
        self._end()

    def _tell(self, runner: Any) -> None:
        following = time.monotonic()
        while True:
            self._show(runner.user_count, "running")
            following += 1
            gevent.sleep(max(0.0, following - time.monotonic()))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    folder = Folder(Path(sys.argv[1]))
    try:
        Swarm(folder, Plan.load(folder), os.environ.get("SEED_PASSWORD") or None).run()
    except LoadtestError as error:
        log.error("%s", error)
        sys.exit(2)


if __name__ == "__main__":
    main()
