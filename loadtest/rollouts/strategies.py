"""The six ways from one version to the next, written once. What a bad version does to each is what is measured.

Every one ends with everybody at the new version, or with everybody back at the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.rollouts.judge import Judge, NoJudge
from loadtest.rollouts.target import REPLICAS, Route, Target

Say = Callable[[str], None]
"""Told each step, in a word or two."""
CANARY = (20, 50)
"""Percent of the requests, step by step."""


@dataclass(frozen=True)
class Outcome:
    """`done`: the new version serves everybody; else the old one does again, and this is why."""

    done: bool
    why: str


@dataclass(frozen=True)
class Strategy:
    name: str
    run: Callable[[Target, Judge | NoJudge, Say], Outcome]
    sees: frozenset[str]
    """The faults on which it turns back."""
    blind: str
    """What it cannot see, and why."""
    outage: bool = False


NOT_READY = Outcome(False, "the new version did not get ready")
_WRONG = "wrong answers: they come quickly and with status 200"


def recreate(target: Target, judge: Judge | NoJudge, say: Say) -> Outcome:  # noqa: ARG001
    say("stop all, start all")
    return _replaced(target.replace("all-at-once"))


def rolling(target: Target, judge: Judge | NoJudge, say: Say) -> Outcome:  # noqa: ARG001
    say("one by one")
    return _replaced(target.replace("one-by-one"))


def _replaced(well: bool) -> Outcome:
    why = "every instance is ready" if well else "the new version did not get ready, or did not stay up"
    return Outcome(well, why)


def blue_green(target: Target, judge: Judge | NoJudge, say: Say) -> Outcome:
    before, _ = target.figures()
    say("green starts")
    target.start(REPLICAS)
    if not target.ready():
        return _back(target, NOT_READY)
    blue, _ = target.figures()
    say("all to green")
    target.route(Route(percent=100))
    verdict = judge.watch(target, blue.since(before))
    if not verdict.good:
        return _back(target, Outcome(False, verdict.why))
    target.retire()
    return Outcome(True, verdict.why)


def canary(target: Target, judge: Judge | NoJudge, say: Say) -> Outcome:
    say("one canary")
    target.start(1)
    if not target.ready():
        return _back(target, NOT_READY)
    for percent in CANARY:
        if percent >= 100 / REPLICAS:  # half of the requests would make one instance slow, not the version
            target.start(REPLICAS)
            if not target.ready():
                return _back(target, NOT_READY)
        say(f"{percent} %")
        target.route(Route(percent=percent))
        verdict = judge.watch(target)
        if not verdict.good:
            return _back(target, Outcome(False, f"at {percent} %: {verdict.why}"))
    return _everybody(target, verdict.why, say)


def ab(target: Target, judge: Judge | NoJudge, say: Say) -> Outcome:
    say("b starts")
    target.start(1)
    if not target.ready():
        return _back(target, NOT_READY)
    say("group b")
    target.route(Route(chosen=True))
    verdict = judge.watch(target)
    if not verdict.good:
        return _back(target, Outcome(False, verdict.why))
    return _everybody(target, verdict.why, say)


def shadow(target: Target, judge: Judge | NoJudge, say: Say) -> Outcome:
    say("shadow starts")
    target.start(1)
    if not target.ready():
        return _back(target, NOT_READY)
    target.mirror()
    say("reads mirrored")
    target.route(Route(mirrored=True))
    verdict = judge.watch(target)
    target.route(Route())
    if not verdict.good:
        return _back(target, Outcome(False, verdict.why))
    return _everybody(target, verdict.why, say)


def _everybody(target: Target, why: str, say: Say) -> Outcome:
    """As many as the old version has, and only then all requests."""
    target.start(REPLICAS)
    if not target.ready():
        return _back(target, NOT_READY)
    say("all")
    target.route(Route(percent=100))
    target.retire()
    return Outcome(True, why)


def _back(target: Target, outcome: Outcome) -> Outcome:
    target.route(Route())
    target.withdraw()
    return outcome


NEVER_UP = frozenset({"never-ready", "crashes"})
"""What shows without a look at any figures."""
_JUDGED = NEVER_UP | {"errors", "slow", "leaks"}
STRATEGIES = {
    one.name: one
    for one in (
        Strategy(
            "recreate", recreate, NEVER_UP,
            f"errors, slowness, leaks, {_WRONG}. It looks at readiness and at processes that end, at nothing else",
            outage=True,
        ),
        Strategy(
            "rolling", rolling, NEVER_UP,
            f"errors, slowness, leaks, {_WRONG}. It looks at readiness and at processes that end, at nothing else",
        ),
        Strategy("blue-green", blue_green, _JUDGED, f"{_WRONG}; and it sees nothing before everybody has met it"),
        Strategy("canary", canary, _JUDGED, f"{_WRONG}; and what fewer than the judge's least requests would meet"),
        Strategy("ab", ab, _JUDGED, f"{_WRONG}; and what only those outside the group would meet"),
        Strategy(
            "shadow", shadow, _JUDGED | {"wrong"},
            "writes, which are never mirrored: what is wrong with them shows when everybody is there",
        ),
    )
}  # fmt: skip
