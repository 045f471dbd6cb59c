"""The stage files on a real engine, each project with a name and ports of its own, removed whatever happens.

Only by `make test-compose`: without being asked for by name nothing of this folder is collected.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.forum import Forum
from tests.docker import CHECKOUT, docker, run
from tests.servers import free_port

RUN = f"forum-test-{secrets.token_hex(3)}"
DOORS = ("GATEWAY", "MONOLITH", "LOAD", "PICTURE", "PROMETHEUS", "GRAFANA")
OLD, NEW = f"{RUN}-v1", f"{RUN}-v2"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:  # noqa: ARG001
    asked = any("compose" in str(word) for word in config.invocation_params.args)
    return None if asked else True


@pytest.fixture(scope="session")
def images() -> Iterator[None]:
    """Two versions of every image, tagged for this run alone."""
    for tag in (OLD, NEW):
        subprocess.run(
            ["docker", "buildx", "bake"],
            cwd=CHECKOUT,
            env=os.environ | {"TAG": tag, "REGISTRY": ""},
            check=True,
            timeout=600,
        )
    yield
    found = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    mine = [name for name in found if name.endswith((f":{OLD}", f":{NEW}"))]
    docker("image", "rm", *mine, check=False)


def forum(name: str) -> Iterator[Forum]:
    environment = {
        "TAG": OLD, "REGISTRY": "", "COMPOSE_REMOVE_ORPHANS": "", "HEALTH_INTERVAL": "8s",
        **{f"{door}_PORT": str(free_port()) for door in DOORS},
    }  # fmt: skip
    found = Forum(f"{RUN}-{name}", environment)
    try:
        yield found
    finally:
        found.remove()


@pytest.fixture(scope="module")
def walked(images: None) -> Iterator[Forum]:  # noqa: ARG001
    """One forum that is taken through all stages."""
    yield from forum("walk")


@pytest.fixture(scope="module")
def bruised(images: None) -> Iterator[Forum]:  # noqa: ARG001
    """One forum that bad things happen to."""
    yield from forum("luck")


def pytest_sessionfinish() -> None:
    for kind in ("container", "network", "volume"):
        flags = ["-a"] if kind == "container" else []
        left = docker(kind, "ls", *flags, "-q", "--filter", f"name={RUN}", check=False).split()
        if kind == "network":
            left = [network for network in left if not _miscounted(network)]
        assert not left, f"left behind: {kind} {json.dumps(left)}"


def _miscounted(network: str) -> bool:
    """Whether the engine (seen with 20.10, when many containers go at once) keeps it for an endpoint of nobody's."""
    nobody = docker("network", "inspect", "--format", "{{len .Containers}}", network, check=False) == "0"
    refused = nobody and "has active endpoints" in run("docker", "network", "rm", network).stderr
    if refused:
        print(f"\nthe engine cannot remove network {network}: it counts an endpoint of which it knows no container")
    return refused
