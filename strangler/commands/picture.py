"""`strangler picture`."""

from __future__ import annotations

import click
from flask import Flask

from strangler.commands.terminal import pass_config
from strangler.config import Config


@click.command()
@click.option("--listen", envvar="BIND", default="127.0.0.1:8010", show_default=True, metavar="ADDRESS:PORT",
              help="Port 0: any.")  # fmt: skip
@click.option("--gateway", envvar="GATEWAY_METRICS", metavar="URL", help="Traefik's metrics.")
@click.option("--door", "doors", envvar="GATEWAY_DOORS", multiple=True, default=["public"],
              show_default=True, metavar="NAME", help="The gateway's entry points that people use.")  # fmt: skip
@click.option("--promises", envvar="PROMISES", metavar="URL|FILE", help="The load test's live.json.")
@click.option("--metrics-path", default="/metrics", show_default=True, help="Where applications show theirs.")
@pass_config
def picture(
    config: Config, listen: str, gateway: str | None, doors: tuple[str, ...], promises: str | None, metrics_path: str
) -> None:
    """Show what happens on one page: who serves, who owns what, what is copied, and whether anything breaks.

    It only looks: at the databases, at the gateway's and the applications' metrics.
    """
    from strangler.picture.server import Server, create_app, listener
    from strangler.picture.watch import Sources, Watch

    for module in config.modules.values():
        for site in (module.source, module.target):
            _ = config.sites[site].dsn  # said now, in a line, and not shown as a database that is away
    bound = listener(listen)
    host, port = bound.getsockname()[:2]
    click.echo(f"http://{host}:{port}/")

    def make() -> Flask:
        watch = Watch(config, Sources(gateway, frozenset(doors), promises, metrics_path))
        watch.start()
        return create_app(lambda: watch.state)

    Server(bound, make).run()
