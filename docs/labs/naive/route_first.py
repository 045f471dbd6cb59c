"""Send the requests to the new service at once, and bring the data after them.

Until they arrive, nothing is there that was; and what is posted meanwhile gets ids that others have already.
"""

from __future__ import annotations

from docs.labs.naive.ground import Ground


def move(ground: Ground) -> None:
    ground.route()
    ground.more(100)
    ground.copy()
