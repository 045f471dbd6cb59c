"""The six ways from one version to the next, written once. What a bad version does to each is what is measured.

Every one ends with everybody at the new version, or with everybody back at the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.rollouts.figures import Figures
from loadtest.rollouts.judge import Judge, NoJudge
from loadtest.rollouts.target import REPLICAS, Order, Route, Target

Say = Callable[[str], None]
"""Told each step, in a word or two."""
CANARY = (20, 50)
"""Percent of the requests, step by step."""


@dataclass(frozen=True)
class Outcome:
    """`done`: the new version serves everybody; else the old one does again, and this is why."""

    done: bool
    why: str


class _TurnedBackError(Exception):
    """Why the new version is not for everybody."""


NOT_READY = "the new version did not get ready"
_WRONG = "wrong answers: they come quickly and with status 200"
_READINESS = "errors, slowness, leaks, wrong answers: it looks at readiness and at processes that end, at nothing else"


@dataclass(frozen=True)
class Rollout:
    """What the strategies have in common."""

    target: Target
    judge: Judge | NoJudge
    say: Say

    def start(self, replicas: int) -> None:
        self.target.start(replicas)
        if not self.target.ready():
            raise _TurnedBackError(NOT_READY)

    def replace(self, order: Order) -> str:
        if not self.target.replace(order):
            raise _TurnedBackError(f"{NOT_READY}, or did not stay up")
        return "every instance is ready"

    def watch(self, before: Figures | None = None, at: str = "") -> str:
        verdict = self.judge.watch(self.target, before)
        if not verdict.good:
            raise _TurnedBackError(at + verdict.why)
        return verdict.why

    def everybody(self) -> None:
        """As many as the old version has, and only then all requests."""
        self.start(REPLICAS)
        self.say("all")
        self.target.route(Route(percent=100))
        self.target.retire()


@dataclass(frozen=True)
class Strategy:
    name: str
    steps: Callable[[Rollout], str]
    """To the end of it, and why the new version was found good."""
    sees: frozenset[str]
    """The faults on which it turns back."""
    blind: str
    """What it cannot see, and why."""
    outage: bool = False

    def run(self, target: Target, judge: Judge | NoJudge, say: Say) -> Outcome:
        try:
            return Outcome(True, self.steps(Rollout(target, judge, say)))
        except _TurnedBackError as back:
            target.route(Route())
            target.withdraw()
            return Outcome(False, str(back))


def recreate(rollout: Rollout) -> str:
    rollout.say("stop all, start all")
    return rollout.replace("all-at-once")


def rolling(rollout: Rollout) -> str:
    rollout.say("one by one")
    return rollout.replace("one-by-one")


def blue_green(rollout: Rollout) -> str:
    target = rollout.target
    before, _ = target.figures()
    rollout.say("green starts")
    rollout.start(REPLICAS)
    blue, _ = target.figures()
    rollout.say("all to green")
    target.route(Route(percent=100))
    why = rollout.watch(blue.since(before))
    target.retire()
    return why


def canary(rollout: Rollout) -> str:
    rollout.say("one canary")
    rollout.start(1)
    why = ""
    for percent in CANARY:
        if percent >= 100 / REPLICAS:  # half of the requests would make one instance slow, not the version
            rollout.start(REPLICAS)
        rollout.say(f"{percent} %")
        rollout.target.route(Route(percent=percent))
        why = rollout.watch(at=f"at {percent} %: ")
    rollout.everybody()
    return why


def ab(rollout: Rollout) -> str:
    rollout.say("b starts")
    rollout.start(1)
    rollout.say("group b")
    rollout.target.route(Route(chosen=True))
    why = rollout.watch()
    rollout.everybody()
    return why


def shadow(rollout: Rollout) -> str:
    rollout.say("shadow starts")
    rollout.start(1)
    rollout.target.mirror()
    rollout.say("reads mirrored")
    rollout.target.route(Route(mirrored=True))
    why = rollout.watch()
    rollout.target.route(Route())
    rollout.everybody()
    return why


NEVER_UP = frozenset({"never-ready", "crashes"})
"""What shows without a look at any figures."""
_JUDGED = NEVER_UP | {"errors", "slow", "leaks"}
STRATEGIES = {
    one.name: one
    for one in (
        Strategy(
            "recreate", recreate, NEVER_UP, _READINESS, outage=True,
        ),
        Strategy(
            "rolling", rolling, NEVER_UP, _READINESS,
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
