"""Whether this server is going down: one byte shared by gunicorn's master, which learns it, and its workers."""

from __future__ import annotations

import mmap

_flag = mmap.mmap(-1, 1)  # anonymous and shared: made in the master, inherited by every worker it forks


def begin() -> None:
    _flag[0] = 1


def draining() -> bool:
    return _flag[0] == 1
