"""`python -m local.demo`: a forum full of data goes from monolith to microservices under load, and no request fails.

Read from the environment: MESSAGES to start with, USERS of the load, DURATION of the load in seconds, ROUNDTRIP=1 for
there and back again, KEEP=1 to stay up at the end.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from local.cli import take_down
from local.errors import LocalError, run_command
from local.loadtest import LIVE, LoadTest
from local.narration import Narrator, narrator
from local.stack import Stack
from local.stages import LAST, STAGES, Stages
from local.state import CHECKOUT, State, locate

DWELL_SECONDS = 3.0
"""How long the load runs at each stage at least."""


@dataclass(frozen=True)
class Sizes:
    messages: int
    users: int
    duration: float
    roundtrip: bool
    keep: bool
    out: Path


class Demo:
    """One run, in a state directory of its own. The caller takes the stack down."""

    def __init__(self, state: State, sizes: Sizes, said: Narrator) -> None:
        self._sizes = sizes
        self._said = said
        self.stack = Stack(state, said.say)
        self.stages = Stages(self.stack)
        self.load = LoadTest(self.stack.layout, sizes.out)
        self.load.live.unlink(missing_ok=True)
        state.root.joinpath("load").symlink_to(sizes.out.absolute())
        self.memory = 0
        self._switches_told = 0

    def run(self) -> int:
        """The whole story. Returns the exit code of load test and final comparison."""
        self.stages.up()
        self._said.say(f"the monolith is up: {len(self.stack.supervisor.running())} processes, one database")
        self.stack.start(["picture"])
        self._said.say(f"watch it on {self.stack.layout.url('picture')}")
        self._seed()
        self._said.at(0)
        self.load.start(self._sizes.users)
        self._walk()
        differences = self._compare()
        self._said.say("the load ends; looking for every acknowledged write in the databases' answers")
        return self.load.finish() or differences

    def _seed(self) -> None:
        messages = self._sizes.messages
        sizes = {"users": max(10, messages // 50), "topics": max(1, messages // 25), "messages": messages}
        words = [word for name, number in sizes.items() for word in (f"--{name}", str(number))]
        done = self.stack.module("monolith", "cli", "seed", *words, "--password", self.stack.layout.seed_password)
        if done.returncode:
            raise LocalError(f"cannot fill the forum: {done.stdout.strip()}", 1)
        self._said.say(f"filled with {done.stdout.strip().splitlines()[-1]}")

    def _walk(self) -> None:
        """Through the stages; the load is spread over them evenly."""
        path = [*range(LAST + 1), *(reversed(range(LAST)) if self._sizes.roundtrip else ())]
        began = time.monotonic()
        for index, stage in enumerate(path):
            self.stages.go(stage)
            self._said.at(stage)
            self._tell_switches()
            self._said.say(f"now at {STAGES[stage]}")
            until = max(began + self._sizes.duration * (index + 1) / len(path), time.monotonic() + DWELL_SECONDS)
            self.memory = max(self.memory, self.stack.memory())
            while (left := until - time.monotonic()) > 0:
                self.load.require_alive()
                time.sleep(min(left, 0.25))

    def _tell_switches(self) -> None:
        switches = self.stack.state.happenings("switch")
        for one in switches[self._switches_told :]:
            self._said.switched(f"{one['module']} {one['pause_ms']:.0f} ms")
        self._switches_told = len(switches)

    def _compare(self) -> int:
        """Both sites of every live move, once more. Returns 1 when a row differs."""
        try:
            self.stages.compare()
        except LocalError as error:
            self._said.say(str(error))
            return 1
        return 0


@contextmanager
def interruptible_once() -> Iterator[None]:
    """Ctrl-C, SIGTERM or SIGHUP ends what runs, once: what cleans up after it is not interrupted again."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    for one in signals:
        signal.signal(one, interrupt)
    try:
        yield
    finally:
        for one in signals:
            signal.signal(one, signal.SIG_IGN)


def run(state: State, sizes: Sizes) -> int:
    """Run the demo, print its summary, and leave nothing running (unless it is to be kept). Returns the exit code."""
    sizes.out.mkdir(parents=True, exist_ok=True)
    with state.lock():
        take_down(state, purge=True)  # an earlier demo's, kept or killed
    title = f"{sizes.messages:,} messages, {sizes.users} users at work"
    code = 1
    demo: Demo | None = None
    began = time.monotonic()
    with state.lock():
        try:
            with interruptible_once(), narrator(title, sizes.out / LIVE) as said:
                demo = Demo(state, sizes, said)
                code = demo.run()
        finally:
            if demo is not None:
                demo.load.kill()
            if state.moves.exists():
                shutil.copyfile(state.moves, sizes.out / state.moves.name)
            if not (sizes.keep and code == 0):
                click.echo("taking the stack down ...", err=True)
                take_down(state, purge=code == 0)
    seconds, memory = time.monotonic() - began, demo.memory / 2**20
    print(f"\n{seconds:.0f} s in all; the stack took up to {memory:,.0f} MB of memory (PSS).")
    print(f"Who did what to each module, and when: {sizes.out / state.moves.name}")
    if sizes.keep and code == 0:
        _tell_how_to_go_on(demo)
    demo.load.report()
    return code


def _tell_how_to_go_on(demo: Demo) -> None:
    state, layout = demo.stack.state, demo.stack.layout
    command = f"STRANGLER_STATE={state.link or state.root} {Path(sys.executable).with_name('strangler-local')}"
    address = state.read("addresses.json")["public"][0]
    print(f"Open {address} and log in as demo or moderator, password {layout.seed_password}")
    print(f"Watch it on {layout.url('picture')}")
    print(f"Stop it with: {command} down --purge")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--messages", envvar="MESSAGES", default=100_000, show_default=True, type=click.IntRange(1, 10_000_000))
@click.option("--users", envvar="USERS", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--duration", envvar="DURATION", default=100.0, show_default=True, type=click.FloatRange(1, 86_400))
@click.option("--roundtrip", envvar="ROUNDTRIP", is_flag=True, help="From 0 to 5 and back to 0.")
@click.option("--keep", envvar="KEEP", is_flag=True, help="Stay up at the end.")
@click.option("--out", default=CHECKOUT / "build" / "demo", type=click.Path(file_okay=False, path_type=Path))
def cli(messages: int, users: int, duration: float, roundtrip: bool, keep: bool, out: Path) -> int:
    """Move a forum from monolith to microservices, under load, and prove that nobody noticed."""
    return run(locate(out / "state"), Sizes(messages, users, duration, roundtrip, keep, out))


def main() -> NoReturn:
    run_command("demo", lambda: cli(standalone_mode=False), "nothing is left running")


if __name__ == "__main__":
    main()
