"""Bounds measured one after another: a table, a JSON file, and exit code 1 when one does not hold.

BENCH="pause diff" measures only these; ROWS=1000000 makes the largest table another size.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.result import Options, Result

Bounds = Mapping[str, Callable[[Options], list[Result]]]
ANSWERS = {True: "yes", False: "[bold red]no", None: "shown"}


def main(bounds: Bounds, report: Path, rows: int) -> int:
    """rows: of the largest table, unless ROWS says another number."""
    chosen = os.environ.get("BENCH", "").split() or list(bounds)
    if unknown := set(chosen) - set(bounds):
        print(f"bench: there is no {min(unknown)!r}; there are: {', '.join(bounds)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything is cleaned up
    progress = Console(stderr=True, highlight=False, log_path=False)
    began = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count(), "load": os.getloadavg()}
    rows = int(os.environ.get("ROWS", rows))
    results: list[Result] = []
    try:
        for name in chosen:
            results += bounds[name](Options(rows, lambda line, name=name: progress.log(f"{name}: {line}")))  # type: ignore[misc]
    except KeyboardInterrupt:
        return 130
    finally:
        if results:
            _report(results, began | {"load_at_end": os.getloadavg()}, report)
    return int(any(result.holds is False for result in results))


def _report(results: list[Result], machine: Mapping[str, object], report: Path) -> None:
    table = Table("name", "figure", "bound", "holds", show_lines=True)
    for result in results:
        table.add_row(result.name, result.figure, result.bound, ANSWERS[result.holds])
    Console().print(table)
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps({"machine": machine, "bounds": [asdict(result) for result in results]}, indent=2))
    print(f"{machine['cores']} cores, load {machine['load']} at the beginning; also in {report}")
