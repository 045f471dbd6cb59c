"""The figures of a run as a table, as `report.json`, and as one page (`report.html`)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from loadtest.budget import judge
from loadtest.check import Result
from loadtest.live import read_live, write_live
from loadtest.page import render
from loadtest.plan import Folder
from loadtest.story import as_json, tell


def report(
    folder: Folder, result: Result, budgets: Mapping[str, float] | None = None, console: Console | None = None
) -> bool:
    """Write both files, print the table; the last line is the promises. Whether the `budgets` (ms) were kept."""
    story = tell(folder, result)
    facts = as_json(story)
    verdicts = judge(budgets or {}, facts["total"])
    facts["budgets"] = [asdict(verdict) | {"kept": verdict.kept} for verdict in verdicts]
    folder.report.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    folder.page.write_text(render(story, facts))
    console = console or Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, 112)
    console.print(_stage_table(facts))
    if facts["switches"]:
        console.print(_switch_table(facts))
    for line in trouble(result):
        console.print(line, markup=False)
    for verdict in verdicts:
        console.print(str(verdict), markup=False)
    console.print(f"report: {folder.page}", markup=False)
    console.print(result.promises, markup=False)
    _done(folder, result)
    return all(verdict.kept for verdict in verdicts)


def _done(folder: Folder, result: Result) -> None:
    """What was counted along becomes what was found, for those who watch."""
    figures = ("requests", "failed", "lost", "doubled", "stale", "wrong", "errors", "acknowledged")
    found: dict[str, Any] = {name: getattr(result, name) for name in figures}
    found |= {"state": "kept" if result.kept else "broken", "users": 0, "rps": 0.0}
    write_live(folder.live, (read_live(folder.live) or {"t": time.time()}) | found)


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
