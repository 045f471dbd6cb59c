"""Rollouts on Kubernetes, by kubectl and the folders of k8s/strategies. No cluster has run this yet.

It uses a forum that is there, at stage 5 in the namespace `forum`, at the address URL; the image forum-topics:v2 is on
the nodes. Nothing compares answers there: while mirrored, version 2 is judged by its own metrics alone.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from loadtest.rollouts.figures import Figures, of_service, total
from loadtest.rollouts.target import NEW, OLD, REPLICAS, SITE, Order, Route
from local.errors import LocalError
from local.state import CHECKOUT

STRATEGIES = "k8s/strategies"
STAGE = "k8s/stages/5-microservices"
V2 = f"{SITE}-v2"
READY_SECONDS = 40
HERE = Path(__file__).parent


def kubectl(*words: str, said: str = "") -> str:
    """What `kubectl -n forum WORDS` prints. Raises LocalError with its last line when it fails."""
    try:
        done = subprocess.run(  # noqa: S603
            ["kubectl", "-n", "forum", *words], input=said, cwd=CHECKOUT, capture_output=True, text=True, check=False,  # noqa: S607
        )  # fmt: skip
    except FileNotFoundError:
        raise LocalError("there is no kubectl here; install it, or say TARGET=local") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise LocalError(f"`kubectl {' '.join(words[:2])}` failed: {' '.join(last)}", 1)
    return done.stdout


@contextmanager
def kubernetes(out: Path, say: Callable[[str], None]) -> Iterator[Kubernetes]:  # noqa: ARG001
    """The forum that is there; at version 1 again at the end."""
    url = os.environ.get("URL")
    if not url:
        raise LocalError("TARGET=kubernetes needs URL, where the forum is; see k8s/README.md")
    kubectl("get", "deployment", SITE)
    found = Kubernetes(url, out)
    try:
        yield found
    finally:
        found.reset("good")


class Kubernetes:
    name = "kubernetes"

    def __init__(self, url: str, out: Path) -> None:
        self.where = ["--url", url]
        self.timeline = out / "timeline.jsonl"
        self.timeline.unlink(missing_ok=True)
        self._version = "good"
        self._route = Route()

    def reset(self, version: str) -> None:
        self._version, self._route = version, Route()
        kubectl("apply", "-k", STAGE)
        kubectl("rollout", "status", f"deployment/{SITE}", "--timeout=180s")
        self.withdraw()

    def start(self, replicas: int) -> None:
        self._apply(f"{STRATEGIES}/canary/1-start", V2, replicas)

    def ready(self) -> bool:
        return self._rolled_out(V2)

    def mirror(self) -> None:
        kubectl("apply", "-k", f"{STRATEGIES}/shadow/1-start")
        kubectl("rollout", "status", f"deployment/{SITE}-mirror", "--timeout=60s")

    def route(self, route: Route) -> None:
        if route.chosen:
            self._apply_routes(f"{STRATEGIES}/ab/2-test")
        elif route.mirrored:
            self._apply_routes(f"{STRATEGIES}/shadow/2-mirror")
        else:
            self._apply_routes(f"{STRATEGIES}/canary/1-start", route.percent)
        self._route = route

    def replace(self, order: Order) -> bool:
        self._apply(f"{STRATEGIES}/{'recreate' if order == 'all-at-once' else 'rolling'}", SITE)
        if self._rolled_out(SITE):
            return True
        kubectl("rollout", "undo", f"deployment/{SITE}")
        kubectl("rollout", "status", f"deployment/{SITE}", "--timeout=180s")
        return False

    def retire(self) -> None:
        kubectl("scale", f"deployment/{SITE}", "--replicas=0")

    def withdraw(self) -> None:
        kinds = "deployment,service,poddisruptionbudget,networkpolicy,configmap"
        for name in (V2, f"{SITE}-mirror"):
            kubectl("delete", kinds, "-l", f"app.kubernetes.io/name={name}", "--ignore-not-found", "--wait")

    def figures(self) -> tuple[Figures, Figures]:
        return self._figures(SITE), self._figures(V2)

    def running(self) -> dict[str, int]:
        return {OLD: len(self._pods(SITE)), NEW: len(self._pods(V2))}

    # --- what it takes ----------------------------------------------------------------------------------------------

    def _apply(self, folder: str, name: str, replicas: int = REPLICAS) -> None:
        """A folder, its version 2 with the fault: `faulty.py` from a ConfigMap, beside the application."""
        objects = [one for one in yaml.safe_load_all(kubectl("kustomize", folder)) if one]
        for one in objects:
            if one["kind"] == "Deployment" and one["metadata"]["name"] == name:
                one["spec"]["replicas"] = replicas
                if self._version != "good":
                    self._spoil(one["spec"]["template"]["spec"])
        text = (HERE / "faulty.py").read_text()
        fault = {
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"faulty.py": text},
            "metadata": {"name": "rollout-fault", "namespace": "forum", "labels": {"app.kubernetes.io/name": V2}},
        }  # fmt: skip
        kubectl("apply", "-f", "-", said=yaml.safe_dump_all([fault, *objects]))

    def _spoil(self, pod: dict[str, Any]) -> None:
        [container] = pod["containers"]
        container["env"] += [
            {"name": "FAULT", "value": self._version},
            {"name": "FAULTY_APP", "value": f"services.{SITE}.app:create_app()"},
        ]
        container["args"] = ["gunicorn", "-c", "python:strangler.gunicorn", "faulty:create_app()"]
        mount = {"name": "fault", "mountPath": "/app/faulty.py", "subPath": "faulty.py", "readOnly": True}
        container.setdefault("volumeMounts", []).append(mount)
        pod.setdefault("volumes", []).append({"name": "fault", "configMap": {"name": "rollout-fault"}})

    def _apply_routes(self, folder: str, percent: int = 0) -> None:
        objects = [
            one for one in yaml.safe_load_all(kubectl("kustomize", folder)) if one and one["kind"] == "HTTPRoute"
        ]
        for one in objects:
            backends = one["spec"]["rules"][0]["backendRefs"]
            if len(backends) == 2:
                backends[0]["weight"], backends[1]["weight"] = 100 - percent, percent
        kubectl("apply", "-f", "-", said=yaml.safe_dump_all(objects))

    def _rolled_out(self, deployment: str) -> bool:
        try:
            kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={READY_SECONDS}s")
        except LocalError:
            return False
        return True

    def _pods(self, name: str) -> list[str]:
        found = json.loads(kubectl("get", "pods", "-l", f"app.kubernetes.io/name={name}", "-o", "json"))["items"]
        return [pod["metadata"]["name"] for pod in found if pod["status"].get("phase") == "Running"]

    def _figures(self, name: str) -> Figures:
        """The sum of what its pods count of themselves, read through the API server."""
        requests = errors = 0.0
        buckets: dict[float, float] = {}
        memory: list[float] = []
        for pod in self._pods(name):
            text = kubectl("get", "--raw", f"/api/v1/namespaces/forum/pods/{pod}:8000/proxy/metrics")
            counted = of_service(text)
            requests, errors = requests + counted.requests, errors + counted.errors
            buckets = {bound: buckets.get(bound, 0) + n for bound, n in counted.buckets.items()}
            memory.append(total(text, "process_resident_memory_bytes"))
        return Figures(requests, errors, buckets, max(memory, default=None))
