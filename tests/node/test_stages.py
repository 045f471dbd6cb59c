"""The pods of the rendered stages, as containers: forward and back under load, and bad luck on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from tests.docker import docker, wait_for
from tests.k8s import manifests
from tests.load import load
from tests.node.node import Gateway, Node
from tests.owners import STAGES, check_owners

pytestmark = pytest.mark.timeout(1500)


def reach(node: Node, stage: str) -> None:
    """As the README has it: apply, and wait for the kit; and, here, for everything else."""
    node.say(f"--- {stage}")
    node.apply(manifests.stage(stage))
    node.settle()


def test_there_and_back_again_under_load(node: Node, gateway: Gateway, tmp_path: Path) -> None:
    reach(node, STAGES[0])
    wait_for(lambda: requests.get(gateway.url, timeout=15).ok, "an answer")
    with load(tmp_path, gateway.url, users=4, rate=15) as clients:
        for stage in (*STAGES[1:], *reversed(STAGES[:-1])):
            reach(node, stage)
            clients.more(30)
            check_owners(gateway.url, stage)
        clients.require_kept()


def test_a_late_stage_on_an_empty_node_whose_kit_is_killed_and_whose_database_is_deleted(
    node: Node, gateway: Gateway, tmp_path: Path
) -> None:
    node.apply(manifests.stage(STAGES[3]))
    wait_for(lambda: "copying" in node.tail("kit"), "the kit to copy", 300, lambda: node.tail("kit"))
    docker("kill", node.of("kit")[0].container)
    node.settle()
    check_owners(gateway.url, STAGES[3])
    with load(tmp_path, gateway.url, users=4, rate=15) as clients:
        node.apply(manifests.stage(STAGES[4]))
        wait_for(lambda: "messages: copying" in node.tail("kit"), "the kit to copy", 300, lambda: node.tail("kit"))
        node.delete("postgres-messages")
        node.settle()
        clients.more(30)
        check_owners(gateway.url, STAGES[4])
        clients.require_kept(but=("failed",))
        assert {line["status"] for line in clients.failures()} <= {503}, clients.failures()[:5]
