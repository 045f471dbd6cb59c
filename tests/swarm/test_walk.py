"""One forum on its way through all stages and back, under load, with every trouble on the way. The tests go on from
each other: each brings the stack to where it begins, which costs nothing when it is there already."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.docker import docker, lines, run, wait_for
from tests.load import Load, load
from tests.owners import STAGES, check_owners
from tests.servers import free_port
from tests.swarm.probe import Probe
from tests.swarm.stack import V2, Stack

USERS = 4
SERVICES = ("users", "topics", "messages", "web")
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def forum(stack: Stack) -> Stack:
    """At stage 0, with some content."""
    stack.go("0-monolith")
    stack.wait_until_settled("entrance", "monolith")
    stack.seed(messages=1000)
    return stack


@contextmanager
def visitors(forum: Stack, folder: Path, door: str = "gateway") -> Iterator[Load]:
    with load(folder, forum.url(door), users=USERS, rate=15, seeded=True, timeline=forum.timeline) as found:
        yield found


def at_the_end(forum: Stack) -> None:
    if not forum.reached("5-microservices"):
        forum.go("5-microservices")
    forum.wait_until_settled(*SERVICES)


def test_from_one_application_to_services_no_request_fails(forum: Stack, tmp_path: Path) -> None:
    with visitors(forum, tmp_path, "monolith") as clients:
        forum.go("1-gateway")
        forum.wait_until_settled("gateway")
        clients.go(forum.url("gateway"))
        clients.more(30)
        check_owners(forum.url("gateway"), "1-gateway")
        for stage in STAGES[2:]:
            forum.go(stage)
            clients.more(30)
            check_owners(forum.url("gateway"), stage)
        forum.wait_until_settled(*SERVICES)
        forum.prune("5-microservices")
        wait_for(lambda: not forum.containers("monolith"), "the monolith to end", why=forum.describe)
        clients.more(30)
        clients.require_kept()
    assert not forum.services() & {"monolith", "entrance"}


def test_the_picture_shows_what_it_stands_beside(forum: Stack) -> None:
    at_the_end(forum)
    port = forum.env["PICTURE_PORT"] = str(free_port("0.0.0.0"))
    beside = ["-c", "swarm/5-microservices.yaml", "-c", "swarm/picture.yaml", forum.name]
    done = run("docker", "stack", "deploy", "--resolve-image", "never", "--detach=true", *beside, env=forum.env)
    assert done.returncode == 0, done.stderr

    def shown() -> bool:
        with contextlib.suppress(requests.RequestException):
            state = requests.get(f"http://127.0.0.1:{port}/state.json", timeout=10).json()
            up = {site["name"]: sum(one["up"] for one in site["instances"]) for site in state.get("sites", [])}
            owners = {module["owner"] for module in state.get("modules", [])}
            return all(up.get(name) == 2 for name in SERVICES) and owners == {"users", "topics", "messages"}
        return False

    wait_for(
        shown, "both replicas of each service, and who owns what, on the picture", 120, lambda: forum.log("picture")
    )
    docker("service", "rm", f"{forum.name}_picture")


def test_new_versions_and_other_numbers_of_replicas_fail_no_request(forum: Stack, tmp_path: Path) -> None:
    at_the_end(forum)
    with visitors(forum, tmp_path) as clients:
        for service in SERVICES:
            forum.update(service, "--image", f"forum-{service}:{V2}")
        forum.wait_until_settled(*SERVICES)
        forum.scale("users", 3)
        forum.wait_until_settled("users")
        clients.more(30)
        forum.scale("users", 1)
        forum.wait_until_settled("users")
        clients.more(30)
        forum.scale("users", 2)
        forum.wait_until_settled("users")
        # As if someone had ended it by hand: Swarm does not know beforehand, but it drains.
        docker("kill", "--signal=TERM", forum.containers("messages")[0])
        clients.more(60)
        forum.wait_until_settled("messages")
        clients.require_kept()
    for service, path in (("users", "/api/users/1"), ("topics", "/api/topics/1"), ("web", "/login")):
        served_by = requests.get(forum.url("gateway") + path, timeout=10).headers["X-Served-By"]
        assert served_by.startswith(f"{service}/{V2}@")


def test_a_version_that_does_not_start_is_rolled_back_and_fails_no_request(forum: Stack, tmp_path: Path) -> None:
    at_the_end(forum)
    with visitors(forum, tmp_path) as clients:
        forum.update("topics", "--env-add", "DATABASE_URL_FILE=/nowhere")
        wait_for(
            lambda: forum.update_state("topics") == "rollback_completed", "the way back", 120, forum.describe
        )  # fmt: skip
        clients.more(20)
        clients.require_kept()


def test_without_redis_the_forum_serves_and_writes(forum: Stack, tmp_path: Path) -> None:
    at_the_end(forum)
    with visitors(forum, tmp_path) as clients:
        forum.scale("redis", 0)
        wait_for(lambda: not forum.containers("redis"), "Redis to end")
        clients.more(40)
        forum.scale("redis", 1)
        forum.wait_until_settled("redis")
        clients.more(20)
        clients.require_kept()


def test_without_a_database_its_service_says_so_and_nothing_is_lost(forum: Stack, tmp_path: Path) -> None:
    at_the_end(forum)
    with visitors(forum, tmp_path) as clients:
        with Probe(f"{forum.url('gateway')}/api/topics/1") as probe:
            probe.wait_for(200)
            forum.scale("topics-db", 0)
            wait_for(lambda: not forum.containers("topics-db"), "the database to end")
            probe.wait_for(503)
            forum.scale("topics-db", 1)
            forum.wait_until_settled("topics-db")
            probe.wait_for(200)
        clients.more(30)
        clients.require_kept(but=("failed",))
    assert probe.wrong() == []
    assert {line["status"] for line in clients.failures()} <= {503}, clients.said()


def test_a_killed_replica_costs_what_it_was_at_and_nothing_is_lost(forum: Stack, tmp_path: Path) -> None:
    at_the_end(forum)
    with visitors(forum, tmp_path) as clients:
        docker("kill", forum.containers("messages")[0])
        clients.more(60)
        forum.wait_until_settled("messages")
        figures = clients.require_kept(but=("failed",))
    # Each has one request at a time, and may meet it again until Swarm has taken it out of the name.
    assert figures["failed"] <= 5 * USERS, clients.said()


def test_control_one_replica_replaced_stop_first_is_seen(forum: Stack, tmp_path: Path) -> None:
    at_the_end(forum)
    forum.update("users", "--replicas=1", "--update-order=stop-first", "--env-add=DRAIN_SECONDS=0")
    forum.wait_until_settled("users")
    with visitors(forum, tmp_path) as clients:
        before = forum.containers("users")
        forum.update("users", "--force")
        wait_for(lambda: not set(before) & set(forum.containers("users", "health=healthy")), "another one", 120)
        forum.wait_until_settled("users")
        clients.more(20)
        figures = clients.require_kept(but=("failed",))
    assert figures["failed"] > 0, "replacing the only replica went unnoticed: this harness proves nothing"
    assert forum.deploy("5-microservices").returncode == 0  # as it was
    forum.wait_until_settled("users")


def test_back_to_one_application_no_request_fails(forum: Stack, tmp_path: Path) -> None:
    at_the_end(forum)
    with visitors(forum, tmp_path) as clients:
        for stage in reversed(STAGES[1:-1]):
            forum.go(stage)
            clients.more(30)
            check_owners(forum.url("gateway"), stage)
        forum.wait_until_settled("entrance")
        clients.go(forum.url("monolith"))
        clients.more(30)
        forum.go("0-monolith")
        forum.prune("0-monolith")
        wait_for(lambda: not forum.containers("gateway"), "all else to end", why=forum.describe)
        clients.more(30)
        clients.require_kept()
    assert forum.services() == {
        "kit",
        "entrance",
        "redis",
        *(f"monolith{part}" for part in ("", "-worker", "-migrate", "-db")),
    }
    assert (
        lines(
            "exec",
            forum.containers("monolith-db")[0],
            "psql",
            "-U",
            "postgres",
            "-Atc",
            "SELECT slot_name FROM pg_replication_slots",
        )
        == []
    )
