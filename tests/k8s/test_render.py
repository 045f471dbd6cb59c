"""Every folder under k8s/ is plain YAML that kubectl can apply, alone and together."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.k8s import manifests
from tests.k8s.manifests import K8S, STAGES, Object

COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
STEPS = sorted(str(path.parent.relative_to(K8S)) for path in (K8S / "strategies").glob("*/**/kustomization.yaml"))
FOLDERS = [*(f"stages/{name}" for name in STAGES), *STEPS, "overlays/example", "loadtest", "loadtest-workers"]


def test_nothing_is_left_out() -> None:
    assert STAGES == ["0-monolith", "1-gateway", "2-users", "3-topics", "4-messages", "5-microservices"]
    assert {step.split("/")[1] for step in STEPS} >= {"recreate", "rolling", "blue-green", "canary", "ab", "shadow"}
    assert COMPONENTS == [
        "hpa", "ingress", "istio", "linkerd", "local-images", "monitoring", "network-policies", "picture", "registry",
        "restricted-pss", "small", "tls",
    ]  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_renders(folder: str) -> None:
    check(manifests.render(K8S / folder))


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_goes_with_every_stage(component: str, tmp_path: Path) -> None:
    for stage in STAGES:
        objects = manifests.compose(
            tmp_path / stage, resources=[K8S / "stages" / stage], components=[K8S / "components" / component]
        )
        check(objects)
        assert objects != manifests.stage(stage), f"{component} changes nothing at {stage}"


def test_components_go_together(tmp_path: Path) -> None:
    together = [
        "ingress",
        "tls",
        "hpa",
        "monitoring",
        "network-policies",
        "picture",
        "restricted-pss",
        "registry",
        "linkerd",
    ]
    stage = K8S / "stages/5-microservices"
    check(manifests.compose(tmp_path, resources=[stage], components=[K8S / "components" / name for name in together]))


@pytest.mark.parametrize("step", STEPS)
def test_a_strategy_has_a_version_2_that_differs_visibly(step: str) -> None:
    """In `X-Served-By`, by its image, and in one field more. It is all that differs."""
    found = manifests.workloads(manifests.render(K8S / step))
    second = next(each for each in found if each["metadata"]["name"] in ("topics", "topics-v2"))
    app, before = (manifests.pod(each)["containers"][0] for each in (second, _version_1()))
    assert app.pop("image") == "forum-topics:v2"
    assert manifests.pod(second)["initContainers"][0]["image"] == "forum-topics:v2"
    app["env"].remove({"name": "SHOW_EDITED", "value": "true"})
    if "shadow" in step:
        app["env"] = [each for each in app["env"] if each["name"] != "REDIS_URL"]
    assert before.pop("image") == "forum-topics:dev"
    for each in (app, before):
        each.pop("envFrom")  # its name carries a hash, or none when a folder is rendered that others build on
    assert app == before


def _version_1() -> Object:
    return manifests.one(manifests.stage("5-microservices"), "Deployment", "topics")


def check(objects: list[Object]) -> None:
    keys = [(found["kind"], found["metadata"]["name"]) for found in objects]
    assert len(set(keys)) == len(keys), "an object is there twice"
    for found in objects:
        if found["kind"] != "Namespace":
            assert found["metadata"].get("namespace") == "forum", f"{manifests.name(found)} has another namespace"
        if found["kind"] == "ConfigMap":
            assert found["metadata"]["name"].rpartition("-")[2].isalnum()
            assert len(found["metadata"]["name"].rpartition("-")[2]) == 10, "a ConfigMap's name carries a hash"
        assert found["kind"] != "Secret", "no Secret lies among the manifests"


@pytest.mark.parametrize(("before", "after"), [*itertools.pairwise(STAGES), *zip(STAGES[1:], STAGES, strict=False)])
def test_no_step_changes_what_cannot_be_changed(before: str, after: str) -> None:
    """Selectors, claims and Service names of objects that both stages have: `kubectl apply` would be refused."""
    then = {manifests.name(found): found for found in manifests.stage(before)}
    for found in manifests.stage(after):
        old = then.get(manifests.name(found))
        if old is None or found["kind"] not in ("Deployment", "StatefulSet"):
            continue
        for field in ("selector", "serviceName", "volumeClaimTemplates"):
            assert found["spec"].get(field) == old["spec"].get(field), f"{manifests.name(found)}: {field} changes"


@pytest.mark.parametrize(("before", "after"), [*itertools.pairwise(STAGES)])
def test_a_step_replaces_no_pods_but_the_kits(before: str, after: str) -> None:
    """What a stage doesn't concern goes on running, so that a step is a small one."""
    then = {manifests.name(found): found for found in manifests.workloads(manifests.stage(before))}
    for found in manifests.workloads(manifests.stage(after)):
        old = then.get(manifests.name(found))
        if old is not None and manifests.name(found) != "Deployment/kit":
            assert found["spec"]["template"] == old["spec"]["template"], f"{manifests.name(found)} is replaced"


def test_stages_need_no_job() -> None:
    """A Job's template cannot be changed, and a finished one does nothing when its stage comes again."""
    for stage in STAGES:
        assert not manifests.of_kind(manifests.stage(stage), "Job", "CronJob")
