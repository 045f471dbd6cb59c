"""`strangler move MODULE VERB`."""

from __future__ import annotations

import click

from strangler.commands.cancel import cancel
from strangler.commands.complete import complete
from strangler.commands.create import create
from strangler.commands.diff import diff
from strangler.commands.events import events
from strangler.commands.status import status
from strangler.commands.switch import reverse, switch


class InOrder(click.Group):
    """Lists its verbs in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(cls=InOrder)
@click.argument("module")
@click.pass_context
def move(context: click.Context, module: str) -> None:
    """One verb of the move of MODULE, in this order: create, status, diff, switch (and reverse, switch ...), complete.

    Every verb can be killed and run again.
    """
    context.obj = (context.obj, module)


for verb in (create, status, diff, switch, reverse, complete, cancel, events):
    move.add_command(verb)
