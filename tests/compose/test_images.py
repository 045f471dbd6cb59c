"""What an image is, whoever runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose.conftest import OLD
from tests.docker import CHECKOUT, docker

APPS = ("monolith", "users", "topics", "messages", "web", "kit", "loadtest")
CODE = {
    "monolith": {"forum", "monolith", "strangler"},
    "users": {"forum", "services/users", "strangler"},
    "topics": {"forum", "services/topics", "strangler"},
    "messages": {"forum", "services/messages", "strangler"},
    "web": {"forum", "services/web", "strangler"},
    "kit": {"strangler"},
    "loadtest": {"loadtest"},
}


@pytest.mark.parametrize("app", APPS)
def test_an_image_has_its_own_code_only_and_is_nobody(images: None, app: str) -> None:  # noqa: ARG001
    program = (
        "import os, pathlib; root = pathlib.Path('/app');"
        "code = {str(p.parent.relative_to(root)) for p in root.glob('*/__init__.py')}"
        " | {str(p.parent.relative_to(root)) for p in root.glob('services/*/__init__.py')};"
        "print(os.getuid(), *sorted(code - {'services'}))"
    )
    flags = ["--rm", "--read-only", "--network=none", "--entrypoint", "python"]
    uid, *code = docker("run", *flags, f"forum-{app}:{OLD}", "-c", program).split()
    assert uid == "10001"
    assert set(code) == CODE[app]


@pytest.mark.parametrize("app", APPS)
def test_an_image_says_what_it_is(images: None, app: str) -> None:  # noqa: ARG001
    config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", f"forum-{app}:{OLD}"))
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"forum-{app}"
    assert labels["org.opencontainers.image.version"] == OLD
    assert config["Entrypoint"][:2] == ["python", "-m"]
    if app not in ("kit", "loadtest"):
        assert config["Healthcheck"]["Test"][0] == "CMD"


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_missing_secret_is_named_in_one_line(images: None) -> None:  # noqa: ARG001
    done = subprocess.run(
        ["docker", "run", "--rm", "--network=none", "-e", "DATABASE_URL_FILE=/run/secrets/nothing",
         f"forum-topics:{OLD}"],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "DATABASE_URL_FILE: cannot read /run/secrets/nothing: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr
