"""Rollouts on the local stack: processes behind its Traefik, which is told by its Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace as changed
from pathlib import Path

from loadtest.rollouts import routes
from loadtest.rollouts.figures import Figures, of_comparer, of_gateway, total
from loadtest.rollouts.target import NEW, OLD, REPLICAS, SITE, Order, Route
from local import orphans, ports, probe
from local.cli import take_down
from local.errors import LocalError
from local.layout import Program
from local.stack import Stack
from local.stages import Stages
from local.state import State
from local.supervisor import Supervisor
from strangler import routes as published

STAGE = 3
READY_SECONDS = 30.0
"""A good one takes 3 s on an idle machine, and more than 15 s on one that has ten times its work to do."""
MONITOR_SECONDS = 5.0
"""How long after its start the end of an instance still counts against its version."""
NEW_NAMES = [f"{SITE}-new-{number}" for number in range(1, REPLICAS + 1)]
COMPARER = f"{SITE}-comparer"
PACKAGE = "loadtest.rollouts"

Say = Callable[[str], None]


@contextmanager
def local(folder: Path, say: Say, ready_seconds: float = READY_SECONDS) -> Iterator[Local]:
    """A stack of its own in `folder`, at the stage where topics are a service; nothing of it is left at the end."""
    from local.state import locate

    state = locate(folder / "state")
    with state.lock():
        take_down(state, purge=True)  # what a run that was killed has left
    with state.lock():
        try:
            yield Local(state, say, ready_seconds)
        finally:
            take_down(state, purge=True)


class Local:
    name = "local"

    def __init__(self, state: State, say: Say, ready_seconds: float) -> None:
        self._ready_seconds = ready_seconds
        self.stack = Stack(state, say)
        stages = Stages(self.stack)
        stages.up()
        stages.go(STAGE)
        self._supervisor = self.stack.supervisor
        self._layout = self.stack.layout
        self._layout.ports |= ports.choose([*NEW_NAMES, COMPARER], self._layout.ports.values())
        self.where = ["--addresses", str(state.addresses)]
        self.timeline = state.timeline
        self._old = self._layout.instances(SITE)
        with self.stack.redis() as redis:
            self._base = published.stored(redis)
        self._new: list[str] = []
        self._version = "good"
        self._mirrored = False

    # --- the target -------------------------------------------------------------------------------------------------

    def reset(self, version: str) -> None:
        self._version = version
        self._begin(self._old)
        if not self._all_ready(self._old):
            raise LocalError(f"the old version does not answer: {self.stack.last_words(self._old[0])}", 1)
        self._publish(Route())
        self.withdraw()

    def start(self, replicas: int) -> None:
        self._new = NEW_NAMES[:replicas]
        self._begin(self._new)

    def ready(self) -> bool:
        return self._all_ready(self._new)

    def mirror(self) -> None:
        self._begin([COMPARER])
        if not self._all_ready([COMPARER]):
            raise LocalError(f"the comparer does not answer: {self.stack.last_words(COMPARER)}", 1)

    def route(self, route: Route) -> None:
        self._publish(route)

    def replace(self, order: Order) -> bool:
        pairs = list(zip(self._old, NEW_NAMES, strict=True))
        batches = [pairs] if order == "all-at-once" else [[pair] for pair in pairs]
        serving = list(self._old)
        for batch in batches:
            old, new = [pair[0] for pair in batch], [pair[1] for pair in batch]
            serving = [*new, *(name for name in serving if name not in old)]
            if order == "all-at-once":
                self._supervisor.stop(old)
            self._begin(new)
            pids = self._pids(new)
            if not self._all_ready(new):
                return self._undo()
            self._publish(Route(), serving)
            if order == "one-by-one":
                self._supervisor.stop(old)
            if probe.wait_for(lambda: self._pids(new) != pids, MONITOR_SECONDS, pause=0.2):  # noqa: B023
                return self._undo()
        return True

    def _undo(self) -> bool:
        self._begin(self._old)
        self._all_ready(self._old)
        self._publish(Route())
        self.withdraw()
        return False

    def retire(self) -> None:
        self._supervisor.stop(self._old)

    def withdraw(self) -> None:
        self._supervisor.stop([*NEW_NAMES, COMPARER])
        self._new = []
        self._mirrored = False

    def figures(self) -> tuple[Figures, Figures]:
        memory = [max(self._memory(names), default=None) for names in (self._old, self._new)]
        if self._mirrored:
            text = _metrics(self._layout.url(COMPARER))
            return of_comparer(text, "old", memory[0]), of_comparer(text, "new", memory[1])
        text = self._gateway_metrics()
        found = [of_gateway(text, f"{name}@redis") for name in (SITE, routes.NEW_SERVICE)]
        return changed(found[0], memory=memory[0]), changed(found[1], memory=memory[1])

    def running(self) -> dict[str, int]:
        up = Supervisor(self.stack.state).running()
        return {OLD: len(up & set(self._old)), NEW: len(up & {*NEW_NAMES, COMPARER})}

    # --- processes --------------------------------------------------------------------------------------------------

    def _programs(self) -> dict[str, Program]:
        """The stack's, with those of the new version and the comparer beside them."""
        programs = self._layout.programs()
        faulty = {} if self._version == "good" else {
            "FAULT": self._version, "FAULTY_APP": f"services.{SITE}.app:create_app()",
        }  # fmt: skip
        for name in NEW_NAMES:
            program = self._layout.gunicorn(SITE, name, f"{PACKAGE}.faulty:create_app()" if faulty else None)
            environment = {"VERSION": NEW, "SHOW_EDITED": "true", **faulty}
            programs[name] = changed(program, environment={**program.environment, **environment})
        program = self._layout.gunicorn(SITE, COMPARER, f"{PACKAGE}.compare:app")
        asked = {"OLD": self._layout.url(self._old[0]), "NEW": self._layout.url(NEW_NAMES[0]), "DRAIN_SECONDS": "0"}
        programs[COMPARER] = changed(program, environment={**program.environment, **asked})
        return programs

    def _begin(self, names: Sequence[str]) -> None:
        programs = self._programs()
        self._supervisor.apply(programs)
        for name in set(names) - self._supervisor.running():
            self._layout.require_free(programs[name])
            self._supervisor.run(name)

    def _all_ready(self, names: Sequence[str]) -> bool:
        return probe.wait_for(
            lambda: all(probe.is_ready(self._layout.url(name)) for name in names), self._ready_seconds, pause=0.2
        )

    def _pids(self, names: Sequence[str]) -> list[int]:
        return [self._supervisor.info(name)["pid"] for name in names]

    def _memory(self, names: Sequence[str]) -> list[int]:
        return [orphans.memory(pid) for pid in self._pids(names) if pid]

    # --- the gateway ------------------------------------------------------------------------------------------------

    def _publish(self, route: Route, serving: Sequence[str] | None = None) -> None:
        before = self._reloads()
        found = routes.keys(
            self._base, route, [self._layout.url(name) for name in self._new], self._layout.url(COMPARER),
            None if serving is None else [self._layout.url(name) for name in serving],
        )  # fmt: skip
        self._mirrored = route.mirrored
        with self.stack.redis() as redis:
            changes, gone = published.outdated(redis, found)
            published.publish(redis, found, names=routes.names(self._base))
        if (changes or gone) and not probe.wait_for(lambda: self._reloads() > before, 10):
            raise LocalError(f"the gateway does not take its routes; see {self.stack.last_words('gateway')}", 1)

    def _reloads(self) -> float:
        return total(self._gateway_metrics(), "traefik_config_reloads_total")

    def _gateway_metrics(self) -> str:
        return _metrics(self._layout.url("gateway-admin"))


def _metrics(url: str) -> str:
    for _ in range(20):
        answer = probe.get(f"{url}/metrics", timeout=5)
        if answer is not None and answer[0] == 200:
            return answer[1].decode()
        time.sleep(0.2)
    raise LocalError(f"{url}/metrics does not answer", 1)
