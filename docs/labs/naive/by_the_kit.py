"""What `strangler move` does, for comparison."""

from __future__ import annotations

from docs.labs.naive.ground import Ground


def move(ground: Ground) -> None:
    for verb in ("create", "diff", "switch"):
        ground.stack.kit.move("messages", verb)
    ground.route()
