"""Copy: `create`, from its call to usable indexes, against the tables piped from one psql into another."""

from __future__ import annotations

import os
import subprocess

from local.postgres import programs
from tests.bench.result import Options, Result, alternate, ratio, seconds
from tests.bench.shop import clusters, shop
from tests.kit.conftest import Shop

BOUND = 1.2
ROWS = 1_000_000
PAIRS = 3


def measure(options: Options) -> list[Result]:
    rows = min(options.rows, ROWS)
    options.say(f"{rows:,} rows at the source")
    with clusters() as pair, shop(pair, reviews=rows) as one:

        def piped() -> float:
            _empty(one)
            return seconds(lambda: _pipe(one))

        def created() -> float:
            _empty(one)
            with one.move() as move:
                took = seconds(move.create)
                move.cancel()
            return took

        pairs = alternate(piped, created, PAIRS, options.say)
    times = ratio(pairs)
    return [
        Result(
            "copy: create against psql | psql",
            f"{times:.2f} times as fast ({rows:,} rows, {PAIRS} pairs)",
            f"at least {BOUND}", times >= BOUND,
            {"ratio": times, "rows": rows, "psql_seconds": [a for a, _ in pairs],
             "create_seconds": [b for _, b in pairs]},
        )
    ]  # fmt: skip


def _empty(one: Shop) -> None:
    one.run("stock", "TRUNCATE reviews")
    for site in one.dsn:
        one.run(site, "CHECKPOINT")


def _pipe(one: Shop) -> None:
    psql = [str(programs() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    read = [*psql, "-d", one.dsn["monolith"], "-c", "COPY reviews TO STDOUT"]
    write = [*psql, "-d", one.dsn["stock"], "-c", "COPY reviews FROM STDIN"]
    out = subprocess.Popen(read, stdout=subprocess.PIPE, env=os.environ)
    try:
        subprocess.run(write, stdin=out.stdout, check=True)
    finally:
        out.kill()
        out.wait()
