"""The stages and the steps between them. Each step can be run again: killed half-way, it is taken up where it stood."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from local import probe
from local.errors import LocalError
from local.gateway import Gateway
from local.layout import MODULES, SITES, cluster_name, worker_name
from local.stack import Stack, instance_names
from local.state import State

STAGES = ("0-monolith", "1-gateway", "2-users", "3-topics", "4-messages", "5-microservices")
LAST = len(STAGES) - 1
SETTLE_SECONDS = 30.0
DRAINED_SECONDS = 60.0


def number(word: str) -> int:
    """The stage that `word` means: 3, topics or 3-topics. Raises LocalError."""
    for index, name in enumerate(STAGES):
        if word in (str(index), name, name.partition("-")[2]):
            return index
    raise LocalError(f"there is no stage {word!r}; the stages are {', '.join(STAGES)}")


def modules_at(stage: int) -> list[str]:
    """The modules that services have at a stage."""
    return list(MODULES[: max(0, stage - 1)])


def apps_at(stage: int) -> list[str]:
    return [*(["monolith"] if stage < LAST else []), *modules_at(stage), *(["web"] if stage == LAST else [])]


@dataclass(frozen=True)
class Progress:
    """What has been reached, kept in STATE/stage.json."""

    stage: int = 0
    step: tuple[int, int] | None = None
    """A step that was begun and is not done."""
    clusters: tuple[str, ...] = ()
    """Services whose database is part of a move, and has to run although, going back, the stage may not need it."""


def progress(state: State) -> Progress:
    found = state.read("stage.json")
    step = found.get("step")
    return Progress(found.get("stage", 0), (step[0], step[1]) if step else None, tuple(found.get("clusters", ())))


class Stages:
    """Moves a stack from stage to stage."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._layout = stack.layout
        self._gateway = Gateway(self._layout.url("gateway-admin"))
        self._progress = progress(stack.state)

    @property
    def stage(self) -> int:
        return self._progress.stage

    def _note(self, **changed: Any) -> None:
        self._progress = replace(self._progress, **changed)
        self._stack.state.write("stage.json", asdict(self._progress))

    # --- up ---------------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Bring up what the recorded stage needs; after an interrupted step, what both of its ends need."""
        at = {self.stage, *(self._progress.step or ())}
        fresh = self._stack.open()
        if fresh:
            self._happened(self.stage, "forward", "begin")
        self._stack.start(self._needed(at))
        if max(at) > 0:
            self._route(self.stage)
        self._publish_addresses()
        if fresh:
            self._happened(self.stage, "forward", "done")

    def _happened(self, stage: int, direction: str, state: str) -> None:
        self._stack.state.happened("stage", stage=STAGES[stage], direction=direction, state=state)

    def _needed(self, stages: set[int]) -> set[str]:
        clusters = {"monolith", *self._progress.clusters}
        apps = {app for stage in stages for app in apps_at(stage)}
        names = {"redis", *({"gateway"} if max(stages) > 0 else ())}
        names |= {cluster_name(site) for site in (clusters | apps) & set(SITES)}
        return names.union(*(instance_names(self._layout, app) for app in apps))

    def _publish_addresses(self) -> None:
        at = max(self._progress.step or (self.stage,))
        names = ["gateway"] if at > 0 else self._layout.instances("monolith")
        self._set_addresses(names)

    def _set_addresses(self, names: list[str]) -> None:
        self._stack.state.write("addresses.json", {"public": [self._layout.url(name) for name in names]})

    # --- going ------------------------------------------------------------------------------------------------------

    def go(self, target: int) -> None:
        """Go to a stage, one step at a time. The stack is up (see `up`)."""
        if step := self._progress.step:
            low, high = sorted(step)
            # Every step can be done again from wherever it was, and undone too.
            self._step(*((low, high) if target >= high else (high, low)))
        while self.stage != target:
            here = self.stage
            self._step(here, here + 1 if target > here else here - 1)

    def _step(self, here: int, there: int) -> None:
        direction = "forward" if there > here else "back"
        self._note(step=(here, there))
        self._happened(there, direction, "begin")
        self._stack.say(f"stage {STAGES[there]} ({direction})")
        upper = max(here, there)
        if upper == 1:
            self._gateway_in() if there > here else self._gateway_out()
        elif upper == LAST:
            self._monolith_out() if there > here else self._monolith_in()
        else:
            module = MODULES[upper - 2]
            self._module_out(module, there) if there > here else self._module_back(module, there)
        self._note(stage=there, step=None)
        self._happened(there, direction, "done")

    def compare(self) -> None:
        """Compare both sites of every module on the move. Raises LocalError when they differ."""
        for module in self._progress.clusters:
            self._diff(module)

    # --- 0 <-> 1: the gateway ---------------------------------------------------------------------------------------

    def _gateway_in(self) -> None:
        self._stack.start({"gateway"})
        self._route(1)
        self._wait_through_gateway("gateway")
        self._set_addresses(["gateway"])

    def _gateway_out(self) -> None:
        for module in self._progress.clusters:
            self._undo_move(module)
        self._set_addresses(self._layout.instances("monolith"))
        if not self._gateway.wait_until_quiet("entrypoint", "public"):
            self._stack.say("some clients still use the gateway's address; it goes all the same")
        self._stack.stop({"gateway", *(cluster_name(module) for module in MODULES)})
        self._note(clusters=())

    def _undo_move(self, module: str) -> None:
        if self._stack.kit.move(module, "status")["state"] in ("ready", "switched"):
            self._diff(module)
        self._stack.say(f"{module}: removing replication, putting foreign keys back")
        # The service is stopped, so there is nothing of its own to wait for.
        for warning in self._stack.kit.run("move", module, "cancel", "--grace", "0", "--json").get("warnings", []):
            self._stack.say(warning)

    # --- 1 <-> 2 <-> 3 <-> 4: a module ------------------------------------------------------------------------------

    def _module_out(self, module: str, there: int) -> None:
        self._note(clusters=tuple(sorted({module, *self._progress.clusters})))
        self._stack.say(f"{module}: starting the service and its database")
        self._stack.start({cluster_name(module), *instance_names(self._layout, module)}, gently=True)
        self._wait_through_gateway(f"gateway-{module}")
        self._stack.say(f"{module}: copying, then following the monolith's database")
        self._stack.kit.move(module, "create")
        self._diff(module)
        self._hand_over(module, "switch")
        self._route(there)

    def _module_back(self, module: str, there: int) -> None:
        self._stack.start({cluster_name(module), *instance_names(self._layout, module)}, gently=True)
        if self._stack.kit.move(module, "status")["state"] == "switched":
            self._diff(module)
            self._hand_over(module, "reverse")
        self._route(there)
        self._retire(module)

    def _diff(self, module: str) -> None:
        found = self._stack.kit.move(module, "diff")
        self._stack.say(f"{module}: {found['rows']:,} rows compared at both sites, none differs")

    def _hand_over(self, module: str, verb: str) -> None:
        done = self._stack.kit.move(module, verb)
        if done["pause_ms"] is None:
            self._stack.say(f"{module}: {done['owner']} owns it already")
            return
        what = {name: done[name] for name in ("module", "direction", "epoch", "pause_ms")}
        self._stack.state.happened("switch", **what)
        self._stack.say(f"{module}: {done['owner']} owns it now; writes paused for {done['pause_ms']:.0f} ms")

    # --- 4 <-> 5: the monolith --------------------------------------------------------------------------------------

    def _monolith_out(self) -> None:
        self._stack.say("starting services/web for the pages")
        self._stack.start(instance_names(self._layout, "web"), gently=True)
        self._route(LAST)
        self._retire("monolith")

    def _monolith_in(self) -> None:
        self._stack.say("starting the monolith again")
        self._stack.start(instance_names(self._layout, "monolith"), gently=True)
        self._wait_through_gateway("gateway-monolith")
        self._route(LAST - 1)
        self._retire("web")

    def _retire(self, app: str) -> None:
        """Stop an application that no route leads to any more; its worker when its outbox is empty."""
        if not self._gateway.wait_until_quiet("service", app):
            raise LocalError(f"requests still come to {app} although no route leads there; look at `status`", 1)
        self._stack.stop(self._layout.instances(app))
        if app in SITES:
            self._stack.say(f"{app}: waiting until its last events are out")
            self._wait_drained(app)
            self._stack.stop([worker_name(app)])
        self._stack.say(f"{app} is stopped")

    def _wait_drained(self, site: str) -> None:
        def drained() -> bool:
            return self._stack.module(site, "worker", "--drained").returncode == 0

        if not probe.wait_for(drained, DRAINED_SECONDS):
            raise LocalError(f"the outbox of {site} does not drain; see {self._stack.last_words(worker_name(site))}", 1)

    # --- routes -----------------------------------------------------------------------------------------------------

    def _route(self, stage: int) -> None:
        """Tell the gateway a stage's routes and wait until it follows them."""
        default = "web" if stage == LAST else "monolith"
        words = [f"{module}={module}" for module in modules_at(stage)]
        table = self._stack.kit.run("route", *words, "--default", default, "--json")
        if not probe.wait_for(lambda: self._gateway.routes() == table, SETTLE_SECONDS):
            raise LocalError(f"the gateway does not take its routes; see {self._stack.last_words('gateway')}", 1)

    def _wait_through_gateway(self, name: str) -> None:
        if not probe.wait_for(lambda: probe.is_ready(self._layout.url(name)), SETTLE_SECONDS):
            raise LocalError(f"nothing ready behind {self._layout.url(name)} ({name}); look at `status`", 1)
