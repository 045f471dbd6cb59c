"""`strangler stage`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from strangler import stages
from strangler.commands.terminal import pass_config
from strangler.config import Config
from strangler.errors import NotYetError


@click.command()
@click.argument("name")
@click.option("--check", is_flag=True, help="Only look: exit 0 when the stage is reached, 1 when not.")
@click.option("--stay", is_flag=True, help="Then stay and keep the gateway's routes there, until SIGTERM.")
@click.option(
    "--reached", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="With --stay: this file is there as long as the stage is reached.",
)  # fmt: skip
@click.option(
    "--wait", "seconds", default=300.0, show_default=True, help="How long to wait for what is not up yet, in s."
)
@pass_config
def stage(config: Config, name: str, check: bool, stay: bool, reached: Path | None, seconds: float) -> None:
    """Go to a stage of strangler.toml, forward or back, from wherever the databases are: `strangler stage 2-users`.

    Does what is left to do: creates, compares and switches what the stage has moved, reverses what it has not, and
    tells the gateway. Run it twice, or kill it and run it again.
    """
    wanted = config.stage(name)
    journey = stages.Journey(config, wanted, say=lambda line: click.echo(f"{wanted.name}: {line}"), seconds=seconds)
    if check:
        if missing := journey.missing():
            raise NotYetError(f"{wanted.name} is not reached: {missing[0]}")
        return
    if reached is not None:
        reached.unlink(missing_ok=True)
    if stay:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    journey.go()
    if stay:
        journey.stay(reached)
