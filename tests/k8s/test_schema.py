"""Every field of every object is one that the API server knows: an unknown one is an error, not a warning."""

from __future__ import annotations

import copy
import functools
import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.k8s import manifests
from tests.k8s.manifests import K8S, ROOT, STAGES, Object
from tests.k8s.test_render import COMPONENTS, FOLDERS

VERSIONS = ["1.35", "1.36", "1.37"]
CUSTOM = {"gateway.networking.k8s.io"}


def schemas() -> Path | None:
    """Where the CustomResourceDefinitions lie: $CRD_SCHEMAS, or a folder `schemas` beside the checkout."""
    given = os.environ.get("CRD_SCHEMAS")
    found = [Path(given)] if given else [path.parent for path in ROOT.parent.glob("*/schemas/gateway-api")]
    return found[0] if found and found[0].is_dir() else None


needs_schemas = pytest.mark.skipif(
    schemas() is None, reason="no CustomResourceDefinitions of Gateway API here; name their folder in CRD_SCHEMAS"
)


@functools.cache
def definitions() -> dict[tuple[str, str], Any]:
    found = {}
    for path in (schemas() or Path("/nonexistent")).rglob("*.yaml"):
        for crd in yaml.safe_load_all(path.read_text()):
            if not crd or crd.get("kind") != "CustomResourceDefinition":
                continue
            for version in crd["spec"]["versions"]:
                key = f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]
                found[key] = strict(version["schema"]["openAPIV3Schema"])
    return found


def strict(schema: Any) -> Any:
    """The schema as strict field validation reads it: what is not named is not allowed."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    closed = not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema
    if closed and isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        made["additionalProperties"] = False
    return made


def validate(found: Object, version: str) -> None:
    if found["apiVersion"].split("/")[0] in CUSTOM:
        if schemas() is not None:
            bare = {key: value for key, value in found.items() if key != "metadata"}
            schema = copy.deepcopy(definitions()[found["apiVersion"], found["kind"]])
            schema["properties"].pop("metadata", None)
            jsonschema.validate(bare, schema)
    else:
        kubernetes_validate.validate(found, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_is_valid(version: str) -> None:
    seen: list[Object] = []
    for folder in FOLDERS:
        for found in manifests.render(K8S / folder):
            if found not in seen:
                seen.append(found)
                validate(found, version)
    assert len(seen) > 80


@pytest.mark.parametrize("version", VERSIONS)
def test_components_are_valid(version: str, tmp_path: Path) -> None:
    base = manifests.stage(STAGES[-1])
    for component in COMPONENTS:
        folder = K8S / "components" / component
        for found in manifests.compose(
            tmp_path / component, resources=[K8S / "stages" / STAGES[-1]], components=[folder]
        ):
            if found not in base:
                validate(found, version)


@pytest.mark.parametrize("path", ["spec.replica", "spec.template.spec.container", "spec.template.spec.dnsPolicyy"])
def test_an_unknown_field_is_found(path: str) -> None:
    found = manifests.one(manifests.stage("2-users"), "Deployment", "users")
    *where, field = path.split(".")
    functools.reduce(lambda at, key: at[key], where, found)[field] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(found, "1.36")


@needs_schemas
def test_an_unknown_field_of_a_route_is_found() -> None:
    found = manifests.one(manifests.stage("2-users"), "HTTPRoute", "users")
    validate(found, "1.36")
    found["spec"]["rules"][0]["backendRefs"][0]["wieght"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validate(found, "1.36")
