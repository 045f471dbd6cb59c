"""A forum in containers, and load on it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STAGES = ("0-monolith", "1-gateway", "2-users", "3-topics", "4-messages", "5-microservices")
UP_SECONDS = 420
"""Only so that a test ends: nothing is judged by how long it took."""


def commands(section: str) -> list[str]:
    """The commands of a section of compose/README.md."""
    readme = (ROOT / "compose" / "README.md").read_text()
    text = re.split(rf"^## {re.escape(section)}$", readme, flags=re.MULTILINE)[1].split("\n## ")[0]
    return [line[4:] for line in text.splitlines() if line.startswith("    ")]


def docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, f"docker {' '.join(words)} said: {done.stderr}"
    return done.stdout.strip()


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


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
            self.words(stage, *words), cwd=ROOT, env=os.environ | self.environment,
            capture_output=True, text=True, timeout=UP_SECONDS, check=False,
        )  # fmt: skip

    def start(self, stage: str, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words(stage, *words), cwd=ROOT, env=os.environ | self.environment, text=True,
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
            ["sh", "-ec", "\n".join(lines)], cwd=ROOT,
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
            "--format", f'{{{{.Label "{label}.service"}}}} {{{{.ID}}}} {{{{.Label "{label}.oneoff"}}}}',
        ).splitlines()  # fmt: skip
        return {line.split()[0]: line.split()[1] for line in lines}

    def started(self, service: str) -> str:
        return docker("inspect", "--format", "{{.State.StartedAt}}", self.container(service))

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


class Load:
    """`loadtest run`, whose clients go where `go` says."""

    def __init__(self, folder: Path, url: str, users: int = 10, rate: float = 25) -> None:
        self.out = folder / "load"
        self.addresses = folder / "addresses.json"
        self.go(url)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "loadtest", "run", "--addresses", str(self.addresses), "--users", str(users),
             "--rate", str(rate), "--duration", "3600", "--settle", "90", "--out", str(self.out)],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def go(self, url: str) -> None:
        new = self.addresses.with_suffix(".new")
        new.write_text(json.dumps({"public": [url]}))
        new.replace(self.addresses)

    def live(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.out / "live.json").read_text())
        except (FileNotFoundError, ValueError):
            return {"requests": 0, "failed": 0, "acknowledged": 0}
        return found

    def more(self, requests: int = 40) -> None:
        """Wait for so many further requests."""
        wanted = self.live()["requests"] + requests
        wait_for(lambda: self.process.poll() is not None or self.live()["requests"] >= wanted, f"{requests} requests")
        assert self.process.poll() is None, f"the load has ended: {self.process.communicate()[0][-2000:]}"

    def finish(self) -> dict[str, Any]:
        """Stop, check; the figures of report.json."""
        self.process.terminate()
        said = self.process.communicate(timeout=300)[0]
        assert (self.out / "report.json").exists(), said[-3000:]
        found: dict[str, Any] = json.loads((self.out / "report.json").read_text())
        found["said"] = said[-3000:]
        return found

    def failures(self) -> list[dict[str, Any]]:
        """Every failed request as the ledger has it."""
        lines = (json.loads(line) for line in (self.out / "ledger.jsonl").read_text().splitlines())
        return [line for line in lines if line["e"] == "failed"]


PROMISES = ("failed", "lost", "doubled", "stale", "counters_off", "errors")


def broken(figures: dict[str, Any]) -> dict[str, int]:
    """The promises that were not kept."""
    return {name: figures[name] for name in PROMISES if figures[name]}


@contextmanager
def load(folder: Path, url: str, users: int = 10) -> Iterator[Load]:
    found = Load(folder, url, users)
    try:
        found.more(20)
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
            found.process.communicate()
