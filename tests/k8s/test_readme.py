"""What the READMEs tell people to type is what kubectl understands, as far as that can be seen without a cluster."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.k8s import manifests
from tests.k8s.manifests import K8S, ROOT

NOWHERE = "http://127.0.0.1:1"
KUBECTL = f"""#!/bin/sh
echo "kubectl $*" >>"$LOG"
{manifests.kubectl()} --kubeconfig=/dev/null --server={NOWHERE} --request-timeout=2s "$@" </dev/null >>"$LOG" 2>&1
echo "====" >>"$LOG"
"""


def snippets(text: str) -> list[str]:
    """The indented blocks, and whole commands within a line."""
    blocks = [block for block in re.findall(r"(?:^    .*\n)+", text, re.M) if "kubectl" in block]
    return blocks + [found.replace("\\|", "|") for found in re.findall(r"`(kubectl (?:-n|\w+ -k k8s)[^`]+)`", text)]


def complaints(script: str, folder: Path) -> list[str]:
    """Runs it with a kubectl that has no cluster; what it says of each command that doesn't fail for just that."""
    (folder / "kubectl").write_text(KUBECTL)
    (folder / "kubectl").chmod(0o755)
    (folder / "log").touch()
    environment = {"PATH": str(folder), "LOG": str(folder / "log"), "HOME": str(folder)}  # no other commands
    subprocess.run(
        ["/bin/bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False
    )
    found = (folder / "log").read_text().split("====\n")[:-1]
    assert found, f"no kubectl in: {script}"
    return [each for each in found if NOWHERE.removeprefix("http://") not in each]


READMES = {str(path.relative_to(ROOT)): snippets(path.read_text()) for path in sorted(K8S.rglob("README.md"))}


@pytest.mark.parametrize("path", [path for path, found in READMES.items() if found])
def test_kubectl_understands_every_command(path: str, tmp_path: Path) -> None:
    script = "\n".join(READMES[path]).replace("k8s/secrets.sh", ":").replace(" &\n", "\n")
    assert complaints(script, tmp_path) == []


@pytest.mark.parametrize(
    "wrong", ["apply -k k8s/stages/6-more", "-n forum rollout state deployment/kit", "get pods --no"]
)
def test_a_wrong_command_is_found(wrong: str, tmp_path: Path) -> None:
    assert len(complaints(f"kubectl {wrong}", tmp_path)) == 1


def test_cleaning_up_leaves_what_stage_0_has() -> None:
    """What is deleted by kind and label, applied to the objects of stage 5."""
    section = (K8S / "README.md").read_text().split("## Cleaning up\n")[1]
    names = re.findall(r"for app in ([\w ]+); do", section)[0].split()
    kinds = set(
        re.findall(r"delete ([\w,]+) -l \"app.kubernetes.io/name in \(\$app, postgres-\$app\)\"", section)[0].split(",")
    )
    assert kinds == {"deployment", "service", "pdb", "networkpolicy", "statefulset", "configmap"}
    gone = {each for name in names for each in (name, f"postgres-{name}")}
    left = {
        manifests.name(each)
        for each in manifests.stage("5-microservices")
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/name") not in gone
    }
    assert left == {manifests.name(each) for each in manifests.stage("0-monolith")}
