"""The figures of a run as a table, as `report.json`, and as one page (`report.html`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from loadtest.check import Result
from loadtest.ledger import read_ledger
from loadtest.measure import Measures, Tally, measure
from loadtest.page import render
from loadtest.plan import Folder, Plan
from loadtest.samples import read_samples
from loadtest.timeline import Stage, Switch, read_timeline


@dataclass(frozen=True)
class Story:
    """All that a report tells."""

    plan: Plan
    result: Result
    stages: list[Stage]
    switches: list[Switch]
    measures: Measures


def report(folder: Folder, result: Result, console: Console | None = None) -> None:
    """Write both files, print the table; the last line is the promises."""
    story = _tell(folder, result)
    facts = as_json(story)
    folder.report.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    folder.page.write_text(render(story, facts))
    console = console or Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, 112)
    console.print(_stage_table(facts))
    if facts["switches"]:
        console.print(_switch_table(facts))
    for line in trouble(result):
        console.print(line, markup=False)
    console.print(f"report: {folder.page}", markup=False)
    console.print(result.promises, markup=False)


def _tell(folder: Folder, result: Result) -> Story:
    plan = Plan.load(folder)
    began, ended = plan.started, plan.started
    first = True
    for sample in read_samples(folder.samples):
        began = sample.began if first else min(began, sample.began)
        ended = max(ended, sample.ended)
        first = False
    stages, switches = read_timeline(folder.timeline, began, max(ended, began + 1.0))
    history = read_ledger(folder.ledger)
    return Story(plan, result, stages, switches, measure(read_samples(folder.samples), history.sites, stages, switches))


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


def trouble(result: Result) -> list[str]:
    """What broke, a line each; the first few of each sort."""
    lines = [f"{f.category}: {f.kind} {f.id} ({f.write or 'no write'}): {f.what}" for f in result.findings[:10]]
    lines += [
        f"{v['what']}: {v['kind']} {v['id']} read {v.get('seen')}, expected {v.get('expected')} "
        f"({v['operation']}, answered by {v.get('served_by')})"
        for v in result.violations[:10]
    ]
    lines += [
        f"failed: {f['operation']}: {f['why']} (answered by {f.get('served_by')}, {f['address']})"
        for f in result.failures[:10]
    ]
    lines += [f"the load itself: {error}" for error in result.load_errors[:5]]
    if result.counters_off:
        lines.append(f"counters off: {result.counters_off}")
    if not result.requests:
        lines.append("no request was made: nothing is proven")
    elif not result.acknowledged:
        lines.append("no write was acknowledged: nothing is proven")
    return lines


def _stage_table(facts: dict[str, Any]) -> Table:
    table = Table(title="Stages (times in ms)", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("stage", no_wrap=True)
    for name in ("seconds", "requests", "failed", "p50", "p95", "p99", "longest gap", "longest write"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [*facts["stages"], {"title": "all", **facts["total"]}]
    for row in rows:
        failed = f"[bold red]{row['failures']}[/]" if row["failures"] else "0"
        table.add_row(
            row["title"], f"{row['seconds']:.0f}", f"{row['requests']:,}", failed, _ms(row["p50_ms"]),
            _ms(row["p95_ms"]), _ms(row["p99_ms"]), _ms(row["longest_gap_ms"]), _ms(row["longest_write_ms"]),
            end_section=row is rows[-2],
        )  # fmt: skip
    return table


def _switch_table(facts: dict[str, Any]) -> Table:
    table = Table(title="Switches (and the second around each)", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("module", no_wrap=True)
    for name in ("pause", "longest write", "requests", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in facts["switches"]:
        table.add_row(
            row["title"], f"{row['pause_ms']:.1f} ms", f"{row['longest_write_ms']:.0f} ms", f"{row['requests']:,}",
            str(row["failed"]),
        )  # fmt: skip
    return table


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
