"""The forum's bounds, measured: `python -m tests.bench.forum`. What each row means: docs/bench.md."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench import archive, pages, services, size
from tests.bench.table import Bounds, main

BOUNDS: Bounds = {
    "pages": pages.measure,
    "services": services.measure,
    "size": size.measure,
    "import": archive.measure,
}

if __name__ == "__main__":
    sys.exit(main(BOUNDS, Path("build/bench-forum.json"), rows=1_000_000))
