"""checkov has no complaint that isn't waived, with a reason, beside the object."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from tests.k8s import manifests
from tests.k8s.manifests import K8S, ROOT, Object
from tests.k8s.test_render import COMPONENTS, FOLDERS

CHECKOV = ROOT / "build/checkov/bin/checkov"
WAIVER = re.compile(r"(CKV2?_K8S_\d+)=(.{10,})")
"""What an annotation `checkov.io/skip1`, `skip2` ... says: the check, and why it is not for this object."""

Complaint = tuple[str, str]
"""The object, `Deployment/users`, and the check."""

pytestmark = pytest.mark.skipif(not CHECKOV.exists(), reason="`make test-k8s` installs checkov")


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Each object once, in each form: stages, strategies, every component at an early stage and the last."""
    folder = tmp_path_factory.mktemp("overlays")
    found = [each for path in FOLDERS for each in manifests.render(K8S / path)]
    for component in COMPONENTS:
        for stage in ("1-gateway", "5-microservices"):
            stages, components = [K8S / "stages" / stage], [K8S / "components" / component]
            found += manifests.compose(folder / component / stage, resources=stages, components=components)
    return list({json.dumps(each, sort_keys=True): each for each in found}.values())


def complaints(objects: Iterable[Object], folder: Path) -> set[Complaint]:
    """One run of checkov, which asks nothing of the network."""
    objects = list(objects)
    folder.mkdir(exist_ok=True)
    for number, each in enumerate(objects):
        (folder / f"{number:03}.yaml").write_text(yaml.safe_dump(each))
    arguments = ["--framework", "kubernetes", "--skip-download", "--compact", "--output", "json", "--directory", "."]
    done = subprocess.run([str(CHECKOV), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, report["results"]["parsing_errors"]
    seen = report["results"]["passed_checks"] + report["results"]["skipped_checks"] + report["results"]["failed_checks"]
    pods = {manifests.name(each) for each in manifests.workloads(objects)}
    assert pods <= {_name(check["resource"]) for check in seen}, "checkov has not looked at all of them"
    return {(_name(check["resource"]), check["check_id"]) for check in report["results"]["failed_checks"]}


def _name(resource: str) -> str:
    kind, _, name = resource.split(".", 2)
    return f"{kind}/{name}"


def waivers(each: Object) -> dict[str, str]:
    said = each["metadata"].get("annotations", {}).items()
    return {key: value for key, value in said if key.startswith("checkov.io/skip")}


def test_nothing_is_wrong(everything: list[Object], tmp_path: Path) -> None:
    assert complaints(everything, tmp_path) == set()


def test_what_is_waived_needs_to_be(everything: list[Object], tmp_path: Path) -> None:
    """Without its waivers each object is complained of for just what they say; and each says why."""
    bare, waived = copy.deepcopy(everything), set()
    for each in bare:
        for key, value in waivers(each).items():
            said = WAIVER.fullmatch(value)
            assert said, f"{manifests.name(each)}: {key} names no check or no reason"
            waived.add((manifests.name(each), said[1]))
            del each["metadata"]["annotations"][key]
    assert complaints(bare, tmp_path) == waived


def test_a_fault_is_found(tmp_path: Path) -> None:
    objects = manifests.stage("2-users")
    users = manifests.one(objects, "Deployment", "users")
    manifests.pod(users)["containers"][0]["securityContext"]["privileged"] = True
    assert complaints(objects, tmp_path) == {("Deployment/users", "CKV_K8S_16")}
