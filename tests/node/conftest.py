"""Images of this run alone, and a node that leaves nothing behind. Only by `make test-node`, as root."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.docker import docker, lines, run
from tests.k8s.test_secrets import written
from tests.node.node import Gateway, Node

RUN = f"node-{secrets.token_hex(3)}"


@pytest.fixture(scope="session")
def images() -> Iterator[None]:
    done = run("docker", "buildx", "bake", env=os.environ | {"TAG": RUN, "REGISTRY": ""}, seconds=900)
    assert done.returncode == 0, done.stderr[-3000:]
    yield
    mine = [name for name in lines("image", "ls", "--format", "{{.Repository}}:{{.Tag}}") if name.endswith(f":{RUN}")]
    docker("image", "rm", *mine, check=False)


@pytest.fixture
def node(images: None, tmp_path: Path) -> Iterator[Node]:  # noqa: ARG001
    """With the Secrets that k8s/secrets.sh makes, and nothing else."""
    found = Node(f"{RUN}-{secrets.token_hex(2)}", tmp_path / "node", RUN)
    try:
        (tmp_path / "kubectl").mkdir()
        found.apply([each for each in yaml.safe_load_all(written(tmp_path / "kubectl")) if each])
        yield found
    finally:
        found.close()


@pytest.fixture
def gateway(node: Node) -> Iterator[Gateway]:
    found = Gateway(node)
    yield found
    found.close()
