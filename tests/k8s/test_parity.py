"""Stages, routes, ports, images and variables agree with strangler.toml, the Dockerfile and the other orchestrators."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from local import layout
from strangler.config import Config
from tests.k8s import manifests
from tests.k8s.manifests import ROOT, STAGES, containers, of_kind, one, pod

TOML = tomllib.loads((ROOT / "strangler.toml").read_text())
CONFIG = Config.model_validate(tomllib.loads((ROOT / "strangler.toml").read_text()))


def test_the_kit_reads_the_same_configuration() -> None:
    data = next(m for m in of_kind(manifests.stage("0-monolith"), "ConfigMap") if "strangler.toml" in m["data"])["data"]
    ours: dict[str, Any] = tomllib.loads(data["strangler.toml"])
    assert ours == {key: value for key, value in TOML.items() if key != "gateway"}


def test_stages_are_those_of_the_configuration_and_of_compose_and_swarm() -> None:
    assert list(TOML["stages"]) == STAGES
    for other in ("compose", "swarm"):
        if (ROOT / other).is_dir():
            assert sorted(path.stem for path in (ROOT / other).glob("[0-9]-*.yaml")) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_paths_lead_where_the_configuration_says(stage: str) -> None:
    objects = manifests.stage(stage)
    wanted = {"/": CONFIG.stages[stage].default}
    for module in CONFIG.modules.values():
        wanted |= dict.fromkeys(
            module.routes, module.target if module.name in CONFIG.stages[stage].moved else "monolith"
        )
    found = {
        match["path"]["value"]: backend["name"]
        for route in of_kind(objects, "HTTPRoute")
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
        for backend in rule["backendRefs"]
    }
    entrance = "" if stage == "0-monolith" else "entrance-"
    assert found == {path: entrance + site for path, site in wanted.items()}
    kit = pod(one(objects, "Deployment", "kit"))["containers"][0]
    assert {"name": "STAGE", "value": stage} in kit["env"]


def test_images_are_those_of_the_dockerfile_and_of_compose() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.M))
    ours = {c["image"] for stage in STAGES for w in manifests.workloads(manifests.stage(stage)) for c in containers(w)}
    assert {i.split(":")[0].removeprefix("forum-") for i in ours if i.startswith("forum-")} <= targets
    public = {image for image in ours if not image.startswith("forum-")}
    assert public == {"postgres:18", "redis:8", "traefik:v3.7"}
    used = "\n".join(path.read_text() for path in (ROOT / "compose").rglob("*.yaml"))
    for image in public:
        assert image in used, f"Compose has another {image.split(':')[0]}"


def test_entry_points_are_modules_that_exist() -> None:
    for workload in manifests.workloads(manifests.stage("4-messages")):
        for one_ in containers(workload):
            if one_["image"].startswith("forum-") and one_["name"] in ("migrate", "worker"):
                assert (ROOT / (one_["args"][0].replace(".", "/") + ".py")).is_file()


def test_variables_are_those_of_the_local_stack() -> None:
    settings = next(m for m in of_kind(manifests.stage("0-monolith"), "ConfigMap") if "BIND" in m["data"])["data"]
    for app in layout.APPS:
        assert settings[f"{app.upper()}_URL"] == f"http://{app}:8000"
    assert settings["BIND"].endswith(":8000")
    assert settings["DRAIN_SECONDS"] == "0"
    assert "EXPOSE 8000" in (ROOT / "Dockerfile").read_text()


def test_databases_replicate_as_the_local_ones_do() -> None:
    from local.postgres import SETTINGS

    arguments = pod(one(manifests.stage("0-monolith"), "StatefulSet", "postgres-monolith"))["containers"][0]["args"]
    for name in ("wal_level", "max_replication_slots", "max_wal_senders", "max_logical_replication_workers"):
        assert f"-c{name}={SETTINGS[name]}" in arguments


def test_the_router_knows_every_path_and_every_site() -> None:
    data = next(m for m in of_kind(manifests.stage("0-monolith"), "ConfigMap") if "routes.yaml" in m["data"])["data"]
    routes, settings = yaml.safe_load(data["routes.yaml"])["http"], yaml.safe_load(data["traefik.yaml"])
    rules = {router["rule"] for router in routes["routers"].values()}
    for module in CONFIG.modules.values():
        assert " || ".join(f"PathPrefix(`{path}`)" for path in module.routes) in rules
    assert set(layout.APPS) <= set(settings["entryPoints"])
    deployment = pod(one(manifests.stage("0-monolith"), "Deployment", "router"))["containers"][0]
    ports = {port["name"]: f":{port['containerPort']}" for port in deployment["ports"]}
    assert ports == {name: entry["address"] for name, entry in settings["entryPoints"].items()}
