"""The command `strangler-local`: the whole forum on this machine, at any stage of its way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

from local import orphans, postgres
from local.errors import LocalError, run_command
from local.layout import APPS, SITES
from local.stack import Stack
from local.stages import STAGES, Stages, number, progress
from local.state import State, locate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(context: click.Context) -> None:
    """Run the forum on this machine, without Docker.

    \b
    strangler-local up             start it, at the stage where it was (first: 0-monolith)
    strangler-local stage users    move it to a stage, forth or back
    strangler-local status         what runs, and where
    strangler-local logs users-1   what a process says
    strangler-local restart users  replace the processes of one application, one after another
    strangler-local events topics  how far its events are behind; see: strangler-local events topics --help
    strangler-local picture        watch all of it on one page
    strangler-local psql users     psql in the database of a site, as its superuser
    strangler-local down           stop it; --purge removes its data too

    \b
    Stages: 0-monolith 1-gateway 2-users 3-topics 4-messages 5-microservices
    Its files are in .state (another place: STRANGLER_STATE). For the kit's own commands:
    set -a; . .state/env; set +a; strangler move users status
    """
    context.obj = locate()


def _say(line: str) -> None:
    click.echo(f"  {line}")


@contextmanager
def _stack(state: State) -> Iterator[Stack]:
    with state.lock():
        yield Stack(state, _say)


def _existing(state: State) -> Stack:
    if not state.root.exists():
        raise LocalError(f"there is no stack in {state.root}; start one with: strangler-local up")
    return Stack(state, _say)


@cli.command()
@click.pass_obj
def up(state: State) -> None:
    """Start the stack at the stage where it was; the first time at 0-monolith."""
    began = time.monotonic()
    with _stack(state) as stack:
        stages = Stages(stack)
        stages.up()
        click.echo(f"{STAGES[stages.stage]} is up after {time.monotonic() - began:.0f} s: {_public(state)}")
        _warn_of_interrupted(state)


@cli.command()
@click.argument("stage")
@click.pass_obj
def stage(state: State, stage: str) -> None:
    """Move the stack to STAGE (0 to 5, or a name), through all that lie between. Starts it when it is down."""
    target = number(stage)
    with _stack(state) as stack:
        stages = Stages(stack)
        stages.up()
        stages.go(target)
        click.echo(f"{STAGES[stages.stage]}: {_public(state)}")


@cli.command()
@click.pass_obj
def status(state: State) -> None:
    """What runs, and where."""
    stack = _existing(state)
    running = stack.supervisor.answers()
    click.echo(f"{STAGES[progress(state).stage]}, {'up' if running else 'down'}; {state.root}")
    _warn_of_interrupted(state)
    if not running:
        return
    click.echo(f"public: {_public(state)}")
    for name, entry in stack.supervisor.all().items():
        if entry["statename"] != "STOPPED":
            port = stack.layout.ports.get(name)
            click.echo(
                f"  {name:20} {entry['statename']:9} {f'127.0.0.1:{port}' if port else '':16} {entry['description']}"
            )
    click.echo(f"memory: {stack.memory() / 2**20:.0f} MB")


@cli.command()
@click.argument("name", required=False)
@click.option("-n", "--lines", default=40, show_default=True, type=click.IntRange(1))
@click.pass_obj
def logs(state: State, name: str | None, lines: int) -> None:
    """The last lines of NAME's log; without NAME, which logs there are."""
    known = {file.stem: file for file in sorted(state.logs.glob("*.log"))}
    if name is None:
        for one, file in known.items():
            click.echo(f"{one:20} {file}")
        return
    if name not in known:
        raise LocalError(f"there is no log of {name!r}; there are: {', '.join(known) or 'none'}")
    text = known[name].read_text(errors="replace").splitlines()
    click.echo("\n".join(text[-lines:]))


@cli.command()
@click.argument("name")
@click.pass_obj
def restart(state: State, name: str) -> None:
    """Replace a process (users-1), or all of an application one after another (users).

    Behind the gateway, that is from stage 1 on, no request fails of it.
    """
    with _stack(state) as stack:
        if not stack.supervisor.answers():
            raise LocalError("the stack is down; start it with: strangler-local up")
        running = stack.supervisor.running()
        names = [one for one in stack.layout.instances(name) if one in running] if name in APPS else [name]
        if not names or not set(names) <= running:
            raise LocalError(f"{name!r} does not run; these do: {', '.join(sorted(running))}")
        for one in names:
            stack.stop([one])
            stack.start([one])
            _say(f"{one} is ready again")


@cli.command()
@click.pass_obj
def picture(state: State) -> None:
    """Show on one page what happens, and what a load test with --out STATE/load promises; prints its address."""
    with _stack(state) as stack:
        if not stack.supervisor.answers():
            raise LocalError("the stack is down; start it with: strangler-local up")
        stack.start(["picture"])
        click.echo(f"watch it on {stack.layout.url('picture')}")


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("site", type=click.Choice(SITES))
@click.argument("words", nargs=-1)
@click.pass_obj
def events(state: State, site: str, words: tuple[str, ...]) -> None:
    """What the worker of SITE is behind with: lag, parked, retry, drop, replay, recount (WORDS; --help)."""
    done = _existing(state).module(site, "worker", *(words or ("lag",)))
    click.echo(done.stdout, nl=False)
    raise SystemExit(done.returncode)


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("site", type=click.Choice(SITES))
@click.argument("words", nargs=-1)
@click.pass_obj
def psql(state: State, site: str, words: tuple[str, ...]) -> NoReturn:
    """psql in the database of SITE, as its superuser; WORDS are psql's own, such as -c 'SELECT 1'."""
    cluster = _existing(state).layout.cluster(site)
    where = {"PGHOST": "127.0.0.1", "PGPORT": str(cluster.port), "PGUSER": "postgres", "PGPASSWORD": cluster.password}
    program = postgres.programs() / "psql"
    os.execve(program, ["psql", "-X", "-d", site, *words], os.environ | where)  # noqa: S606


@cli.command()
@click.option("--purge", is_flag=True, help="Remove its data, secrets and logs too.")
@click.pass_obj
def down(state: State, purge: bool) -> None:
    """Stop everything. The data stays, unless --purge."""
    if not state.root.exists():
        if purge:
            state.purge()  # a link that leads nowhere any more
        click.echo("there is nothing to stop")
        return
    with state.lock():
        take_down(state, purge)
    click.echo("purged" if purge else "down")


def take_down(state: State, purge: bool) -> None:
    """Stop whatever runs in `state`, even when its files are damaged or gone."""
    try:
        if state.root.exists():
            Stack(state, _say).down()
    except LocalError:
        pass
    orphans.end(state)
    if purge:
        state.purge()


def _public(state: State) -> str:
    return " ".join(state.read("addresses.json").get("public", []))


def _warn_of_interrupted(state: State) -> None:
    if step := progress(state).step:
        here, there = (STAGES[one] for one in step)
        click.echo(f"a step from {here} to {there} was interrupted; go on with: strangler-local stage N")


def terminate_like_interrupt() -> None:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does: cleaning up."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, interrupt)


def main() -> NoReturn:
    terminate_like_interrupt()
    mend = "the same command goes on where it stopped, `strangler-local down` stops all"
    run_command("strangler-local", lambda: cli(standalone_mode=False), mend)
