"""A swarm of this one engine, left as it was found, and stacks on it that leave nothing behind.

These tests take minutes and an engine, so they run only when they are asked for: `make test-swarm`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.docker import docker, lines, run
from tests.swarm.stack import V1, V2, Stack


@pytest.fixture(scope="session")
def swarm() -> Iterator[None]:
    active = docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "active"
    if not active:
        docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    yield
    if not active and not lines("service", "ls", "--quiet"):
        docker("swarm", "leave", "--force")


@pytest.fixture(scope="session")
def images() -> Iterator[None]:
    """All images, in two versions, tagged for this run alone."""
    for tag in (V1, V2):
        done = run("docker", "buildx", "bake", env=os.environ | {"TAG": tag, "REGISTRY": ""}, seconds=900)
        assert done.returncode == 0, done.stderr[-3000:]
    yield
    found = lines("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
    docker("image", "rm", *(name for name in found if name.endswith((f":{V1}", f":{V2}"))), check=False)


@pytest.fixture(scope="module")
def stack(swarm: None, images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:  # noqa: ARG001
    """Not deployed yet; its secrets are there."""
    found = Stack(tmp_path_factory.mktemp("stack"))
    try:
        found.make_secrets()
        yield found
    finally:
        found.remove()
