"""A forum in containers."""

from __future__ import annotations

import os
import re
import subprocess
import time

from tests.docker import CHECKOUT, docker
from tests.owners import STAGES

UP_SECONDS = 420
"""Only so that a test ends: nothing is judged by how long it took."""


def commands(section: str) -> list[str]:
    """The commands of a section of compose/README.md."""
    readme = (CHECKOUT / "compose" / "README.md").read_text()
    text = re.split(rf"^## {re.escape(section)}$", readme, flags=re.MULTILINE)[1].split("\n## ")[0]
    return [line[4:] for line in text.splitlines() if line.startswith("    ")]


class Forum:
    """`docker compose` with one project."""

    def __init__(self, project: str, environment: dict[str, str]) -> None:
        self.project = project
        self.environment = environment
        self.stage = STAGES[0]

    def words(self, stage: str, *words: str) -> list[str]:
        return ["docker", "compose", "-p", self.project, "-f", f"compose/{stage}.yaml", *words]

    def run(self, stage: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(stage, *words), cwd=CHECKOUT, env=os.environ | self.environment,
            capture_output=True, text=True, timeout=UP_SECONDS, check=False,
        )  # fmt: skip

    def start(self, stage: str, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words(stage, *words), cwd=CHECKOUT, env=os.environ | self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def up(self, stage: str, *words: str) -> None:
        """The command of the README; returns when it does."""
        began = time.monotonic()
        done = self.run(stage, "up", "-d", "--wait", *words)
        print(f"up {stage} {' '.join(words)}: {time.monotonic() - began:.0f} s", flush=True)
        assert done.returncode == 0, f"up {stage} {words}: {done.stderr[-2000:]}\n{self.logs('kit')}"
        self.stage = stage

    def type(self, *lines: str) -> str:
        """Into a shell, as the README has it; what was said."""
        done = subprocess.run(
            ["sh", "-ec", "\n".join(lines)], cwd=CHECKOUT,
            env=os.environ | self.environment | {"COMPOSE_PROJECT_NAME": self.project},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=UP_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{lines}: {done.stdout[-3000:]}"
        return done.stdout

    def logs(self, service: str) -> str:
        return self.run(self.stage, "logs", "--no-log-prefix", "--tail", "40", service).stdout

    def container(self, service: str) -> str:
        return f"{self.project}-{service}-1"

    def containers(self) -> dict[str, str]:
        """Service -> id of what runs; one-shots have ended."""
        label = "com.docker.compose"
        lines = docker(
            "ps", "--no-trunc", "--filter", f"label={label}.project={self.project}",
            "--format", f'{{{{.Label "{label}.service"}}}} {{{{.ID}}}}',
        ).splitlines()  # fmt: skip
        return dict(line.split() for line in lines)

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.environment['GATEWAY_PORT']}"

    @property
    def monolith(self) -> str:
        return f"http://127.0.0.1:{self.environment['MONOLITH_PORT']}"

    def remove(self) -> None:
        """All that has the project's label."""
        label = f"label=com.docker.compose.project={self.project}"
        for kind, flags, remove in (
            ("container", ["-a"], ["rm", "-f", "-v"]), ("network", [], ["rm"]), ("volume", [], ["rm", "-f"]),
        ):  # fmt: skip
            found = docker(kind, "ls", *flags, "-q", "--filter", label, check=False).split()
            if found:
                docker(kind, *remove, *found, check=False)
