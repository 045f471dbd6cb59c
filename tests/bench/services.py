"""Services: the pages at stage 5 against those at stage 1, on two local stacks, asked in turns.

Both stand behind a gateway. CPU is that of everything that a stack runs: applications, workers, databases, Redis and
the gateway, at rest or not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from forum.viewcounts import SHOWN_SECONDS
from local.cli import take_down
from local.layout import Layout
from local.state import CHECKOUT, State, locate
from local.supervisor import Supervisor
from tests.bench.client import Load, load
from tests.bench.result import Options, Result, Say
from tests.bench.serving import topics_of

BOUND, P50_BOUND = 0.5, 2.0
MESSAGES = 10_000
PAIRS, CONNECTIONS = 6, 8
SECONDS, ALONE_SECONDS = SHOWN_SECONDS, 3.0
"""As long as views are shown: each turn has the same part of what is made anew with them."""
WARM_UP = 3.0
"""Before each turn, for what lapsed during the other's, as nothing does where people come all the time."""


class Stack:
    """A local stack of its own."""

    def __init__(self, folder: Path) -> None:
        self.environment = os.environ | {"STRANGLER_STATE": str(folder)}
        self.state: State = locate(folder)

    def run(self, *words: str, **variables: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            env=self.environment | variables,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")

    @property
    def url(self) -> str:
        return str(self.state.read("addresses.json")["public"][0])

    @property
    def database(self) -> str:
        return Layout(self.state).cluster("monolith").dsn("monolith")

    def cpu(self) -> float:
        """Seconds that everything in it has used so far."""
        top = psutil.Process(Supervisor(self.state).pid())
        total = 0.0
        for process in [top, *top.children(recursive=True)]:
            try:
                times: Any = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total


@contextmanager
def stack(stage: str, say: Say) -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="strangler-bench-", dir="/var/tmp"))
    one = Stack(folder / "state")
    try:
        say(f"a stack at {stage}")
        one.run("local", "up")
        sizes = ("--messages", str(MESSAGES), "--topics", str(MESSAGES // 25), "--users", str(MESSAGES // 50))
        layout = Layout(one.state)
        one.run(
            "monolith.cli",
            "seed",
            *sizes,
            DATABASE_URL=layout.database_url("monolith"),
            SEED_PASSWORD="benches are people",
        )
        one.run("local", "stage", stage)
        yield one
    finally:
        take_down(one.state, purge=True)
        shutil.rmtree(folder, ignore_errors=True)


def measure(options: Options) -> list[Result]:
    with stack("1-gateway", options.say) as monolith, stack("5-microservices", options.say) as services:
        pages = topics_of(monolith.database)
        found: list[Result] = []
        for name, paths in (("topic list", ["/"]), ("topic page", pages)):
            found += _compare(options, name, services, monolith, paths)
        return found


def _compare(options: Options, name: str, services: Stack, monolith: Stack, paths: list[str]) -> list[Result]:
    def efficiency(one: Stack) -> float:
        """Requests a CPU second."""
        load(one.url, paths, WARM_UP, CONNECTIONS)
        before = one.cpu()
        asked: Load = load(one.url, paths, SECONDS, CONNECTIONS)
        return len(asked.times) / (one.cpu() - before)

    def alone(one: Stack) -> float:
        """The p50, in ms, of a client alone."""
        load(one.url, paths, ALONE_SECONDS / 3, 1)
        return load(one.url, paths, ALONE_SECONDS, 1).p50

    pairs = []
    for number in range(PAIRS):
        order = (services, monolith) if number % 2 == 0 else (monolith, services)
        # Each right after the other's: within the time of a whole turn the machine becomes faster or slower.
        rates, times = {id(one): efficiency(one) for one in order}, {id(one): alone(one) for one in order}
        pairs.append(((rates[id(services)], times[id(services)]), (rates[id(monolith)], times[id(monolith)])))
        (a, p), (b, q) = pairs[-1]
        options.say(f"{name}: {a:.0f} and {b:.0f} requests a CPU second; p50 {p:.1f} and {q:.1f} ms")
    rate = median(a[0] / b[0] for a, b in pairs)
    p50 = median(a[1] / b[1] for a, b in pairs)
    return [
        Result(
            f"services: {name} at stage 5", f"{rate:.2f} of the monolith's requests per CPU second",
            f"at least {BOUND}", rate >= BOUND, {"ratio": rate, "pairs": pairs},
        ),
        Result(
            f"services: {name} at stage 5, p50", f"{p50:.2f} times the monolith's", f"at most {P50_BOUND:g}",
            p50 <= P50_BOUND, {"ratio": p50},
        ),
    ]  # fmt: skip
