"""Going to a stage of strangler.toml, from wherever the databases are: what an orchestrator runs beside the services.

Nothing is remembered outside the databases and the gateway's store, so a journey that was killed, started twice or
turned round half-way is simply made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psycopg
import urllib3

from strangler import routes
from strangler.cancel import GRACE_SECONDS
from strangler.config import Config, Module, Stage
from strangler.diff import Diff
from strangler.errors import AwayError, NotYetError, StranglerError
from strangler.handover import Handover
from strangler.move import Move
from strangler.status import status

T = TypeVar("T")
Passing = tuple[type[Exception], ...]
GONE: Passing = (AwayError, psycopg.OperationalError)

PAUSE_SECONDS = 1.0
WATCH_SECONDS = 5.0


class Journey:
    """To `stage`. `seconds` bounds each wait for something that is not there yet: a database, its tables, a service."""

    def __init__(self, config: Config, stage: Stage, say: Callable[[str], None], seconds: float = 300.0) -> None:
        self._config, self._stage, self._say, self._seconds = config, stage, say, seconds
        self._http = urllib3.PoolManager(timeout=3.0, retries=False)
        self._on_the_way = set(config.sites)

    def go(self) -> None:
        """Do what is left to do. Raises NotYetError when what it waits for does not come, or copies differ."""
        modules = list(self._config.modules.values())
        # Who is waited for must be reached, so entrances come first; the public still goes where it went.
        ends = {module.target for module in modules if self._is_moved(module)} | {module.source for module in modules}
        self._on_the_way = self._needed() | ends
        self._offer()
        for module in reversed(modules):
            if module.name not in self._stage.moved:
                self._back(module)
        # Routes back go out before anything is cancelled, routes forward after each switch: never to a stranger.
        self._route([module.name for module in modules if module.name in self._stage.moved and self._is_moved(module)])
        for module in modules:
            if module.name in self._stage.moved:
                self._forward(module)
        self._route(self._stage.moved, arrived=True)
        if self._stage.cancel:
            for module in reversed(modules):
                self._cancel(module)
        self._say("reached")

    def stay(self, reached: Path | None = None) -> None:
        """Keep the gateway's routes at the stage for ever, also when its store has lost them.

        The file `reached` is there as long as the stage is: for who asks often and should not start a Python each time.
        """
        before: list[str] = []
        while True:
            try:
                if self._config.gateway is not None:
                    self._publish(self._stage.moved, arrived=True)
                missing = self.missing()
            except (StranglerError, psycopg.Error) as error:
                missing = [str(error)]
            for what in set(missing) - set(before):
                self._say(what)
            before = missing
            if reached is not None:
                reached.unlink(missing_ok=True) if missing else reached.touch()
            time.sleep(WATCH_SECONDS)

    def missing(self) -> list[str]:
        """What is not as the stage has it; empty when it is reached. Waits for nothing."""
        found = []
        at = self._at(self._stage.moved)
        for module in self._config.modules.values():
            owner = self._owner(module)
            if owner != at[module.name]:
                found.append(f"{module.name} is owned by {owner}, not by {at[module.name]}")
            elif self._stage.cancel and self._exists(module):
                found.append(f"{module.name} is still replicated")
        if self._config.gateway:
            keys = self._keys(self._stage.moved, arrived=True)
            if any(routes.outdated(routes.connect(self._config), keys, routes.root(self._config))):
                found.append("the gateway has other routes")
        return found

    # --- one module -------------------------------------------------------------------------------------------------

    def _forward(self, module: Module) -> None:
        if self._is_moved(module):
            return
        self._say(f"{module.name}: waiting for {module.target}")
        self._until(f"{module.target} to be ready", lambda: self._ready(module.target))
        done = self._with_move(module, self._over)
        self._say(f"{module.name}: owned by {done.owner}, epoch {done.epoch}; writes paused for {done.pause_ms} ms")
        self._route(
            [name for name in self._stage.moved if name == module.name or self._is_moved(self._config.module(name))]
        )

    def _over(self, move: Move) -> Handover:
        module = move.module
        self._say(f"{module.name}: copying from {module.source} to {module.target}")
        self._until("the tables to be there", move.create, passing=(NotYetError,))
        for one in Diff(move).run():
            raise NotYetError(f"the copies differ, first {one.table} {one.key}; see `diff`, and `diff --repair`")
        self._say(f"{module.name}: both copies are equal")
        return move.switch()

    def _back(self, module: Module) -> None:
        if not self._is_moved(module):
            return
        self._say(f"{module.name}: waiting for {module.source}")
        self._until(f"{module.source} to be ready", lambda: self._ready(module.source))
        done = self._with_move(module, Move.reverse)
        self._say(
            f"{module.name}: owned by {done.owner} again, epoch {done.epoch}; writes paused for {done.pause_ms} ms"
        )

    def _cancel(self, module: Module) -> None:
        if not self._exists(module):
            return
        for warning in self._with_move(module, self._undo):
            self._say(warning)
        self._say(f"{module.name}: no replication any more")

    @staticmethod
    def _undo(move: Move) -> list[str]:
        if status(move)["state"] == "ready":
            for one in Diff(move).run():
                raise NotYetError(f"the copies differ, first {one.table} {one.key}; look at `diff` before you cancel")
        return move.cancel(GRACE_SECONDS)

    # --- looking ----------------------------------------------------------------------------------------------------

    def _owner(self, module: Module) -> str:
        """As the source has it; which is the truth, or about to be."""
        with self._connect(module.source) as connection:
            if not connection.execute("SELECT to_regclass('strangler.ownership')").fetchone()[0]:  # type: ignore[index]
                return module.source
            row = connection.execute(
                "SELECT owner FROM strangler.ownership WHERE module = %s", [module.name]
            ).fetchone()
        return str(row[0]) if row else module.source

    def _is_moved(self, module: Module) -> bool:
        return self._until(f"the database of {module.source}", lambda: self._owner(module)) == module.target

    def _exists(self, module: Module) -> bool:
        with self._connect(module.source) as connection:
            row = connection.execute("SELECT to_regclass('strangler.ownership') IS NOT NULL").fetchone()
            return bool(row and row[0]) and bool(
                connection.execute("SELECT FROM strangler.ownership WHERE module = %s", [module.name]).rowcount
            )

    def _connect(self, site: str) -> psycopg.Connection[tuple[object, ...]]:
        try:
            return psycopg.connect(
                self._config.sites[site].dsn, autocommit=True, connect_timeout=5, application_name="strangler"
            )
        except psycopg.OperationalError as error:
            raise AwayError(f"cannot reach the database of {site}: {str(error).strip().splitlines()[-1]}") from None

    def _ready(self, site: str) -> bool:
        try:
            return self._http.request("GET", f"{self._config.sites[site].url}/readyz").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    # --- waiting ----------------------------------------------------------------------------------------------------

    def _patient_move(self, module: Module) -> Move:
        """A move whose databases may not be up yet, or which another controller is still at."""
        return self._until(f"the databases of {module.name}", lambda: Move(self._config, module.name))

    def _with_move(self, module: Module, work: Callable[[Move], T]) -> T:
        """What `work` answers; begun anew, with new connections, when a database went away meanwhile."""

        def attempt() -> T:
            with self._patient_move(module) as move:
                return work(move)

        return self._until(f"the databases of {module.name}", attempt, passing=GONE)

    def _until(self, what: str, ask: Callable[[], T], passing: Passing = (*GONE, NotYetError)) -> T:
        """What `ask` answers, as soon as it is not False and raises nothing that is `passing`."""
        deadline = time.monotonic() + self._seconds
        reason, attempts = "", 0
        while True:
            try:
                if (answer := ask()) is not False:
                    return answer
            except passing as error:
                reason = f" ({' '.join(str(error).split())})"
            if time.monotonic() > deadline:
                raise NotYetError(f"waited {self._seconds:.0f} s for {what}{reason}; run this again")
            if attempts % 10 == 0:
                self._say(f"waiting for {what}{reason}")
            attempts += 1
            time.sleep(PAUSE_SECONDS)

    # --- the gateway ------------------------------------------------------------------------------------------------

    def _keys(self, moved: list[str], arrived: bool = False) -> dict[str, str]:
        """On arrival there are no entrances but those that something leads to."""
        # A module on its way to a stage whose default is another application still goes to its source.
        elsewhere = {name: site for name, site in self._at(moved).items() if site != self._stage.default}
        table = routes.table(self._config, elsewhere, self._stage.default)
        sites = self._needed() if arrived else self._on_the_way
        return routes.keys(self._config, table, routes.root(self._config), sites, self._stage.spare)

    def _needed(self) -> set[str]:
        """The sites that something leads to at the stage."""
        return {*self._at(self._stage.moved).values(), self._stage.default, self._stage.spare or self._stage.default}

    def _at(self, moved: list[str]) -> dict[str, str]:
        """Module -> the site that has it, when those have moved."""
        modules = self._config.modules.values()
        return {module.name: module.target if module.name in moved else module.source for module in modules}

    def _offer(self) -> None:
        if self._config.gateway is None:
            return
        root = routes.root(self._config)
        entrances, names = routes.keys(self._config, {}, root, self._on_the_way), routes.names(self._config, root)
        self._until("the gateway's store", lambda: routes.offer(routes.connect(self._config), entrances, root, names))

    def _publish(self, moved: list[str], arrived: bool = False) -> None:
        root = routes.root(self._config)
        keys, names = self._keys(moved, arrived), routes.names(self._config, root)
        routes.publish(routes.connect(self._config), keys, root, names)

    def _route(self, moved: list[str], arrived: bool = False) -> None:
        if self._config.gateway is None:
            return
        self._until("the gateway's store", lambda: self._publish(moved, arrived))
