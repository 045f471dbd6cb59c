"""`make bundle`, unpacked where there is no network, and tried."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cli import take_down
from local.state import CHECKOUT, locate

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

ALONE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-current-user", "--net"]
REACHES = "import socket; socket.create_connection(('192.0.2.1', 9), 2)"
"""An address that nobody has (RFC 5737). With a network it takes its time, without one it is unreachable."""


def without_network(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Typed in `folder`, with no caches and settings of this machine: what is there must be enough."""
    environment = {
        "HOME": str(folder), "PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_NO_CONFIG": "1", "STRANGLER_STATE": str(folder / ".state"),
    }  # fmt: skip
    return subprocess.run(
        [*ALONE, "sh", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=900,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tar's folder `strangler`; the last commit, as `make bundle` takes it."""
    subprocess.run(["make", "bundle", "IMAGES=0"], cwd=CHECKOUT, check=True, timeout=900)
    folder = tmp_path_factory.mktemp("bundle")
    subprocess.run(["tar", "-xf", CHECKOUT / "build" / "bundle.tar", "-C", folder], check=True)
    yield folder / "strangler"
    take_down(locate(folder / "strangler" / ".state"), purge=True)


def test_there_is_no_network(unpacked: Path) -> None:
    assert "unreachable" in without_network(unpacked, f'python3 -c "{REACHES}"').stderr


def test_without_its_wheels_it_cannot_be_set_up(unpacked: Path) -> None:
    wheels = unpacked / "bundle" / "wheels"
    wheels.rename(unpacked / "elsewhere")
    done = without_network(unpacked, "make .venv/.installed")
    (unpacked / "elsewhere").rename(wheels)
    assert done.returncode != 0
    assert "No matching distribution" in done.stderr


def test_it_is_set_up_and_the_forum_starts(unpacked: Path) -> None:
    done = without_network(
        unpacked,
        "make .venv/.installed\n.venv/bin/strangler --help\nip link set lo up\n.venv/bin/strangler-local up",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0-monolith is up" in done.stdout
    assert (unpacked / "bundle" / "site" / "index.html").exists()
