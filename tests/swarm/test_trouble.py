"""Bad luck on an empty swarm: everything at once, twice at once, killed half-way."""

from __future__ import annotations

import subprocess

import pytest
import requests

from tests.docker import CHECKOUT, docker, run, wait_for
from tests.swarm.stack import Stack

pytestmark = pytest.mark.timeout(600)


def test_a_missing_secret_is_named(stack: Stack) -> None:
    missing = stack.env | {"STACK": f"{stack.name}-nobody"}
    done = run(*stack.deploy_command("3-topics"), env=missing)
    assert done.returncode != 0
    assert f"{stack.name}-nobody-" in done.stderr
    assert "secret not found" in done.stderr


def test_a_late_stage_comes_up_on_an_empty_swarm_though_deployed_twice_and_killed(stack: Stack) -> None:
    both = [
        subprocess.Popen(stack.deploy_command("3-topics"), cwd=CHECKOUT, env=stack.env, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL) for _ in range(2)
    ]  # fmt: skip
    for one in both:
        one.wait(120)
    # One of the two may have lost against the other; the repeat finishes the job.
    wait_for(lambda: stack.deploy("3-topics").returncode == 0, "a deploy to go through", why=stack.describe)
    wait_for(lambda: "copying" in stack.log("kit"), "the kit to copy", 180, stack.describe)
    docker("kill", *stack.containers("kit"))
    assert stack.deploy("3-topics").returncode == 0
    stack.wait_until_reached("3-topics")
    stack.wait_until_settled("gateway", "monolith", "users", "topics")
    for path, site in (("/api/users?ids=1", "users"), ("/api/topics", "topics"), ("/login", "monolith")):
        answer = requests.get(stack.url("gateway") + path, timeout=15)
        assert answer.status_code == 200
        assert answer.headers["X-Served-By"].startswith(f"{site}/")
