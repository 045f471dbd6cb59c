"""`make rollouts`: every strategy meets every version, and what that did to the users is measured.

Exit 0: everything came out as the strategies say of themselves. 1: something did not, or a write was lost or doubled.
2: it could not be tried; one line says why.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from loadtest.errors import LoadtestError
from loadtest.rollouts.judge import Judge, NoJudge
from loadtest.rollouts.load import RATE, USERS, load
from loadtest.rollouts.report import Row, note, report
from loadtest.rollouts.run import rollout
from loadtest.rollouts.strategies import STRATEGIES
from loadtest.rollouts.target import VERSIONS
from local.demo import interruptible_once
from local.errors import LocalError, run_command
from local.state import CHECKOUT

TARGETS = ("swarm", "local", "kubernetes")


def open_target(name: str, out: Path, say: Callable[[str], None]) -> AbstractContextManager[Any]:
    """The place by its name, from nothing to ready; gone at the end."""
    if name == "local":
        from loadtest.rollouts.local import local

        return local(out, say)
    if name == "swarm":
        from loadtest.rollouts.swarm import swarm

        return swarm(out, say)
    from loadtest.rollouts.kubernetes import kubernetes

    return kubernetes(out, say)


def _words(value: str, known: tuple[str, ...], name: str) -> list[str]:
    found = [word for word in value.replace(",", " ").split() if word]
    for word in found:
        if word not in (*known, "all"):
            raise LocalError(f"{name}={word}: there is {', '.join(known)}, or all")
    return list(known) if not found or "all" in found else list(dict.fromkeys(found))


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One at a time in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(out / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LocalError(f"another `make rollouts` is at work in {out}; wait for it, or end it") from None
        yield
    finally:
        os.close(handle)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--strategy", envvar="STRATEGY", default="all", help=f"{', '.join(STRATEGIES)}; several; all.")
@click.option("--version", envvar="VERSION", default="all", help=f"{', '.join(VERSIONS)}; several; all.")
@click.option("--target", envvar="TARGET", default="swarm", help=" or ".join(TARGETS))
@click.option(
    "--judge", envvar="JUDGE", default="on", help="off: nobody looks at the figures, and see what comes of it."
)
@click.option("--users", envvar="USERS", default=USERS, show_default=True, type=click.IntRange(2, 1000))
@click.option("--rate", envvar="RATE", default=RATE, show_default=True, type=click.FloatRange(5))
@click.option("--out", default=CHECKOUT / "build" / "rollouts", type=click.Path(file_okay=False, path_type=Path))
def cli(strategy: str, version: str, target: str, judge: str, users: int, rate: float, out: Path) -> int:
    """Bring version 2 of topics out in six ways, a good one and bad ones, under load, and count."""
    strategies = _words(strategy, tuple(STRATEGIES), "STRATEGY")
    versions = _words(version, VERSIONS, "VERSION")
    if target not in TARGETS:
        raise LocalError(f"TARGET={target}: there is {', '.join(TARGETS)}")
    if judge not in ("on", "off"):
        raise LocalError(f"JUDGE={judge}: expected on or off")
    wanted = [(one, two) for one in strategies for two in versions]
    with _alone(out):
        try:
            return _run(wanted, target, Judge() if judge == "on" else NoJudge(), users, rate, out)
        except LoadtestError as error:
            raise LocalError(str(error), 1) from None


def _run(
    wanted: list[tuple[str, str]], name: str, judge: Judge | NoJudge, users: int, rate: float, out: Path
) -> int:  # fmt: skip
    began = time.monotonic()
    for old in (*out.glob("*.svg"), *out.glob("rollouts.*"), out / "runs.jsonl"):
        old.unlink(missing_ok=True)

    def say(line: str) -> None:
        click.echo(f"{time.monotonic() - began:5.0f} s  {line}", err=True)

    rows: list[Row] = []
    try:
        with (
            interruptible_once(),
            open_target(name, out, say) as target,
            load(out / "load", target.where, target.timeline, users, rate) as running,
        ):
            for strategy, version in wanted:
                running.require_alive()
                run, found = rollout(STRATEGIES[strategy], version, target, judge, running, say)
                rows.append(Row(run, found, isinstance(judge, Judge)))
                note(rows[-1], out)
                say(" · ".join(rows[-1].cells()))
            target.reset("good")
            say("reading back what was written")
            figures = running.finish()
    except BaseException:
        if rows:
            report(rows, out, {})
        raise
    kept = {key: figures[key] for key in ("requests", "failed", "acknowledged", "lost", "doubled", "stale", "wrong")}
    # Wrong answers of a bad version are counted as lost while nothing is.
    kept["lost"] = sum(finding["category"] in ("lost", "wrong") for finding in figures["findings"])
    report(rows, out, kept)
    click.echo(f"{len(rows)} rollouts in {time.monotonic() - began:.0f} s; of {kept['acknowledged']} writes "
               f"{kept['lost']} lost, {kept['doubled']} doubled")  # fmt: skip
    return int(any(row.surprise for row in rows) or bool(kept["lost"] or kept["doubled"]))


def main() -> NoReturn:
    run_command("rollouts", lambda: cli(standalone_mode=False), "the next run clears away what is left")
