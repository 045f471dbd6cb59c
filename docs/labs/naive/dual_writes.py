"""Have the application write to both databases, fill in what is older, then let the reads go to the second.

The second database is restarted once, as databases are. A write whose second half fails is logged; it was committed
and answered, so what else could be done?
"""

from __future__ import annotations

from docs.labs.naive.ground import Ground

MEANWHILE = 5


def move(ground: Ground) -> None:
    ground.layout.monolith = "docs.labs.naive.dual_monolith:create_app()"
    ground.restart(*ground.layout.instances("monolith"))
    ground.copy()
    ground.posted(MEANWHILE)
    ground.stack.stop(["postgres-messages"])
    ground.posted(MEANWHILE)
    ground.stack.start({"postgres-messages"})
    ground.set_sequence()
    ground.route()
