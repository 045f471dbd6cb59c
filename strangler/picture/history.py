"""The last minutes: a sample a second, and a mark for everything that happened."""

from __future__ import annotations

from collections import deque
from typing import Any

from strangler.config import Module

SECONDS = 600
MARKS = 200
SPOKEN = {
    "create": "copying begins", "ready": "copied, both ways", "cancel": "cancelled", "complete": "complete",
    "switch given up": "switch given up", "reverse given up": "way back given up",
}  # fmt: skip
LOUD = {"switch given up", "reverse given up"}


class History:
    """Marks come from the kit's event record, and from what differs from one look to the next."""

    def __init__(self) -> None:
        self.samples: deque[list[float | None]] = deque(maxlen=SECONDS)
        self._marks: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._stage: str | None = None
        self._versions: dict[str, set[str]] = {}
        self._bad: set[str] = set()

    def marks(self, since: float) -> list[dict[str, Any]]:
        return sorted((mark for mark in self._marks.values() if mark["t"] >= since), key=lambda mark: mark["t"])

    def _mark(self, key: tuple[Any, ...], t: float, kind: str, text: str, **more: Any) -> None:
        self._marks.setdefault(key, {"t": round(t, 2), "kind": kind, "text": text, **more})
        while len(self._marks) > MARKS:
            del self._marks[next(iter(self._marks))]

    def sample(self, t: float, flow: dict[str, float | None] | None) -> None:
        flow = flow or {}
        self.samples.append([round(t, 1), flow.get("rps"), flow.get("errors"), flow.get("p95_ms")])

    def event(self, event: dict[str, Any], module: Module) -> None:
        """One of the event record. An owner's arrival is the mark of a switch: it knows the pause."""
        name, action, t = module.name, event["action"], event["at"].timestamp()
        key = (name, action, event["epoch"], event["at"])
        detail = event["detail"]
        if action == "arrived":
            owner = str(detail.get("owner"))
            text = f"{name}: {module.other(owner)} → {owner}"
            self._mark(key, t, "switch", text, module=name, pause_ms=detail.get("pause_ms"))
        elif action == "diff":
            differ = detail.get("differences")
            text = f"{name}: {detail.get('rows', 0):,} rows compared, {differ or 'none'} differ{'' if differ else 's'}"
            self._mark(key, t, "bad" if differ else "note", text, module=name)
        elif action in SPOKEN:
            self._mark(key, t, "bad" if action in LOUD else "note", f"{name}: {SPOKEN[action]}", module=name)

    def stage(self, t: float, stage: str | None) -> None:
        if stage and stage != self._stage:
            self._stage = stage
            self._mark(("stage", t), t, "stage", stage)

    def versions(self, t: float, site: str, versions: set[str]) -> None:
        """A version that was not there at the last look is a rollout."""
        before = self._versions.get(site)
        if versions:
            self._versions[site] = versions
        for version in versions - before if before else ():
            self._mark(("version", site, version, t), t, "rollout", f"{site}: {version}", site=site)

    def problems(self, t: float, bad: set[str]) -> None:
        for what in bad - self._bad:
            self._mark(("bad", what, t), t, "bad", what)
        for what in self._bad - bad:
            self._mark(("over", what, t), t, "over", f"over: {what}")
        self._bad = bad
