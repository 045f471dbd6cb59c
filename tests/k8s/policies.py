"""What must hold for every rendered object: each rule gives its complaints, one line each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.k8s.manifests import Object, containers, labels, name, of_kind, pod, workloads

MARGIN = 5
"""Seconds of grace beside preStop, drain and the graceful stop."""


def accounts(objects: list[Object]) -> Iterator[str]:
    """Nobody is root, nobody gains anything, nobody writes to the image, nobody has a token."""
    for each in workloads(objects):
        spec = pod(each)
        context = spec.get("securityContext", {})
        if not (context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0):
            yield f"{name(each)} may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name(each)} has no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{name(each)} gets a token"
        if any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name(each)} is on the host"
        for one in containers(each):
            secure = one.get("securityContext", {})
            if secure.get("readOnlyRootFilesystem") is not True:
                yield f"{name(each)}/{one['name']} writes to its root"
            if secure.get("allowPrivilegeEscalation") is not False or secure.get("privileged"):
                yield f"{name(each)}/{one['name']} may gain privileges"
            if secure.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{name(each)}/{one['name']} has capabilities"
    for each in of_kind(objects, "Namespace"):
        if each["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "the namespace lets everything in"


def sizes(objects: list[Object]) -> Iterator[str]:
    """Every container says what it needs and what it may take."""
    for each in workloads(objects):
        for one in containers(each):
            for kind in ("requests", "limits"):
                if set(one.get("resources", {}).get(kind, {})) != {"cpu", "memory"}:
                    yield f"{name(each)}/{one['name']} has no {kind}"


def images(objects: list[Object]) -> Iterator[str]:
    """A tag that means something, and no registry asked for what is there."""
    for each in workloads(objects):
        for one in containers(each):
            if one["image"].rpartition(":")[2] in (one["image"], "latest"):
                yield f"{name(each)}/{one['name']}: {one['image']} has no tag"
            if one.get("imagePullPolicy") != "IfNotPresent":
                yield f"{name(each)}/{one['name']} is pulled each time"


def probes(objects: list[Object]) -> Iterator[str]:
    """Who takes traffic has all three probes; readiness and liveness of an application ask different things."""
    for each in workloads(objects):
        one = pod(each)["containers"][0]
        if not one.get("ports"):
            continue
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe not in one:
                yield f"{name(each)} has no {probe}"
        if labels(each).get("app.kubernetes.io/component") == "server":
            for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/livez"), ("startupProbe", "/livez")):
                if one.get(probe, {}).get("httpGet", {}).get("path") != path:
                    yield f"{name(each)}: {probe} does not ask {path}"


def updates(objects: list[Object]) -> Iterator[str]:
    """Servers and router are replaced without ever being fewer, and go down in an order that adds up."""
    settings = {k: v for each in of_kind(objects, "ConfigMap") for k, v in each.get("data", {}).items()}
    budgets = of_kind(objects, "PodDisruptionBudget")
    for each in of_kind(objects, "Deployment"):
        if labels(each).get("app.kubernetes.io/component") not in ("server", "router"):
            continue
        if each["spec"].get("strategy", {}).get("rollingUpdate") != {"maxUnavailable": 0, "maxSurge": 1}:
            yield f"{name(each)} may have fewer pods during an update"
        if each["spec"].get("minReadySeconds", 0) < 2:
            yield f"{name(each)} has no minReadySeconds"
        if not pod(each).get("topologySpreadConstraints"):
            yield f"{name(each)} may be all on one node"
        sleep = pod(each)["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if sleep < 5:
            yield f"{name(each)} goes down before the gateway knows"
        drain, graceful = float(settings["DRAIN_SECONDS"]), float(settings["GRACEFUL_SECONDS"])
        if pod(each)["terminationGracePeriodSeconds"] < sleep + drain + graceful + MARGIN:
            yield f"{name(each)} is killed before it has finished"
        mine = [one for one in budgets if one["spec"]["selector"]["matchLabels"].items() <= labels(each).items()]
        if len(mine) != 1:
            yield f"{name(each)} has {len(mine)} disruption budgets"


def data(objects: list[Object]) -> Iterator[str]:
    """What is stored outlives its pod and its StatefulSet."""
    for each in of_kind(objects, "StatefulSet"):
        claims = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
        mounted = {one["name"] for one in pod(each)["containers"][0]["volumeMounts"]}
        if not claims & mounted:
            yield f"{name(each)} keeps nothing"
        kept = {"whenDeleted": "Retain", "whenScaled": "Retain"}
        if each["spec"].get("persistentVolumeClaimRetentionPolicy") != kept:
            yield f"{name(each)} may lose its claims"


def named(objects: list[Object]) -> Iterator[str]:
    """The labels that tools read."""
    for each in workloads(objects):
        for found in (each["metadata"].get("labels", {}), labels(each)):
            if not {"app.kubernetes.io/name", "app.kubernetes.io/part-of"} <= set(found):
                yield f"{name(each)} lacks labels"


def references(objects: list[Object]) -> Iterator[str]:
    """What names another object, port or key names one that is there. Secrets are those of secrets.sh."""
    maps = {each["metadata"]["name"] for each in of_kind(objects, "ConfigMap")}
    services = {each["metadata"]["name"]: each for each in of_kind(objects, "Service")}
    for each in workloads(objects):
        wanted = each["spec"]["selector"]["matchLabels"].items() if "selector" in each["spec"] else {}.items()
        if not wanted <= labels(each).items():
            yield f"{name(each)} does not select its own pods"
        if each["kind"] == "StatefulSet" and each["spec"]["serviceName"] not in services:
            yield f"{name(each)}: no Service {each['spec']['serviceName']}"
        claims = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in pod(each).get("volumes", [])} | claims
        for volume in pod(each).get("volumes", []):
            if "configMap" in volume and volume["configMap"]["name"] not in maps:
                yield f"{name(each)}: no ConfigMap {volume['configMap']['name']}"
        for one in containers(each):
            for source in one.get("envFrom", []):
                if source["configMapRef"]["name"] not in maps:
                    yield f"{name(each)}: no ConfigMap {source['configMapRef']['name']}"
            for mount in one.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{name(each)}: no volume {mount['name']}"
    for service in services.values():
        chosen = [w for w in workloads(objects) if service["spec"]["selector"].items() <= labels(w).items()]
        if not chosen:
            yield f"{name(service)} leads nowhere"
        for workload in chosen:
            ports = {port["name"] for one in containers(workload) for port in one.get("ports", [])}
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in ports:
                    yield f"{name(service)}: {name(workload)} has no port {port['targetPort']}"
    gateways = {each["metadata"]["name"] for each in of_kind(objects, "Gateway")}
    for route in of_kind(objects, "HTTPRoute"):
        if any(parent["name"] not in gateways for parent in route["spec"]["parentRefs"]):
            yield f"{name(route)} belongs to no Gateway"
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                target: Any = services.get(backend["name"])
                if target is None or backend["port"] not in {port["port"] for port in target["spec"]["ports"]}:
                    yield f"{name(route)} leads to {backend['name']}:{backend['port']}, which is not there"


RULES = [accounts, sizes, images, probes, updates, data, named, references]
