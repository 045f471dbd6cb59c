"""What a run's files tell together: the figures of its stages and switches, and of the whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from loadtest.check import Result
from loadtest.measure import Measures, Tally, measure
from loadtest.parts import read_all_samples, read_history
from loadtest.plan import Folder, Plan
from loadtest.timeline import Rollout, Stage, Switch, read_rollouts, read_timeline


@dataclass(frozen=True)
class Story:
    """All that a report tells."""

    plan: Plan
    result: Result
    stages: list[Stage]
    switches: list[Switch]
    measures: Measures
    rollouts: list[Rollout]


def tell(folder: Folder, result: Result) -> Story:
    plan = Plan.load(folder)
    began, ended = plan.started, plan.started
    first = True
    for sample in read_all_samples(folder):
        began = sample.began if first else min(began, sample.began)
        ended = max(ended, sample.ended)
        first = False
    stages, switches = read_timeline(folder.timeline, began, max(ended, began + 1.0))
    history = read_history(folder)
    measures = measure(read_all_samples(folder), history.sites, stages, switches)
    return Story(plan, result, stages, switches, measures, read_rollouts(folder.timeline, began, ended))


def as_json(story: Story) -> dict[str, Any]:
    result, measures = story.result, story.measures
    began, ended = story.stages[0].began, story.stages[-1].ended
    return {
        "kept": result.kept,
        "promises": result.promises,
        "requests": result.requests,
        "failed": result.failed,
        "lost": result.lost,
        "doubled": result.doubled,
        "stale": result.stale,
        "wrong": result.wrong,
        "counters_off": result.counters_off,
        "errors": result.errors,
        "acknowledged": result.acknowledged,
        "unknown": result.unknown,
        "began": datetime.fromtimestamp(began, UTC).isoformat(timespec="milliseconds"),
        "seconds": round(ended - began, 1),
        "users": story.plan.users,
        "rate": story.plan.rate,
        "run": story.plan.run,
        "total": _figures(measures.total, ended - began),
        "stages": [
            {"stage": stage.name, "direction": stage.direction, "title": stage.title}
            | _figures(tally, stage.ended - stage.began)
            for stage, tally in zip(story.stages, measures.stages, strict=True)
        ],
        "switches": [
            {
                "module": switch.module,
                "direction": switch.direction,
                "title": switch.title,
                "epoch": switch.epoch,
                "t": switch.t,
                "at": f"{int(switch.t - began) // 60}:{int(switch.t - began) % 60:02}",
                "pause_ms": round(switch.pause_ms, 1),
                "longest_write_ms": round(tally.longest_wait * 1000, 1),
                "longest_write": tally.longest_operation,
                "requests": tally.requests,
                "failed": tally.failed,
            }
            for switch, tally in zip(story.switches, measures.switches, strict=True)
        ],
        "rollouts": [asdict(rollout) for rollout in story.rollouts],
        "checked": result.checked,
        "findings": [
            {"category": f.category, "kind": f.kind, "id": f.id, "write": f.write, "what": f.what}
            for f in result.findings
        ],
        "violations": result.violations,
        "failures": result.failures,
        "load_errors": result.load_errors,
    }


def _figures(tally: Tally, seconds: float) -> dict[str, Any]:
    p50, p95, p99 = tally.percentiles(0.5, 0.95, 0.99)
    return {
        "seconds": round(seconds, 1),
        "requests": tally.requests,
        "writes": tally.writes,
        "failures": tally.failed,
        "rps": round(tally.requests / seconds, 1) if seconds else None,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "longest_gap_ms": round(tally.longest_gap * 1000, 1),
        "longest_write_ms": round(tally.longest_wait * 1000, 1),
        "longest_write": tally.longest_operation,
    }
