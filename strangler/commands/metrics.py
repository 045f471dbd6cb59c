"""`strangler metrics`."""

from __future__ import annotations

import threading

import click
from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from strangler.commands.terminal import pass_config
from strangler.config import Config
from strangler.errors import StranglerError
from strangler.metrics import Moves


@click.command()
@click.option("--listen", metavar="ADDRESS:PORT", help="Serve them there until interrupted, instead of printing them.")
@pass_config
def metrics(config: Config, listen: str | None) -> None:
    """Print the status of all moves for Prometheus, or serve it: `strangler metrics --listen 127.0.0.1:9187`."""
    registry = CollectorRegistry()
    registry.register(Moves(config))
    if listen is None:
        click.echo(generate_latest(registry).decode(), nl=False)
        return
    address, _, port = listen.rpartition(":")
    try:
        start_http_server(int(port), address or "127.0.0.1", registry)
    except (ValueError, OSError, OverflowError) as error:
        raise StranglerError(f"--listen {listen}: {error}; say ADDRESS:PORT, e.g. 127.0.0.1:9187") from None
    click.echo(f"http://{listen}/metrics")
    threading.Event().wait()
