"""`python -m docs.labs.naive [WAY]...`: each way, on one forum under the same load; then a table."""

from __future__ import annotations

import json

import click

from docs.labs.naive import by_the_kit, copy_then_switch, dual_writes, route_first
from docs.labs.naive.ground import ground
from local.cli import terminate_like_interrupt
from local.errors import run_command
from local.state import CHECKOUT

WAYS = {"copy": copy_then_switch, "dual": dual_writes, "route-first": route_first, "kit": by_the_kit}


@click.command()
@click.argument("ways", nargs=-1, metavar="[WAY]...")
@click.option("--messages", default=20_000, show_default=True, type=click.IntRange(100), help="To start with.")
@click.option("--users", default=10, show_default=True, type=click.IntRange(1, 200), help="Of the load.")
@click.option("--json", "as_json", is_flag=True, help="The figures, an object by way, instead of the table.")
def main(ways: tuple[str, ...], messages: int, users: int, as_json: bool) -> None:
    """Move messages out of the forum in each WAY: copy, dual, route-first, kit (all of them if none is named)."""
    if wrong := set(ways) - set(WAYS):
        raise click.UsageError(f"there is no way {wrong.pop()!r}; there are {', '.join(WAYS)}")
    found = {}
    folder = CHECKOUT / "build" / "naive"
    with ground(folder, messages) as one:
        for name in (way for way in WAYS if way in (ways or WAYS)):  # the kit last: its move is not undone
            click.echo(f"{name}: {messages:,} messages, {users} users", err=as_json)
            one.begin(folder / name, users, naive=name != "kit")
            WAYS[name].move(one)
            found[name] = one.finish()
            if name != "kit":
                one.undo()
    if as_json:
        click.echo(json.dumps(found))
        return
    names = list(next(iter(found.values())))
    click.echo(f"| way | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for name, figures in found.items():
        click.echo(f"| {name} | {' | '.join(f'{figures[one]:,}' for one in names)} |")


if __name__ == "__main__":
    terminate_like_interrupt()
    run_command("naive", lambda: main(standalone_mode=False), "nothing of it runs any more; start it again")
