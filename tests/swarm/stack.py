"""A stack of its own for a test: unique name, free ports, nothing left of it at the end."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from tests.docker import docker, lines, run, wait_for
from tests.load import SEED_PASSWORD
from tests.owners import STAGES
from tests.servers import free_port

STAGE_SECONDS = 240
SETTLE_SECONDS = 180
RUN = uuid4().hex[:6]
V1, V2 = f"swarm-{RUN}-v1", f"swarm-{RUN}-v2"


class Stack:
    """`docker stack deploy` of the stage files under a name of its own. `directory`: for what the load test reads."""

    def __init__(self, directory: Path) -> None:
        self.name = f"test{uuid4().hex[:8]}"
        self.directory = directory
        self.ports = {"monolith": free_port("0.0.0.0"), "gateway": free_port("0.0.0.0")}
        self.env = os.environ | {
            "STACK": self.name,
            "TAG": V1,
            "GATEWAY_PORT": str(self.ports["gateway"]),
            "MONOLITH_PORT": str(self.ports["monolith"]),
        }

    # --- what a person does -----------------------------------------------------------------------------------------

    def make_secrets(self) -> None:
        done = run("swarm/secrets.sh", env=self.env)
        assert done.returncode == 0, done.stderr

    def deploy(self, stage: str, *words: str) -> subprocess.CompletedProcess[str]:
        for _ in range(10):
            done = run(*self.deploy_command(stage, *words), env=self.env)
            if "update out of sequence" not in done.stderr:  # else an update just ended: "repeat", says the README
                break
        return done

    def deploy_command(self, stage: str, *words: str) -> list[str]:
        # The images are on this machine only, so nobody is asked about them.
        how = ["--resolve-image", "never", "--detach=true", *words]
        return ["docker", "stack", "deploy", *how, "-c", f"swarm/{stage}.yaml", self.name]

    def go(self, stage: str, *words: str) -> None:
        """Deploy a stage and wait until the kit says that it is reached."""
        back = self._number > STAGES.index(stage)
        self._happened(stage, "back" if back else "forward", "begin")
        done = self.deploy(stage, *words)
        assert done.returncode == 0, done.stderr
        self.wait_until_reached(stage)
        self._happened(stage, "back" if back else "forward", "done")

    def prune(self, stage: str) -> None:
        """Remove what the stage does not have."""
        done = self.deploy(stage, "--prune")
        assert done.returncode == 0, done.stderr

    def update(self, service: str, *words: str) -> None:
        docker("service", "update", "--quiet", "--detach=true", "--no-resolve-image", *words, f"{self.name}_{service}")

    def scale(self, service: str, replicas: int) -> None:
        docker("service", "scale", "--detach=true", f"{self.name}_{service}={replicas}")

    def seed(self, messages: int) -> None:
        wait_for(
            lambda: run(
                "docker", "exec", "--env", f"SEED_PASSWORD={SEED_PASSWORD}", self.containers("monolith-worker")[0],
                "python", "-m", "monolith.cli", "seed", "--users=50", "--topics=100", f"--messages={messages}",
            ).returncode == 0, "the tables", 60, self.describe,
        )  # fmt: skip

    # --- looking and waiting ----------------------------------------------------------------------------------------

    def services(self) -> set[str]:
        names = lines("stack", "services", "--format", "{{.Name}}", self.name)
        return {name.removeprefix(f"{self.name}_") for name in names}

    def containers(self, service: str, *filters: str) -> list[str]:
        """The ids of a service's running containers."""
        words = [
            f"--filter=label=com.docker.swarm.service.name={self.name}_{service}",
            *map("--filter={}".format, filters),
        ]
        return lines("ps", "--quiet", "--no-trunc", *words)

    def reached(self, stage: str) -> bool:
        """Whether a kit that was told to go there is healthy."""
        return any(
            stage in json.loads(docker("inspect", "--format", "{{json .Args}}", container))
            for container in self.containers("kit", "health=healthy")
        )

    def wait_until_reached(self, stage: str) -> None:
        wait_for(lambda: self.reached(stage), f"stage {stage}", STAGE_SECONDS, self.describe)

    def settled(self, service: str) -> bool:
        """Whether all replicas are there and no update is under way."""
        facts = json.loads(docker("service", "inspect", "--format", "{{json .}}", f"{self.name}_{service}"))
        state = (facts.get("UpdateStatus") or {}).get("State", "completed")
        replicas = facts["Spec"]["Mode"].get("Replicated", {}).get("Replicas", 1)
        running = self.tasks(service)
        return state in ("completed", "rollback_completed") and len(running) == replicas == sum(running)

    def tasks(self, service: str) -> list[bool]:
        """For each task that is to run, whether it does."""
        words = ["--filter=desired-state=running", "--format={{.CurrentState}}"]
        return [state.startswith("Running") for state in lines("service", "ps", *words, f"{self.name}_{service}")]

    def wait_until_settled(self, *services: str) -> None:
        for service in services:
            wait_for(lambda one=service: self.settled(one), f"{service} to settle", SETTLE_SECONDS, self.describe)  # type: ignore[misc]

    def update_state(self, service: str) -> str:
        """Of its last update: `completed`, `rollback_completed`, ..."""
        return docker("service", "inspect", "--format", "{{.UpdateStatus.State}}", f"{self.name}_{service}")

    def log(self, service: str) -> str:
        done = run("docker", "service", "logs", "--raw", "--tail=200", f"{self.name}_{service}")
        return done.stdout + done.stderr

    def describe(self) -> str:
        """For a failure: the tasks, and what the kit said."""
        tasks = run(
            "docker", "stack", "ps", "--no-trunc", "--format", "{{.Name}} {{.CurrentState}} {{.Error}}", self.name
        )
        return f"{tasks.stdout}\nkit: {self.log('kit')[-3000:]}"

    # --- where the public enters ------------------------------------------------------------------------------------

    def url(self, door: str) -> str:
        return f"http://127.0.0.1:{self.ports[door]}"

    @property
    def timeline(self) -> Path:
        return self.directory / "timeline.jsonl"

    @property
    def _number(self) -> int:
        events = self.timeline.read_text().splitlines() if self.timeline.exists() else []
        return STAGES.index(json.loads(events[-1])["stage"]) if events else 0

    def _happened(self, stage: str, direction: str, state: str) -> None:
        event = {"t": time.time(), "kind": "stage", "stage": stage, "direction": direction, "state": state}
        with self.timeline.open("a") as file:
            file.write(json.dumps(event) + "\n")

    # --- the end ----------------------------------------------------------------------------------------------------

    def remove(self) -> None:
        """Everything of this stack: services, networks, configs, volumes, secrets."""
        mine = f"label=com.docker.stack.namespace={self.name}"
        run("docker", "stack", "rm", self.name)
        wait_for(lambda: not lines("ps", "--quiet", f"--filter={mine}"), "its containers to end", 120)
        if ended := lines("ps", "--all", "--quiet", f"--filter={mine}"):  # Swarm leaves those of jobs behind
            run("docker", "rm", "--force", *ended)
        wait_for(lambda: not lines("network", "ls", "--quiet", f"--filter={mine}"), "its networks to go")
        wait_for(lambda: self._removed("volume", mine), "its volumes to go")
        wait_for(lambda: self._removed("secret", f"label=forum.stack={self.name}"), "its secrets to go")

    @staticmethod
    def _removed(kind: str, which: str) -> bool:
        found: Sequence[str] = lines(kind, "ls", "--quiet", f"--filter={which}")
        return not found or (run("docker", kind, "rm", *found).returncode == 0)
