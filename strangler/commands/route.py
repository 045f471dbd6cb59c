"""`strangler route`."""

from __future__ import annotations

import click

from strangler import routes
from strangler.commands.terminal import as_json, pass_config, say
from strangler.config import Config
from strangler.errors import StranglerError


@click.command()
@click.argument("to", nargs=-1, metavar="[MODULE=SITE]...")
@click.option("--default", "default", required=True, metavar="SITE", help="Where every other path goes.")
@as_json
@pass_config
def route(config: Config, to: tuple[str, ...], default: str, json_: bool) -> None:
    """Tell the gateway all its routes, e.g. `strangler route users=users --default monolith`.

    A module that is not named goes to the default. Early or late, twice or never: any path leads to the owner.
    """
    wanted: dict[str, str] = {}
    for word in to:
        module, _, site = word.partition("=")
        if site not in (config.module(module).source, config.module(module).target):
            raise StranglerError(
                f"{word}: {module} can go to {config.module(module).source} or {config.module(module).target}"
            )
        wanted[module] = site
    if default not in config.sites:
        raise StranglerError(f"--default {default}: there is no [sites.{default}]")
    table = routes.table(config, wanted, default)
    root = routes.root(config)
    routes.publish(routes.connect(config), routes.keys(config, table, root), root, routes.names(config, root))
    say(json_, table, "\n".join(f"{prefix:40} {site}" for prefix, site in table.items()))
