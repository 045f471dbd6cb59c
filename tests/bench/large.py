"""A large table moved and diffed in one run, and the memory of the diff against that of a small one."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

import psutil

from strangler.config import Config
from strangler.create import Progress
from strangler.diff import Diff, TableProgress
from strangler.move import Move
from tests.bench.result import Options, Result, seconds
from tests.bench.shop import ANYHOW, clusters, shop
from tests.kit.conftest import Shop

SMALL_ROWS = 100_000
MEMORY_BOUND = 1.5
BODY = 40
"""Characters of text: rows of about 120 bytes."""
SAY_SECONDS = 10.0


def measure(options: Options) -> list[Result]:
    with clusters() as pair:
        with shop(pair, min(SMALL_ROWS, options.rows), BODY) as one:
            with one.move() as move:
                move.create()
            *_, small = _diff(one, options)
        options.say(f"{options.rows:,} rows at the source")
        with shop(pair, options.rows, BODY) as one:
            size = one.run("monolith", "SELECT pg_table_size('reviews')")[0][0] / 1e6
            with one.move() as move:
                copied = seconds(lambda: move.create(_copying(options)))
            differences, compared, large = _diff(one, options)
            with one.move() as move:
                pause = move.switch(ANYHOW).pause_ms
    rate = f"{options.rows / copied:,.0f} rows/s, {size / copied:.0f} MB/s"
    grown = large / small
    return [
        Result(
            f"{options.rows:,} rows ({size:,.0f} MB) moved and diffed",
            f"copied in {copied:.0f} s ({rate}), diffed in {compared:.0f} s ({options.rows / compared:,.0f} rows/s, "
            f"{size / compared:.0f} MB/s), switched in {pause} ms; {differences} differences",
            "0 differences", differences == 0,
            {"rows": options.rows, "megabytes": size, "copy_seconds": copied, "diff_seconds": compared,
             "pause_ms": pause, "differences": differences},
        ),
        Result(
            f"diff: memory, {options.rows:,} rows against {SMALL_ROWS:,}",
            f"{grown:.2f} times ({small / 1e6:.0f} -> {large / 1e6:.0f} MB at the peak)",
            f"at most {MEMORY_BOUND} times", grown <= MEMORY_BOUND, {"small": small, "large": large},
        ),
    ]  # fmt: skip


def _copying(options: Options) -> Progress:
    due = 0.0

    def tell(tables: list[dict[str, Any]]) -> None:
        nonlocal due
        for row in tables:
            if row["copied"] is not None and time.monotonic() > due:
                due = time.monotonic() + SAY_SECONDS
                options.say(f"copied {row['copied']:,}")

    return tell


def _diff(one: Shop, options: Options) -> tuple[int, float, int]:
    """A process of its own compares: how many differences, in what time (s), and its memory at the peak (bytes)."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_compare, args=(one.config.model_dump(by_alias=True), theirs), daemon=True
    )
    process.start()
    theirs.close()
    watched, peak, due = psutil.Process(process.pid), 0, time.monotonic() + SAY_SECONDS
    while True:
        peak = max(peak, watched.memory_info().rss)
        if not ours.poll(0.02):
            continue
        number, took = ours.recv()
        if took is not None:
            process.join()
            return number, took, peak
        if time.monotonic() > due:
            due = time.monotonic() + SAY_SECONDS
            options.say(f"compared {number:,}")


def _compare(config: dict[str, Any], out: Connection) -> None:
    """Sends the number of rows now and then, with None, and at last the number of differences with the time."""

    def tell(progress: TableProgress) -> None:
        out.send((progress.rows, None))

    with Move(Config.model_validate(config), "stock") as move:
        began = time.perf_counter()
        differences = sum(1 for _ in Diff(move).run(tell))
        out.send((differences, time.perf_counter() - began))
