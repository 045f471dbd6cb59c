"""Who may connect to whom, worked out from the policies as a network plug-in does: both ends must agree."""

from __future__ import annotations

import pytest

from tests.k8s import manifests
from tests.k8s.manifests import Object, labels

MODULES = ("users", "topics", "messages")


def matches(selector: Object, found: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= found.items() and all(
        found.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", [])
    )


def allows(policies: list[Object], mine: dict[str, str], other: dict[str, str], port: int, direction: str) -> bool:
    """Whether the pods labelled `mine` may have a connection from or to `other`, at `port`."""
    side, peers = ("Ingress", "from") if direction == "in" else ("Egress", "to")
    chosen = [
        p["spec"] for p in policies if matches(p["spec"]["podSelector"], mine) and side in p["spec"]["policyTypes"]
    ]
    if not chosen:
        return True
    for rule in (rule for spec in chosen for rule in spec.get(side.lower(), [])):
        ports = rule.get("ports")
        if ports and not any(p["port"] <= port <= p.get("endPort", p["port"]) for p in ports if "port" in p):
            continue
        if peers not in rule or any(matches(p["podSelector"], other) for p in rule[peers] if "podSelector" in p):
            return True
    return False


def edges(objects: list[Object], port: int) -> set[tuple[str, str]]:
    policies = manifests.of_kind(objects, "NetworkPolicy")
    pods = {each["metadata"]["name"]: labels(each) for each in manifests.workloads(objects)}
    return {
        (a, b)
        for a, mine in pods.items()
        for b, other in pods.items()
        if a != b and allows(policies, mine, other, port, "out") and allows(policies, other, mine, port, "in")
    }


def databases() -> set[tuple[str, str]]:
    found = set()
    for site in ("monolith", *MODULES):
        found |= {(site, f"postgres-{site}"), (f"{site}-worker", f"postgres-{site}"), ("kit", f"postgres-{site}")}
    for module in MODULES:
        found |= {("postgres-monolith", f"postgres-{module}"), (f"postgres-{module}", "postgres-monolith")}
    return found


def test_a_database_is_reached_by_its_owner_the_kit_and_its_peer_only() -> None:
    assert edges(manifests.stage("4-messages"), 5432) == databases()


def test_redis_is_reached_by_applications_only() -> None:
    apps = {"monolith", *MODULES, "web", *(f"{site}-worker" for site in ("monolith", *MODULES))}
    assert edges(manifests.stage("4-messages"), 6379) == {(app, "redis") for app in apps}


def test_applications_reach_each_other_by_facade_and_router_only() -> None:
    expected = {("router", site) for site in ("monolith", *MODULES, "web")}
    expected |= {("kit", site) for site in ("monolith", *MODULES)}
    for module in MODULES:
        expected |= {("monolith", module), (module, "monolith")}
    expected |= {(site, "router") for site in ("monolith", "topics", "messages", "web")}
    # The monolith is open to the public, so what may reach any server may reach it.
    expected |= {("monolith", "router")}
    assert edges(manifests.stage("4-messages"), 8000) == expected


@pytest.mark.parametrize("lost", ["default-deny", "postgres-users"])
def test_a_policy_that_is_lost_is_noticed(lost: str) -> None:
    objects = manifests.stage("4-messages")
    objects.remove(manifests.one(objects, "NetworkPolicy", lost))
    if lost == "default-deny":
        manifests.one(objects, "NetworkPolicy", "users-worker")["spec"]["egress"][0]["to"][0]["podSelector"] = {}
        manifests.one(objects, "NetworkPolicy", "postgres-topics")["spec"]["ingress"][0].pop("from")
    assert edges(objects, 5432) != databases()


def test_everything_is_closed_until_opened() -> None:
    denied = manifests.one(manifests.stage("0-monolith"), "NetworkPolicy", "default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
