"""The strategies against a target that only writes down what it is told, and the judge against canned figures."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from loadtest.rollouts import compare
from loadtest.rollouts.figures import Figures, of_comparer, of_gateway
from loadtest.rollouts.judge import Judge, NoJudge, Verdict
from loadtest.rollouts.routes import keys
from loadtest.rollouts.strategies import STRATEGIES
from loadtest.rollouts.target import FAULTS, Order, Route

GOOD, BAD = Verdict(True, "well"), Verdict(False, "not well")


class FakeTarget:
    name, where, timeline = "fake", ["--url", "http://127.0.0.1:1"], Path("/nonexistent")

    def __init__(self, ready: bool = True, stays: bool = True) -> None:
        self.did: list[str] = []
        self._ready, self._stays = ready, stays

    def reset(self, version: str) -> None:
        self.did.append(f"reset {version}")

    def start(self, replicas: int) -> None:
        self.did.append(f"start {replicas}")

    def ready(self) -> bool:
        return self._ready

    def mirror(self) -> None:
        self.did.append("mirror")

    def route(self, route: Route) -> None:
        chosen, mirrored = " chosen" * route.chosen, " mirrored" * route.mirrored
        self.did.append(f"route {route.percent}{chosen}{mirrored}")

    def replace(self, order: Order) -> bool:
        self.did.append(order)
        return self._ready and self._stays

    def retire(self) -> None:
        self.did.append("retire")

    def withdraw(self) -> None:
        self.did.append("withdraw")

    def figures(self) -> tuple[Figures, Figures]:
        return Figures(), Figures()

    def running(self) -> dict[str, int]:
        return {}


class CannedJudge(Judge):
    def __init__(self, *verdicts: Verdict) -> None:
        object.__setattr__(self, "left", iter(verdicts))

    def watch(self, *_: object, **__: object) -> Verdict:
        return next(self.left)  # type: ignore[attr-defined, no-any-return]


STEPS = {
    "recreate": ["all-at-once"],
    "rolling": ["one-by-one"],
    "blue-green": ["start 2", "route 100", "retire"],
    "canary": ["start 1", "route 20", "start 2", "route 50", "start 2", "route 100", "retire"],
    "ab": ["start 1", "route 0 chosen", "start 2", "route 100", "retire"],
    "shadow": ["start 1", "mirror", "route 0 mirrored", "route 0", "start 2", "route 100", "retire"],
}
BACK = {
    "blue-green": ["start 2", "route 100", "route 0", "withdraw"],
    "canary": ["start 1", "route 20", "route 0", "withdraw"],
    "ab": ["start 1", "route 0 chosen", "route 0", "withdraw"],
    "shadow": ["start 1", "mirror", "route 0 mirrored", "route 0", "withdraw"],
}


def steps(name: str, target: FakeTarget, *verdicts: Verdict) -> bool:
    return STRATEGIES[name].run(target, CannedJudge(*verdicts), lambda _: None).done


@pytest.mark.parametrize("name", STEPS)
def test_a_good_version_gets_everybody_in_these_steps(name: str) -> None:
    target = FakeTarget()
    assert steps(name, target, GOOD, GOOD)
    assert target.did == STEPS[name]


@pytest.mark.parametrize("name", BACK)
def test_a_version_that_is_judged_bad_is_taken_away_again(name: str) -> None:
    target = FakeTarget()
    assert not steps(name, target, BAD)
    assert target.did == BACK[name]


@pytest.mark.parametrize("name", STEPS)
def test_a_version_that_never_gets_ready_gets_nobody(name: str) -> None:
    target = FakeTarget(ready=False)
    assert not steps(name, target)
    assert not [step for step in target.did if step.startswith("route") and step != "route 0"]


def test_a_canary_that_falls_ill_at_half_turns_back() -> None:
    target = FakeTarget()
    assert not steps("canary", target, GOOD, BAD)
    assert target.did == ["start 1", "route 20", "start 2", "route 50", "route 0", "withdraw"]


def test_every_strategy_says_what_it_cannot_see() -> None:
    for strategy in STRATEGIES.values():
        assert strategy.sees <= set(FAULTS)
        assert ("wrong answers" in strategy.blind) == ("wrong" not in strategy.sees)


# --- the judge --------------------------------------------------------------------------------------------------------

QUICK = {0.1: 100.0, 0.3: 100.0, 1.2: 100.0, float("inf"): 100.0}
SLOW = {0.1: 0.0, 0.3: 0.0, 1.2: 100.0, float("inf"): 100.0}
OLD = Figures(100, 0, QUICK, 100e6)


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (Figures(100, 0, QUICK, 100e6), None),
        (Figures(100, 5, QUICK, 100e6), "5% of 100 requests failed"),
        (Figures(12, 3, QUICK, 100e6), "25% of 12 requests failed"),
        (Figures(12, 2, QUICK, 100e6), None),
        (Figures(100, 0, SLOW, 100e6), "95 % within"),
        (Figures(100, 0, QUICK, 150e6), "of memory"),
        (Figures(100, 0, QUICK, 100e6, compared=40, different=40), "40 of 40 answers differ"),
        (Figures(100, 0, QUICK, 100e6, compared=40), None),
    ],
)
def test_the_judge_finds_the_fault_in_the_figures(new: Figures, why: str | None) -> None:
    found = Judge().fault(OLD, new)
    assert found is None if why is None else why in (found or "")


def test_errors_that_the_old_version_has_too_are_not_the_new_one_s() -> None:
    assert Judge().fault(Figures(100, 5, QUICK), Figures(100, 5, QUICK)) is None


class Canned:
    def __init__(self, *new: Figures) -> None:
        self._new = iter([*new, *itertools.repeat(new[-1], 100)])

    def figures(self) -> tuple[Figures, Figures]:
        return Figures(), next(self._new)


def watched(*new: Figures) -> Verdict:
    ticks = itertools.count()
    return Judge().watch(Canned(*new), sleep=lambda _: None, clock=lambda: float(next(ticks)))


def test_too_few_requests_are_no_promotion() -> None:
    verdict = watched(Figures(), Figures(39))
    assert not verdict.good
    assert "too few requests to judge: 39 of 40" in verdict.why


def test_only_what_came_since_counts() -> None:
    assert watched(Figures(1000, 500), Figures(1100, 500)).good
    assert not watched(Figures(1000, 0), Figures(1100, 50)).good


def test_nobody_looking_finds_everything_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.rollouts.judge.time.sleep", lambda _: None)
    assert NoJudge().watch(Canned(Figures(100, 100))).good


# --- where figures come from ------------------------------------------------------------------------------------------

TRAEFIK = """
# TYPE traefik_service_requests_total counter
traefik_service_requests_total{code="200",method="GET",protocol="http",service="topics@redis"} 90
traefik_service_requests_total{code="502",method="GET",protocol="http",service="topics@redis"} 10
traefik_service_requests_total{code="200",method="GET",protocol="http",service="topics-new@redis"} 7
# TYPE traefik_service_request_duration_seconds histogram
traefik_service_request_duration_seconds_bucket{code="200",service="topics@redis",le="0.1"} 50
traefik_service_request_duration_seconds_bucket{code="200",service="topics@redis",le="0.3"} 100
traefik_service_request_duration_seconds_bucket{code="200",service="topics@redis",le="+Inf"} 100
"""


def test_figures_are_read_from_the_gateways_metrics() -> None:
    found = of_gateway(TRAEFIK, "topics@redis")
    assert (found.requests, found.errors) == (100, 10)
    assert found.p95 == pytest.approx(0.28)
    assert of_gateway(TRAEFIK, "topics-new@redis").requests == 7


def test_answers_are_compared_by_what_the_old_version_says(monkeypatch: pytest.MonkeyPatch) -> None:
    the_same_and_more = [{"title": "a"}, {"title": "a", "edited": True}, {"title": "a"}]
    different = [{"title": "a"}, {"title": "A"}, {"title": "a"}]
    written_in_between = [{"title": "a"}, {"title": "b"}, {"title": "b"}]
    viewed_meanwhile = [{"title": "a", "views": 1}, {"title": "a", "views": 2}, {"title": "a", "views": 1}]
    views_no_more = [{"title": "a", "views": 1}, {"title": "a"}, {"title": "a", "views": 2}]
    answers = iter([*the_same_and_more, *different, *written_in_between, *viewed_meanwhile, *views_no_more])
    monkeypatch.setattr(compare, "ask", lambda *_: (200, next(answers)))
    before = of_comparer(compare.generate_latest().decode(), "new")
    for _ in range(5):
        compare.compare("/api/topics", {})
    found = of_comparer(compare.generate_latest().decode(), "new").since(before)
    assert (found.compared, found.different) == (4, 2)


# --- routes -----------------------------------------------------------------------------------------------------------

PUBLIC = "traefik/http/routers/public-api-topics"
BASE = {
    f"{PUBLIC}/rule": "PathPrefix(`/api/topics`)",
    f"{PUBLIC}/service": "topics",
    "traefik/http/routers/internal-topics/service": "topics",
    "traefik/http/services/topics/loadbalancer/servers/0/url": "http://old",
}


def test_routes_are_those_of_the_stage_and_what_is_added() -> None:
    assert keys(BASE, Route()) == BASE
    split = keys(BASE, Route(percent=20), ["http://new"])
    weights = {split[f"traefik/http/services/topics-both/weighted/services/{n}/weight"] for n in (0, 1)}
    assert weights == {"80", "20"}
    assert split["traefik/http/routers/internal-topics/service"] == "topics"
    assert keys(BASE, Route(percent=100), ["http://new"])[f"{PUBLIC}/service"] == "topics-new"
    assert "Header(`Forum-Variant`, `b`)" in keys(BASE, Route(chosen=True), ["http://new"])[f"{PUBLIC}-chosen/rule"]
    reads = keys(BASE, Route(mirrored=True), ["http://new"], "http://comparer")
    assert reads[f"{PUBLIC}-reads/rule"] == "PathPrefix(`/api/topics`) && (Method(`GET`))"
