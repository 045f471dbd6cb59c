"""One rollout, from a forum at version 1 to the end of what it did."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loadtest.rollouts.judge import Judge, NoJudge
from loadtest.rollouts.load import Load
from loadtest.rollouts.measure import Measured, Run, measure
from loadtest.rollouts.strategies import Strategy
from loadtest.rollouts.target import Target

BEFORE, AFTER = 2.0, 6.0
"""Seconds that are watched before the first step and after the last one."""
LOOK_SECONDS = 0.5


def rollout(
    strategy: Strategy, version: str, target: Target, judge: Judge | NoJudge, load: Load, say: Callable[[str], None]
) -> tuple[Run, Measured]:  # fmt: skip
    """`version`: one of VERSIONS. Begins with a reset of whatever was there."""
    target.reset(version)
    run = Run(strategy.name, version, target.name, time.time())
    say(f"{strategy.name}, version 2: {version}")

    def step(what: str) -> None:
        run.marks.append((time.time(), what))
        _tell(target.timeline, run, "step", what)

    with _counting(run, target):
        time.sleep(BEFORE)
        run.began = time.time() - BEFORE
        _tell(target.timeline, run, "begin", f"{strategy.name}: {version}")
        run.acted = time.time()
        run.outcome = strategy.run(target, judge, step)
        run.ended = time.time()
        step("done" if run.outcome.done else "back")
        _tell(target.timeline, run, "done" if run.outcome.done else "back", run.outcome.why)
        time.sleep(AFTER)
        run.until = time.time()
    load.require_alive()
    return run, measure(run, load.folder)


def _tell(timeline: Path, run: Run, state: str, title: str) -> None:
    """A line for the timeline that the load's report is drawn on."""
    line = {"t": round(time.time(), 4), "kind": "rollout", "strategy": run.strategy, "version": run.version}
    with timeline.open("a") as file:
        file.write(json.dumps(line | {"state": state, "title": title}) + "\n")


@contextlib.contextmanager
def _counting(run: Run, target: Target) -> Iterator[None]:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            with contextlib.suppress(Exception):  # a look that got no answer is made up for by the next
                running = target.running()
                if not run.instances or run.instances[-1][1] != running:
                    run.instances.append((time.time(), running))
            over.wait(LOOK_SECONDS)

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    try:
        yield
    finally:
        over.set()
        looker.join(10)
