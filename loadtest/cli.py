"""`loadtest run | check | report`.

Exit 0: every promise and budget kept. 1: a promise was broken. 2: it could not be tried. 3: only a budget was broken.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click

from loadtest import budget
from loadtest.errors import LoadtestError
from loadtest.plan import Folder, Plan

_out = click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The run's folder.")
_addresses = click.option(
    "--addresses", type=click.Path(dir_okay=False, path_type=Path),
    help='{"public": ["http://...", ...]}; read again whenever it changes.',
)  # fmt: skip
_url = click.option("--url", help="One address, instead of --addresses.")
_allow = click.option(
    "--allow-host", "allow_hosts", multiple=True, metavar="HOST", help="Load this host, which is not this machine."
)
_settle = click.option(
    "--settle", default=30.0, show_default=True, help="How long counters may take to agree with rows, in seconds."
)
_budgets = click.option(
    "--budget", "budgets", multiple=True, metavar="NAME=TIME",
    help="How slow it may be: p50, p95, p99, gap (longest without a success), write (longest wait); p95=500ms.",
)  # fmt: skip


def _plainly(command: Callable[..., None]) -> Callable[..., None]:
    """What a person can mend is one line and exit 2."""

    @wraps(command)
    def plain(**options: Any) -> None:
        try:
            command(**options)
        except LoadtestError as error:
            click.echo(f"loadtest: {error}", err=True)
            sys.exit(2)

    return plain


@click.group(context_settings={"auto_envvar_prefix": "LOADTEST"})
def main() -> None:
    """Load on a forum, a ledger of every write, and a check that no promise was broken."""


@main.command("run")
@_addresses
@_url
@click.option("--users", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option(
    "--duration", default=60.0, show_default=True, type=click.FloatRange(1), help="Seconds; or until SIGTERM."
)
@click.option("--rate", default=70.0, show_default=True, type=click.FloatRange(1), help="Requests per second at most.")
@click.option(
    "--patience", default=Plan.patience, show_default=True, type=click.FloatRange(0.1, 300),
    help="Seconds; a request whose answer takes longer has failed.",
)  # fmt: skip
@click.option(
    "--mix", "mix", multiple=True, metavar="NAME=FACTOR",
    help="Times as often as usual: read, write, account, or one step such as delete_topic; several times.",
)  # fmt: skip
@_budgets
@click.option(
    "--cohort", multiple=True, metavar="'NAME: VALUE'",
    help="A header that some of the users send with every request; of several, each of them sends one.",
)  # fmt: skip
@click.option(
    "--cohort-share", default=20.0, show_default=True, type=click.FloatRange(0, 100), help="Percent of users."
)
@_out
@click.option("--timeline", type=click.Path(dir_okay=False, path_type=Path), help="Stages and switches (JSON lines).")
@click.option("--web", metavar="HOST:PORT", help="Where to show Locust's own page while it runs.")
@click.option("--master", metavar="HOST:PORT", help="Make no load here: wait there for --workers, and order them.")
@click.option("--workers", default=0, type=click.IntRange(0, 200), help="How many `loadtest worker` to wait for.")
@click.option("--seed-password", envvar="SEED_PASSWORD", help="Some users log in as the seeded account demo.")
@_allow
@_settle
@_plainly
def run_command(
    addresses: Path | None, url: str | None, users: int, duration: float, rate: float, patience: float,
    mix: tuple[str, ...], budgets: tuple[str, ...], cohort: tuple[str, ...], cohort_share: float, out: Path,
    timeline: Path | None, web: str | None, master: str | None, workers: int, seed_password: str | None,
    allow_hosts: tuple[str, ...], settle: float,
) -> None:  # fmt: skip
    """Make the load, then check and report."""
    from loadtest.mix import parse
    from loadtest.run import run

    plan = Plan(
        users=users, duration=duration, rate=rate, patience=patience, url=url, allow_hosts=allow_hosts, web=web,
        addresses=str(addresses.resolve()) if addresses else None,
        timeline=str(timeline.resolve()) if timeline else None,
        mix=parse(mix), budgets=budget.parse(budgets), cohort=cohort, cohort_share=cohort_share,
        master=master, workers=workers,
    )  # fmt: skip
    if addresses and url:
        raise LoadtestError("--addresses and --url exclude each other")
    _must_be_a_place("--web", web, 8089)
    _must_be_a_place("--master", master, 5557)
    if bool(master) != bool(workers):
        raise LoadtestError("--master and --workers go together: where to wait, and for how many")
    if master and users < workers:
        raise LoadtestError(f"{users} users are too few for {workers} workers; give --users {workers} or more")
    for header in cohort:
        if not all(part.strip() for part in header.partition(":")):
            raise LoadtestError(f"--cohort {header!r}: expected 'NAME: VALUE', such as 'Forum-Variant: b'")
    run(Folder(out), plan, seed_password, click.echo)
    _report(Folder(out), _check(Folder(out), None, settle, must_answer=False), plan.budgets)


def _must_be_a_place(option: str, where: str | None, port: int) -> None:
    host, _, number = (where or f"127.0.0.1:{port}").rpartition(":")
    if not (host and number.isdecimal() and int(number) < 65536):
        raise LoadtestError(f"{option} {where}: expected HOST:PORT, such as 127.0.0.1:{port}")


@main.command("worker")
@click.option("--master", required=True, metavar="HOST:PORT", help="Where `loadtest run --master` waits.")
@_out
@click.option("--seed-password", envvar="SEED_PASSWORD", help="As at the master.")
@_allow
@_plainly
def worker_command(master: str, out: Path, seed_password: str | None, allow_hosts: tuple[str, ...]) -> None:
    """Make a share of the load that a master orders. Its ledger is in its own --out first."""
    _must_be_a_place("--master", master, 5557)
    environment = {**os.environ, "SEED_PASSWORD": seed_password or ""}
    os.execve(  # noqa: S606
        sys.executable, [sys.executable, "-m", "loadtest.worker", master, str(out), *allow_hosts], environment
    )


@main.command("check")
@_out
@_addresses
@_url
@_allow
@_settle
@_budgets
@_plainly
def check_command(
    out: Path, addresses: Path | None, url: str | None, allow_hosts: tuple[str, ...], settle: float,
    budgets: tuple[str, ...],
) -> None:  # fmt: skip
    """Read back everything that the ledger of an earlier run knows, and report."""
    from loadtest.addresses import Addresses

    where = Addresses(addresses, url, allow_hosts) if addresses or url else None
    limits = budget.parse(budgets) or Plan.load(Folder(out)).budgets
    _report(Folder(out), _check(Folder(out), where, settle, must_answer=True), limits)


@main.command("report")
@_out
@_budgets
@_plainly
def report_command(out: Path, budgets: tuple[str, ...]) -> None:
    """Make report.json and report.html again from what was recorded and checked."""
    from loadtest.check import Result

    limits = budget.parse(budgets) or Plan.load(Folder(out)).budgets
    _report(Folder(out), Result.load(Folder(out)), limits)


def _check(folder: Folder, addresses: Any, settle: float, must_answer: bool) -> Any:
    from loadtest.check import check, unchecked

    try:
        return check(folder, addresses, settle, lambda text: click.echo(f"check: {text}"))
    except LoadtestError as error:
        if must_answer:
            raise
        return unchecked(folder, str(error))  # what the load saw is worth a report


def _report(folder: Folder, result: Any, budgets: Mapping[str, float]) -> NoReturn:
    from loadtest.report import report

    within = report(folder, result, budgets)
    sys.exit(1 if not result.kept else 0 if within else 3)
