"""Rollouts on Docker Swarm: a stack of its own at stage 3, whose updates Swarm makes and watches itself.

The images are those of `docker buildx bake`. A version with a fault is the same image with `faulty.py` put beside the
application; what compares two versions is the same image with `compare.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import yaml

from loadtest.rollouts import routes
from loadtest.rollouts.figures import Figures, of_comparer, of_gateway, total
from loadtest.rollouts.target import NEW, OLD, REPLICAS, SITE, Order, Route
from local import ports, probe
from local.errors import LocalError
from local.state import CHECKOUT
from strangler import routes as published

STAGE = "3-topics"
LABEL = "forum.rollout.version"
DRAIN_SECONDS = 2
READY_SECONDS = 30.0
MONITOR = "10s"
"""How long after its start the end of an instance still counts. With 5 s one that crashed at its eleventh request, on a
busy machine, was found good."""
STAGE_SECONDS, GONE_SECONDS, UPDATE_SECONDS = 600.0, 60.0, 150.0
HEALTH = {"interval": "2s", "start_period": "16s", "retries": 2, "timeout": "4s"}
"""Never ready is known after 20 s."""
PATIENT = {"timeout": "30s", "retries": 10}
AROUND = {
    "services": {
        **{name: {"healthcheck": PATIENT} for name in ("gateway", "redis", "monolith-db", "users-db", "topics-db")},
        **{name: {"healthcheck": PATIENT, "deploy": {"replicas": 1}} for name in ("monolith", "users")},
    },
}
"""What is not measured is small, and not started anew because the machine is busy."""
METRICS = "import urllib.request as u; print(u.urlopen('http://{}/metrics').read().decode())"
HERE = Path(__file__).parent

Say = Callable[[str], None]


def docker(*words: str, env: Mapping[str, str] | None = None, said: str | None = None, seconds: float = 120) -> str:
    """What `docker WORDS` prints. Raises LocalError with its last line when it fails."""
    try:
        done = subprocess.run(  # noqa: S603
            ["docker", *words], env=env, cwd=CHECKOUT, input=said or "", capture_output=True, text=True,  # noqa: S607
            timeout=seconds, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise LocalError("there is no docker here; install it, or say TARGET=local") from None
    except subprocess.TimeoutExpired:
        raise LocalError(f"`docker {words[0]}` takes more than {seconds:.0f} s", 1) from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise LocalError(f"`docker {' '.join(words[:2])}` failed: {' '.join(last)}", 1)
    return done.stdout.strip()


@contextmanager
def swarm(out: Path, say: Say) -> Iterator[Swarm]:
    """The stack, from nothing; removed at the end, and before, if a run that was killed left one."""
    try:
        state = docker("info", "--format", "{{.Swarm.LocalNodeState}}")
    except LocalError as error:
        raise LocalError(f"no Docker engine answers ({error}); start one, or say TARGET=local") from None
    if state != "active":
        raise LocalError("this engine is in no swarm; first: docker swarm init (or say TARGET=local)")
    tag = os.environ.get("TAG", "dev")
    for app in ("kit", "monolith", "users", "topics"):
        image = f"{os.environ.get('IMAGES', 'forum')}-{app}:{tag}"
        if not docker("image", "ls", "--quiet", image):
            raise LocalError(
                f"there is no image {image}; first: {'' if tag == 'dev' else f'TAG={tag} '}docker buildx bake"
            )
    name = f"rollouts-{hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:8]}"
    remove(name)
    try:
        yield Swarm(name, tag, out, say)
    finally:
        say("taking the stack down")
        remove(name)


class Swarm:
    name = "swarm"

    def __init__(self, name: str, tag: str, out: Path, say: Say) -> None:
        self._stack, self._out = name, out
        port = ports.choose(["gateway", "monolith"])
        self._env = os.environ | {
            "STACK": name, "TAG": tag, "GATEWAY_PORT": str(port["gateway"]), "MONOLITH_PORT": str(port["monolith"]),
        }  # fmt: skip
        self.where = ["--url", f"http://127.0.0.1:{port['gateway']}"]
        self.timeline = out / "timeline.jsonl"
        self.timeline.unlink(missing_ok=True)
        self._file: dict[str, Any] = yaml.safe_load((CHECKOUT / "swarm" / f"{STAGE}.yaml").read_text())
        self._memory_seen: tuple[float, dict[str, float]] = (0.0, {})
        self._mirrored = False
        self._new = 0
        self._beside: set[str] = set()
        done = subprocess.run(  # noqa: S603
            [CHECKOUT / "swarm" / "secrets.sh"], cwd=CHECKOUT, env=self._env, capture_output=True, check=False
        )
        if done.returncode:
            raise LocalError(f"swarm/secrets.sh failed: {done.stderr.decode().strip()}", 1)
        say(f"stack {name}: deploying {STAGE}")
        files = ["-c", f"swarm/{STAGE}.yaml", "-c", str(self._write("around.json", AROUND))]
        docker("stack", "deploy", "--resolve-image", "never", *files, name, env=self._env)
        self._until(lambda: bool(self._containers("kit", "health=healthy")), f"{STAGE} to be reached", STAGE_SECONDS)
        # It would put the stage's routes back.
        docker("service", "scale", "--detach=true", f"{name}_kit=0")
        say("reached; version 1 as the rollouts begin with it")
        self._base = {key: value for key, value in self._routes().items() if value}
        self.reset("good")

    # --- the target -------------------------------------------------------------------------------------------------

    def reset(self, version: str) -> None:
        self._version = version
        if not self._is_old():
            self._deploy({SITE: self._service(OLD, {"order": "start-first", "parallelism": REPLICAS, "monitor": "1s"})})
            self._until(self._is_old, "version 1 to serve", UPDATE_SECONDS)
        self._publish(Route())
        self.withdraw()

    def start(self, replicas: int) -> None:
        self._deploy({routes.NEW_SERVICE: self._service(NEW, {}, replicas)})
        self._beside.add(routes.NEW_SERVICE)
        self._new = replicas

    def ready(self) -> bool:
        return probe.wait_for(lambda: self._up(NEW, "health=healthy") >= self._new, READY_SECONDS, pause=0.5)

    def mirror(self) -> None:
        self._deploy({routes.COMPARER: self._comparer()})
        self._beside.add(routes.COMPARER)
        self._until(lambda: bool(self._containers(routes.COMPARER, "health=healthy")), "the comparer", READY_SECONDS)

    def route(self, route: Route) -> None:
        self._publish(route)

    def replace(self, order: Order) -> bool:
        update = (
            {"order": "stop-first", "parallelism": 0} if order == "all-at-once"
            else {"order": "start-first", "parallelism": 1}
        )  # fmt: skip
        before = self._update().get("StartedAt")
        self._deploy({SITE: self._service(NEW, update | {"monitor": MONITOR, "failure_action": "rollback"})})
        over = ("completed", "rollback_completed", "rollback_paused", "paused")
        self._until(
            lambda: self._update().get("StartedAt") != before and self._update().get("State") in over,
            "Swarm to finish the update", UPDATE_SECONDS,
        )  # fmt: skip
        return self._update().get("State") == "completed"

    def retire(self) -> None:
        self._scale(SITE, 0)
        self._until(lambda: not self._up(OLD), "version 1 to end", GONE_SECONDS)

    def withdraw(self) -> None:
        for service in self._beside:
            self._scale(service, 0)
        self._beside.clear()
        self._new = 0
        self._until(lambda: not self._up(NEW), "version 2 to end", GONE_SECONDS)

    def figures(self) -> tuple[Figures, Figures]:
        memory = self._memory()
        if self._mirrored:
            found = self._ask(routes.COMPARER, "python", "-c", METRICS.format("127.0.0.1:8000"))
            return of_comparer(found, "old", memory.get(SITE)), of_comparer(
                found, "new", memory.get(routes.NEW_SERVICE)
            )
        text = self._gateway_metrics()
        old, new = (of_gateway(text, f"{name}@redis") for name in (SITE, routes.NEW_SERVICE))
        return changed(old, memory=memory.get(SITE)), changed(new, memory=memory.get(routes.NEW_SERVICE))

    def running(self) -> dict[str, int]:
        return {OLD: self._up(OLD), NEW: self._up(NEW)}

    # --- services ---------------------------------------------------------------------------------------------------

    def _service(self, version: str, update: dict[str, Any], replicas: int = REPLICAS) -> dict[str, Any]:
        service: dict[str, Any] = deepcopy(self._file["services"][SITE])
        service["environment"] |= {"VERSION": version, "DRAIN_SECONDS": str(DRAIN_SECONDS)}
        if version == NEW:
            service["environment"]["SHOW_EDITED"] = "true"
            if self._version != "good":
                fault = {"FAULT": self._version, "FAULTY_APP": f"services.{SITE}.app:create_app()"}
                service["environment"] |= fault
                self._serve(service, "faulty", "create_app()")
        service["healthcheck"] = HEALTH
        service["labels"] = {LABEL: version}
        back = {key: value for key, value in update.items() if key != "failure_action"}
        service["deploy"] |= {"replicas": replicas, "update_config": update, "rollback_config": back}
        service["deploy"]["resources"] = {"limits": {"memory": "512M"}}
        return service

    def _comparer(self) -> dict[str, Any]:
        service = self._service(NEW, {}, replicas=1)
        for name in ("FAULT", "FAULTY_APP"):
            service["environment"].pop(name, None)
        service["environment"] |= {
            "OLD": f"http://{SITE}:8000", "NEW": f"http://{routes.NEW_SERVICE}:8000", "DRAIN_SECONDS": "0",
        }  # fmt: skip
        service["configs"] = deepcopy(self._file["services"][SITE]["configs"])
        self._serve(service, "compare", "app")
        return service

    @staticmethod
    def _serve(service: dict[str, Any], module: str, application: str) -> None:
        """Put a module of ours beside the application, and serve it in the application's place."""
        service["configs"].append({"source": _config(module), "target": f"/app/{module}.py"})
        service["command"] = ["gunicorn", "-c", "python:strangler.gunicorn", f"{module}:{application}"]

    def _deploy(self, services: dict[str, Any]) -> None:
        """Services alone; what else the stack has is left as it is."""
        modules = {_config(module): {"file": str(HERE / f"{module}.py")} for module in ("faulty", "compare")}
        configs = {name: _absolute(entry) for name, entry in self._file["configs"].items() if name == "database-url-v1"}
        whole = {
            "services": services, "networks": self._file["networks"], "secrets": self._file["secrets"],
            "configs": configs | modules,
        }  # fmt: skip
        file = str(self._write("services.json", whole))
        docker("stack", "deploy", "--resolve-image", "never", "-c", file, self._stack, env=self._env)

    def _write(self, name: str, content: dict[str, Any]) -> Path:
        (self._out / name).write_text(json.dumps(content, indent=1))
        return self._out / name

    def _scale(self, service: str, replicas: int) -> None:
        docker("service", "scale", "--detach=true", f"{self._stack}_{service}={replicas}")

    def _update(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            docker("service", "inspect", "--format", "{{json .UpdateStatus}}", f"{self._stack}_{SITE}") or "null"
        ) or {}  # fmt: skip
        return found

    def _is_old(self) -> bool:
        state = self._update().get("State", "completed")
        here = self._containers(SITE, f"label={LABEL}={OLD}", "health=healthy")
        return state in ("completed", "rollback_completed") and len(here) == REPLICAS == len(self._containers(SITE))

    def _containers(self, service: str, *filters: str) -> list[str]:
        words = [
            f"--filter={one}" for one in (f"label=com.docker.swarm.service.name={self._stack}_{service}", *filters)
        ]
        return docker("ps", "--quiet", *words).split()

    def _up(self, version: str, *filters: str) -> int:
        which = (f"label=com.docker.stack.namespace={self._stack}", f"label={LABEL}={version}", *filters)
        return len(docker("ps", "--quiet", *(f"--filter={one}" for one in which)).split())

    def _until(self, true: Callable[[], bool], what: str, seconds: float) -> None:
        if not probe.wait_for(true, seconds, pause=0.5):
            said = docker("stack", "ps", "--format", "{{.Name}} {{.CurrentState}} {{.Error}}", self._stack)
            raise LocalError(f"waited {seconds:.0f} s for {what}; {' / '.join(said.splitlines()[:6])}", 1)

    def _memory(self) -> dict[str, float]:
        """Bytes of each service's largest instance. Docker takes 2 s for it, so it is asked now and then."""
        if time.monotonic() - self._memory_seen[0] > 2:
            name = {one: service for service in (SITE, routes.NEW_SERVICE) for one in self._containers(service)}
            found: dict[str, float] = {}
            said = docker("stats", "--no-stream", "--format", "{{.ID}} {{.MemUsage}}", *name) if name else ""
            for line in said.splitlines():
                one, amount = line.split()[:2]
                found[name[one]] = max(found.get(name[one], 0.0), _bytes(amount))
            self._memory_seen = (time.monotonic(), found)
        return self._memory_seen[1]

    # --- the gateway ------------------------------------------------------------------------------------------------

    def _ask(self, service: str, *words: str, said: str | None = None) -> str:
        containers = self._containers(service)
        if not containers:
            raise LocalError(f"{service} does not run", 1)
        return docker("exec", "--interactive", containers[0], *words, said=said)

    def _gateway_metrics(self) -> str:
        return self._ask("monolith", "python", "-c", METRICS.format("gateway:9000"))

    def _routes(self) -> dict[str, str]:
        """What is empty, too."""
        names = json.loads(self._ask("redis", "redis-cli", "--json", "KEYS", "traefik/*"))
        values = json.loads(self._ask("redis", "redis-cli", "--json", "MGET", *names))
        return dict(zip(names, values, strict=True))

    def _publish(self, route: Route) -> None:
        there = self._routes()
        new = [f"http://{routes.NEW_SERVICE}:8000"] if self._new or route != Route() else []
        found = routes.keys(self._base, route, new, f"http://{routes.COMPARER}:8000")
        changes = published.changes(there, found, routes.names(self._base))
        self._mirrored = route.mirrored
        if not changes:
            return
        different = {key: value for key, value in there.items() if value} != found
        before = total(self._gateway_metrics(), "traefik_config_reloads_total")
        command = f"MSET {' '.join(json.dumps(word) for pair in changes.items() for word in pair)}\n"
        self._ask("redis", "redis-cli", said=command)
        if different:
            self._until(
                lambda: total(self._gateway_metrics(), "traefik_config_reloads_total") > before,
                "the gateway's routes", 20,
            )  # fmt: skip


