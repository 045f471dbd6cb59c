"""From 0 to 5 and back to 0, each step one command, under load; and every application replaced on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from tests.compose.conftest import NEW
from tests.compose.forum import Forum, commands
from tests.load import load
from tests.owners import SERVED_BY, STAGES, check_owners


def kept(forum: Forum, before: dict[str, str]) -> None:
    """Of what ran before and runs now, only the kit is another container."""
    after = forum.containers()
    other = {service for service in before.keys() & after.keys() if before[service] != after[service]}
    assert other <= {"kit"}, f"recreated on the way to {forum.stage}: {other}"


@pytest.mark.timeout(1500)
def test_there_and_back_again_under_load(walked: Forum, tmp_path: Path) -> None:
    forum = walked
    forum.up("0-monolith")
    with load(tmp_path, forum.monolith) as clients:
        before = forum.containers()

        def step(stage: str, *words: str) -> None:
            nonlocal before
            forum.up(stage, *words)
            kept(forum, before)
            before = forum.containers()
            clients.more()
            check_owners(forum.gateway, stage)

        step("1-gateway")
        clients.go(forum.gateway)
        for stage in STAGES[2:5]:
            step(stage)
        replace_everything(forum)
        before = forum.containers()
        step("5-microservices", "--remove-orphans")
        assert not [service for service in before if service.startswith("monolith-") and service != "monolith-db"]
        for stage in ("4-messages", "3-topics", "2-users", "1-gateway"):
            step(stage)
        clients.go(forum.monolith)
        forum.up("0-monolith")
        kept(forum, before)
        clients.more()
        clients.require_kept()


def replace_everything(forum: Forum) -> None:
    """By another version: one application as the README has it, then the others side by side."""
    forum.environment["TAG"] = NEW
    block = "\n".join(commands("A new version, one replica at a time"))
    for word, ours in (
        ("TAG=v2", f"TAG={NEW}"),
        ("2-users", forum.stage),
        (" monolith-1 monolith-2 monolith-worker", ""),
    ):
        assert word in block
        block = block.replace(word, ours)
    forum.type(block)
    others = ("topics", "messages", "monolith")
    for replica in ("1", "2", "worker"):
        apps = others if replica == "worker" else (*others, "web")
        forum.up(forum.stage, *(f"{app}-{replica}" for app in apps))
    for path in SERVED_BY:
        assert f"/{NEW}@" in requests.get(forum.gateway + path, timeout=15).headers["X-Served-By"], path
