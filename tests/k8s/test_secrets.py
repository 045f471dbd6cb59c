"""k8s/secrets.sh makes every Secret that a pod names, with a kubectl that only writes down what it is given."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.k8s import manifests
from tests.k8s.manifests import K8S, pod

KUBECTL = """#!/bin/sh
case "$*" in
*"get secret $EXISTING") exit 0 ;;
*"get namespace"*) exit 0 ;;
*get*) exit 1 ;;
*create*) cat >>"$WRITTEN"; echo --- >>"$WRITTEN" ;;
esac
"""


def written(folder: Path, existing: str = "none") -> str:
    """What k8s/secrets.sh would create, as YAML."""
    (folder / "kubectl").write_text(KUBECTL)
    (folder / "kubectl").chmod(0o755)
    to = folder / "written.yaml"
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "WRITTEN": str(to), "EXISTING": existing}
    subprocess.run(["sh", str(K8S / "secrets.sh")], env=environment, check=True, capture_output=True)
    return to.read_text()


def run(folder: Path, existing: str = "none") -> dict[str, dict[str, str]]:
    found = [each for each in yaml.safe_load_all(written(folder, existing)) if each]
    return {
        each["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in each["data"].items()}
        for each in found
    }


def test_every_secret_that_a_pod_names_is_made(tmp_path: Path) -> None:
    made = run(tmp_path)
    for workload in manifests.workloads(manifests.stage("4-messages")):
        for volume in pod(workload).get("volumes", []):
            sources = [s["secret"] for s in volume.get("projected", {}).get("sources", [])]
            if "secret" in volume:
                sources.append(volume["secret"] | {"name": volume["secret"]["secretName"]})
            for source in sources:
                for item in source["items"]:
                    assert made[source["name"]][item["key"]], f"{manifests.name(workload)}: {source['name']}"
    assert isinstance(load_pem_private_key(made["tokens"]["private-key"].encode(), None), Ed25519PrivateKey)
    users = made["postgres-users"]
    assert users["database-url"] == f"postgresql://forum:{users['forum-password']}@postgres-users:5432/users"
    assert users["dsn"] == f"postgresql://postgres:{users['admin-password']}@postgres-users:5432/users"
    assert users["admin-password"] != made["postgres-topics"]["admin-password"]


@pytest.mark.parametrize("name", ["tokens", "postgres-users"])
def test_a_secret_that_is_there_stays(name: str, tmp_path: Path) -> None:
    assert name not in run(tmp_path, existing=name)
