"""Fence: what it takes from the throughput of small writing transactions (pgbench, 4 clients)."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from local.postgres import programs
from tests.bench.result import Options, Result, alternate, ratio
from tests.bench.shop import claim, clusters, shop
from tests.kit.conftest import Shop

BOUND = 0.05
PAIRS = 6
SLICE_SECONDS = 5
ITEMS = 10_000
SCRIPT = f"""
\\set id random(1, {ITEMS})
BEGIN;
UPDATE items SET note = 'changed' WHERE id = :id;
INSERT INTO items (name) VALUES (gen_random_uuid()::text);
COMMIT;
"""


def measure(options: Options) -> list[Result]:
    shares = {fsync: _shares(fsync, options) for fsync in ("on", "off")}
    how = f"{PAIRS} pairs of {SLICE_SECONDS} s"
    rows = (
        ("at the owner, fsync on", shares["on"][0], True),
        ("at the owner, fsync off", shares["off"][0], False),
        ("while a switch is at work, fsync on", shares["on"][1], False),
        ("while a switch is at work, fsync off", shares["off"][1], False),
    )
    return [
        Result(
            f"fence: write throughput {name}", f"{value * 100:+.1f} % less ({how})",
            f"at most {BOUND * 100:.0f} %" if judged else "", value <= BOUND if judged else None, {"share": value},
        )
        for name, value, judged in rows
    ]  # fmt: skip


def _shares(fsync: str, options: Options) -> list[float]:
    """What part of the throughput the fence takes: down, as it is at the owner, and up, as a switch wants it."""
    with clusters(fsync) as pair, shop(pair) as one, one.move() as move, tempfile.TemporaryDirectory() as folder:
        one.run("monolith", "INSERT INTO items (name) SELECT 'item ' || g FROM generate_series(1, %s) g", [ITEMS])
        script = Path(folder) / "writes.sql"
        script.write_text(SCRIPT)
        claim(move)

        def unfenced() -> float:
            move.drop_fences(move.source)
            return _throughput(one, script)

        def down() -> float:
            move.fence(move.source)
            return _throughput(one, script)

        def up() -> float:
            move.fence(move.source)
            move.raise_fences(move.source)
            return _throughput(one, script)

        unfenced()  # to warm up
        found = []
        for name, fenced in (("down", down), ("up", up)):
            options.say(f"fsync = {fsync}, {name}")
            found.append(1 - 1 / ratio(alternate(unfenced, fenced, PAIRS, options.say)))
        return found


def _throughput(one: Shop, script: Path) -> float:
    """Transactions a second."""
    words = ["-n", "-M", "prepared", "-c", "4", "-j", "1", "-T", str(SLICE_SECONDS), "-f", str(script)]
    done = subprocess.run(
        [str(programs() / "pgbench"), *words, "-d", one.dsn["monolith"]],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])