def remove(stack: str) -> None:
    """All of it, whatever there is."""
    mine = f"label=com.docker.stack.namespace={stack}"
    if docker("service", "ls", "--quiet", f"--filter={mine}"):
        docker("stack", "rm", stack)

    def gone(kind: str, label: str, *force: str) -> bool:
        found = docker(kind, "ls", "--quiet", f"--filter={label}").split()
        if not found:
            return True
        try:
            docker(kind, "rm", *force, *found)
        except LocalError:  # still in use, for a moment
            return False
        return True

    everything = [("network", mine), ("volume", mine), ("config", mine), ("secret", f"label=forum.stack={stack}")]
    ended = probe.wait_for(lambda: not docker("ps", "--quiet", f"--filter={mine}"), GONE_SECONDS * 2, pause=0.5)
    if left := docker("ps", "--all", "--quiet", f"--filter={mine}").split():
        docker("rm", "--force", *left)
    cleared = [probe.wait_for(lambda: gone(*one), GONE_SECONDS, pause=0.5) for one in everything]  # noqa: B023
    if not ended or not all(cleared):
        raise LocalError(f"the stack {stack} does not go away; look at: docker stack ps {stack}", 1)


def _config(module: str) -> str:
    """A config never changes: what is new gets a new name."""
    return f"rollouts-{module}-{hashlib.sha256((HERE / f'{module}.py').read_bytes()).hexdigest()[:8]}"


def _absolute(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"file": str((CHECKOUT / "swarm" / entry["file"]).resolve())}


def _bytes(amount: str) -> float:
    """`93.2MiB` in bytes."""
    match = re.fullmatch(r"([\d.]+)([KMG]?i?B)", amount)
    if match is None:
        return 0.0
    return float(match[1]) * {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}.get(match[2], 1)
