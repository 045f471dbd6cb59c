"""The stack as a whole: brought up, looked at, taken down."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import redis

from local import databases, orphans, probe
from local.errors import LocalError
from local.kit import Kit
from local.layout import APPS, SITES, Layout, cluster_name, package, worker_name, write_environment
from local.state import CHECKOUT, MARKER, State
from local.supervisor import DOWN, Supervisor

START_SECONDS = 60.0
STORES = {"redis", *(cluster_name(site) for site in SITES)}
"""What has to answer before anything else can start."""

Say = Callable[[str], None]


class Stack:
    """One stack. The caller holds the state's lock. `say` is told, in short lines, what happens."""

    def __init__(self, state: State, say: Say) -> None:
        self.state = state
        self.say = say
        self.layout = Layout(state)
        self.supervisor = Supervisor(state)
        self.kit = Kit(self.layout, say)

    # --- up ---------------------------------------------------------------------------------------------------------

    def open(self) -> bool:
        """Have the supervisor running and the configuration written; what a killed stack left behind is ended first.

        Returns whether the supervisor had to be started.
        """
        if self.supervisor.answers():
            orphans.end(self.state, spare=self.supervisor.pid())  # what a killed command had begun
            self._write()
            self.supervisor.apply(self.layout.programs())
            return False
        if ended := orphans.end(self.state):
            self.say(f"ended {ended} processes of a stack that was killed")
        for moved in self.layout.check_ports():
            self.say(moved)
        self._write()
        self.supervisor.start(self.layout.programs())
        return True

    def _write(self) -> None:
        self.layout.write_redis()
        self.layout.write_gateway()
        write_environment(self.layout)

    def start(self, names: Iterable[str], gently: bool = False) -> None:
        """Start programs and wait until each answers: stores, then migrations, then what uses them.

        gently: one after another, so that those who serve meanwhile keep their share of the machine. Programs that run
        already are left alone.
        """
        wanted = set(names)
        stores = wanted & STORES
        self._start_together(stores)
        running = self.supervisor.running()
        apps = [
            site for site in SITES if wanted & (served := set(self.layout.instances(site))) and not served & running
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.migrate, apps))
        rest = wanted - stores
        for batch in [{name} for name in sorted(rest)] if gently else [rest]:
            self._start_together(batch)

    def _start_together(self, names: set[str]) -> None:
        fresh = names - self.supervisor.running()
        programs = self.layout.programs()
        for name in fresh:
            self.layout.require_free(programs[name])
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._begin, fresh))
        self.wait_ready(names)

    def _begin(self, name: str) -> None:
        if name.startswith("postgres-"):
            self.layout.cluster(name.removeprefix("postgres-")).init()
        self.supervisor.run(name)

    def migrate(self, site: str) -> None:
        """Bring a site's database to its newest schema."""
        databases.prepare(self.layout.cluster(site), site, self.layout.secret("postgres-forum"))
        done = self.module(site, "migrate")
        if done.returncode:
            last = done.stdout.strip().splitlines()[-1:]
            raise LocalError(f"cannot migrate {site}: {' '.join(last) or f'exit code {done.returncode}'}", 1)

    def module(self, site: str, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a site's `python -m PACKAGE.NAME WORDS` with its environment."""
        return subprocess.run(  # noqa: S603
            ["nice", sys.executable, "-m", f"{package(site)}.{name}", *words],  # noqa: S607
            env=self.environment(site), cwd=CHECKOUT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            start_new_session=True,
        )  # fmt: skip

    def environment(self, site: str) -> dict[str, str]:
        return os.environ | self.layout.site_environment(site) | {MARKER: str(self.state.root)}

    # --- waiting ----------------------------------------------------------------------------------------------------

    def wait_ready(self, names: Iterable[str]) -> None:
        """Raises LocalError, with the last line of its log, for a program that ended or does not answer in time."""
        for name in sorted(names):
            gone = False

            def done(name: str = name) -> bool:
                nonlocal gone
                gone = self.supervisor.info(name)["statename"] in DOWN
                return gone or self.is_ready(name)

            if not probe.wait_for(done, START_SECONDS) or gone:
                raise LocalError(f"{name} {'ended' if gone else 'does not answer'}: {self.last_words(name)}", 1)

    def is_ready(self, name: str) -> bool:
        if name.startswith("postgres-"):
            return databases.answers(self.layout.cluster(name.removeprefix("postgres-")))
        if name == "redis":
            return self._redis_answers()
        if name == "gateway":
            answer = probe.get(f"{self.layout.url('gateway-admin')}/ping")
            return answer is not None and answer[0] == 200
        if name == "picture":
            return probe.get(f"{self.layout.url(name)}/livez") is not None
        if name.endswith("-worker"):
            return bool(self.supervisor.info(name)["statename"] == "RUNNING")
        return probe.is_ready(self.layout.url(name))

    def _redis_answers(self) -> bool:
        try:
            with self.redis() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.layout.redis_url, socket_timeout=2, socket_connect_timeout=1)

    def last_words(self, name: str) -> str:
        log = self.state.logs / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return f"{lines[-1].strip() if lines else 'nothing in its log'} ({log})"

    def memory(self) -> int:
        """Bytes of memory of the whole stack (PSS)."""
        return orphans.memory(self.supervisor.pid())

    # --- down -------------------------------------------------------------------------------------------------------

    def stop(self, names: Iterable[str]) -> None:
        self.supervisor.stop(names)

    def down(self) -> None:
        """End everything that the supervisor runs, in bounded time."""
        if self.supervisor.answers():
            running = self.supervisor.running()
            servers = {name for app in APPS for name in self.layout.instances(app)}
            self.supervisor.stop(running - STORES, servers)
            self.supervisor.stop(STORES)
            self.supervisor.shutdown()


def instance_names(layout: Layout, site: str) -> set[str]:
    """The processes that serve and work for a site: what starts and stops together."""
    names = set(layout.instances(site))
    return names | {worker_name(site)} if site in SITES else names
