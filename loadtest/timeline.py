"""What happened to the stack while the load ran, as the stack wrote it down: stages and switches."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadtest.errors import LoadtestError


@dataclass(frozen=True, slots=True)
class Stage:
    """From its begin to the next one's, cut to the time of the load. `done` is when the stack had arrived there."""

    name: str
    direction: str
    began: float
    done: float | None
    ended: float

    @property
    def title(self) -> str:
        return f"back to {self.name}" if self.direction == "back" else self.name


@dataclass(frozen=True, slots=True)
class Switch:
    """One change of ownership. `t` is when it was over; `pause_ms` is how long neither side took writes."""

    t: float
    module: str
    direction: str
    pause_ms: float
    epoch: int | None

    @property
    def title(self) -> str:
        return f"{self.module} back" if self.direction == "reverse" else self.module


@dataclass(frozen=True, slots=True)
class Rollout:
    """A new version, brought out in one way. `done`: everybody has it; False: it was taken back; None: not over."""

    strategy: str
    version: str
    began: float
    ended: float
    done: bool | None

    @property
    def title(self) -> str:
        how = {True: "done", False: "turned back", None: "under way"}[self.done]
        return f"{self.strategy}: {self.version}, {how}"


def read_rollouts(path: Path, began: float, ended: float) -> list[Rollout]:
    """Those between `began` and `ended`, in order: one is over before the next begins."""
    found: list[Rollout] = []
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        event = json.loads(line) if line.endswith(b"\n") else {}
        if event.get("kind") != "rollout" or not began <= event["t"] <= ended:
            continue
        if event["state"] == "begin":
            found.append(Rollout(event["strategy"], event["version"], event["t"], ended, None))
        elif event["state"] in ("done", "back") and found:
            found[-1] = replace(found[-1], ended=event["t"], done=event["state"] == "done")
    return found


def read_timeline(path: Path, began: float, ended: float) -> tuple[list[Stage], list[Switch]]:
    """Stages and switches between `began` and `ended`; without a timeline the whole load is one stage."""
    begins: list[dict[str, Any]] = []
    dones: list[dict[str, Any]] = []
    switches: list[Switch] = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else (), 1):
        if not line.endswith(b"\n"):
            break
        try:
            event = json.loads(line)
            if event["kind"] == "stage":
                (begins if event["state"] == "begin" else dones).append(event)
                event["t"] + 0.0, event["stage"] + ""
            elif event["kind"] == "switch" and began <= event["t"] <= ended:
                switches.append(
                    Switch(event["t"], event["module"], event["direction"], event["pause_ms"], event.get("epoch"))
                )
        except (ValueError, KeyError, TypeError) as error:
            raise LoadtestError(f"{path}:{number}: not a line of a timeline ({error!r})") from None
    return _stages(begins, dones, began, ended), sorted(switches, key=lambda switch: switch.t)


def _stages(begins: list[dict[str, Any]], dones: list[dict[str, Any]], began: float, ended: float) -> list[Stage]:
    begins = sorted((event for event in begins if event["t"] < ended), key=lambda event: event["t"])
    if not begins or begins[0]["t"] > began:
        begins.insert(0, {"t": began, "stage": "before" if begins else "the load", "direction": "forward"})
    stages = []
    for event, following in zip(begins, [*begins[1:], {"t": ended}], strict=True):
        if following["t"] <= began:
            continue
        done = next((d["t"] for d in dones if d["stage"] == event["stage"] and event["t"] <= d["t"]), None)
        if done is not None and done > following["t"]:
            done = None
        # How the stack had come to where the load found it is no matter.
        direction = event.get("direction", "forward") if event["t"] > began else "forward"
        stages.append(Stage(event["stage"], direction, max(began, event["t"]), done, following["t"]))
    return stages
