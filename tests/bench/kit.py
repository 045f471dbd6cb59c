"""The kit's bounds, measured: `python -m tests.bench.kit`. What each row means: docs/bench.md."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench import copying, diff, facade, fence, large, pause
from tests.bench.table import Bounds, main

BOUNDS: Bounds = {
    "copy": copying.measure,
    "fence": fence.measure,
    "facade": facade.measure,
    "diff": diff.measure,
    "pause": pause.measure,
    "large": large.measure,
}

if __name__ == "__main__":
    sys.exit(main(BOUNDS, Path("build/bench-kit.json"), rows=10_000_000))
