"""Diff: its rate against one scan of both sides at the same time that does nothing but md5 of every row's text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from strangler.diff import Diff
from tests.bench.result import Options, Result, alternate, ratio, seconds
from tests.bench.shop import clusters, shop
from tests.kit.conftest import Shop

BOUND = 0.5
ROWS = 1_000_000
PAIRS = 5


def measure(options: Options) -> list[Result]:
    rows = min(options.rows, ROWS)
    options.say(f"{rows:,} rows at the source")
    with clusters() as pair, shop(pair, reviews=rows) as one, one.move() as move:
        move.create()
        one.run("stock", "VACUUM ANALYZE reviews")

        def diff() -> float:
            found: list[object] = []
            took = seconds(lambda: found.extend(Diff(move).run()))
            assert found == [], "differences where there are none"
            return took

        pairs = alternate(lambda: seconds(lambda: _scan(one)), diff, PAIRS, options.say)
    rate = ratio(pairs)
    return [
        Result(
            "diff: rate against one md5 scan", f"{rate:.2f} of it ({rows:,} rows, {PAIRS} pairs)",
            f"at least {BOUND}", rate >= BOUND,
            {"ratio": rate, "rows": rows, "scan_seconds": [a for a, _ in pairs], "diff_seconds": [b for _, b in pairs]},
        )
    ]  # fmt: skip


def _scan(one: Shop) -> None:
    """Both sides at once, one process each."""

    def scan(site: str) -> None:
        query = "SET max_parallel_workers_per_gather = 0; SELECT count(md5(r::text)) FROM reviews r"
        one.run(site, query)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(scan, one.dsn))
