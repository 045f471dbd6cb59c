"""The component of the live picture keeps the rules, sees what it must, and is seen by nobody."""

from __future__ import annotations

import pytest

from tests.k8s import manifests, policies
from tests.k8s.manifests import K8S, Object, one, pod
from tests.k8s.test_network import edges


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    stage, component = K8S / "stages/4-messages", K8S / "components/picture"
    return manifests.compose(tmp_path_factory.mktemp("picture"), resources=[stage], components=[component])


@pytest.mark.parametrize("rule", policies.RULES, ids=lambda rule: rule.__name__)
def test_a_rule_holds(rule: object, objects: list[Object]) -> None:
    found = [line for line in rule(objects) if line != "Service/web-pods leads nowhere"]  # type: ignore[operator]
    assert found == []


@pytest.mark.parametrize(
    ("port", "reached"),
    [
        (5432, {f"postgres-{site}" for site in ("monolith", "users", "topics", "messages")}),
        (8000, {"monolith", "users", "topics", "messages", "web"}),
        (8080, {"router"}),
        (8010, set()),
    ],
)
def test_it_reaches_what_it_looks_at_and_nobody_reaches_it(port: int, reached: set[str], objects: list[Object]) -> None:
    found = edges(objects, port)
    assert {callee for caller, callee in found if caller == "picture"} == reached
    assert {caller for caller, callee in found if callee == "picture"} == set()
    others = {edge for edge in found if "picture" not in edge}
    assert others == edges(manifests.stage("4-messages"), port), "the component opens nothing else"


def test_names_and_doors_are_those_of_services_and_router(objects: list[Object]) -> None:
    env = {each["name"]: each["value"] for each in pod(one(objects, "Deployment", "picture"))["containers"][0]["env"]}
    services = {each["metadata"]["name"] for each in manifests.of_kind(objects, "Service")}
    for name, value in env.items():
        if name.endswith("_SERVERS") or name == "GATEWAY_METRICS":
            assert value.split("//")[1].split(":")[0] in services, name
    ports = {port["name"] for port in pod(one(objects, "Deployment", "router"))["containers"][0]["ports"]}
    assert set(env["GATEWAY_DOORS"].split()) == ports - {"api", "admin"}
