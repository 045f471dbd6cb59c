"""Copy the tables, then send the requests to the copy.

What is written between the two is in the old database only. A large table takes long to copy; this one is small, so
it is waited until people have posted meanwhile.
"""

from __future__ import annotations

from docs.labs.naive.ground import Ground

MEANWHILE = 5


def move(ground: Ground) -> None:
    ground.copy()
    ground.posted(MEANWHILE)
    ground.route()
