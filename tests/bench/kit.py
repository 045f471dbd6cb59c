"""The kit's bounds, measured: `python -m tests.bench.kit`.

ROWS=1000000 makes the largest table smaller; BENCH="pause diff" measures only these. Exit code 1 when a bound does
not hold. What each row means: docs/bench.md.
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

from tests.bench import copying, diff, facade, fence, large, pause
from tests.bench.result import Options, Result

BOUNDS: dict[str, Callable[[Options], list[Result]]] = {
    "copy": copying.measure,
    "fence": fence.measure,
    "facade": facade.measure,
    "diff": diff.measure,
    "pause": pause.measure,
    "large": large.measure,
}
REPORT = Path("build/bench-kit.json")
ANSWERS = {True: "yes", False: "[bold red]no", None: "shown"}


def main() -> int:
    chosen = os.environ.get("BENCH", "").split() or list(BOUNDS)
    if unknown := set(chosen) - set(BOUNDS):
        print(f"bench: there is no {min(unknown)!r}; there are: {', '.join(BOUNDS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything is cleaned up
    progress = Console(stderr=True, highlight=False, log_path=False)
    began = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count(), "load": os.getloadavg()}
    results: list[Result] = []
    try:
        for name in chosen:
            rows = int(os.environ.get("ROWS", "10_000_000"))
            results += BOUNDS[name](Options(rows, lambda line, name=name: progress.log(f"{name}: {line}")))  # type: ignore[misc]
    except KeyboardInterrupt:
        return 130
    finally:
        if results:
            _report(results, began | {"load_at_end": os.getloadavg()})
    return int(any(result.holds is False for result in results))


def _report(results: list[Result], machine: Mapping[str, object]) -> None:
    table = Table("name", "figure", "bound", "holds", show_lines=True)
    for result in results:
        table.add_row(result.name, result.figure, result.bound, ANSWERS[result.holds])
    Console().print(table)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({"machine": machine, "bounds": [asdict(result) for result in results]}, indent=2))
    print(f"{machine['cores']} cores, load {machine['load']} at the beginning; also in {REPORT}")


if __name__ == "__main__":
    sys.exit(main())
