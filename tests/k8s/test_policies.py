"""Each rule holds at every stage, and each would be missed: a negative control breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.k8s import manifests, policies
from tests.k8s.manifests import STAGES, Object, one, pod


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("rule", policies.RULES, ids=lambda rule: rule.__name__)
def test_a_rule_holds(stage: str, rule: Callable[[list[Object]], list[str]]) -> None:
    assert list(rule(manifests.stage(stage))) == []


def users(objects: list[Object]) -> Object:
    return one(objects, "Deployment", "users")


def app(objects: list[Object]) -> Object:
    found: Object = pod(users(objects))["containers"][0]
    return found


BREAKS: list[tuple[str, Callable[[list[Object]], object]]] = [
    ("accounts", lambda o: pod(users(o)).pop("securityContext")),
    ("accounts", lambda o: pod(users(o))["securityContext"].pop("seccompProfile")),
    ("accounts", lambda o: pod(users(o)).pop("automountServiceAccountToken")),
    ("accounts", lambda o: app(o)["securityContext"].update(readOnlyRootFilesystem=False)),
    ("accounts", lambda o: app(o)["securityContext"].pop("capabilities")),
    ("accounts", lambda o: app(o)["securityContext"].update(allowPrivilegeEscalation=True)),
    ("accounts", lambda o: pod(users(o))["initContainers"][0].pop("securityContext")),
    ("accounts", lambda o: one(o, "Namespace", "forum")["metadata"].pop("labels")),
    ("sizes", lambda o: app(o)["resources"].pop("limits")),
    ("sizes", lambda o: app(o)["resources"]["requests"].pop("memory")),
    ("images", lambda o: app(o).update(image="forum-users:latest")),
    ("images", lambda o: app(o).update(image="forum-users")),
    ("images", lambda o: app(o).update(imagePullPolicy="Always")),
    ("probes", lambda o: app(o).pop("startupProbe")),
    ("probes", lambda o: app(o).pop("readinessProbe")),
    ("probes", lambda o: app(o)["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("updates", lambda o: users(o)["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1)),
    ("updates", lambda o: users(o)["spec"].pop("minReadySeconds")),
    ("updates", lambda o: app(o).pop("lifecycle")),
    ("updates", lambda o: pod(users(o)).update(terminationGracePeriodSeconds=30)),
    ("updates", lambda o: pod(users(o)).pop("topologySpreadConstraints")),
    ("updates", lambda o: o.remove(one(o, "PodDisruptionBudget", "users"))),
    ("data", lambda o: one(o, "StatefulSet", "postgres-users")["spec"].pop("volumeClaimTemplates")),
    ("data", lambda o: one(o, "StatefulSet", "postgres-users")["spec"].pop("persistentVolumeClaimRetentionPolicy")),
    ("named", lambda o: manifests.labels(users(o)).pop("app.kubernetes.io/part-of")),
    ("references", lambda o: one(o, "Service", "users")["spec"]["selector"].update({"app.kubernetes.io/name": "user"})),
    ("references", lambda o: one(o, "Service", "users")["spec"]["ports"][0].update(targetPort="web")),
    ("references", lambda o: o.remove(one(o, "Service", "entrance-users"))),
    ("references", lambda o: app(o)["envFrom"][0]["configMapRef"].update(name="forum")),
    ("references", lambda o: one(o, "HTTPRoute", "users")["spec"]["parentRefs"][0].update(name="other")),
    ("references", lambda o: pod(users(o)).pop("volumes")),
]


@pytest.mark.parametrize(("rule", "damage"), BREAKS, ids=[f"{rule}-{at}" for at, (rule, _) in enumerate(BREAKS)])
def test_a_rule_notices(rule: str, damage: Callable[[list[Object]], object]) -> None:
    objects = manifests.stage("2-users")
    damage(objects)
    assert list(getattr(policies, rule)(objects))
