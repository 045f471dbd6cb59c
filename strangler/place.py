"""Where in the application's code a statement comes from."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import FrameType

_LIBRARIES = ("sqlalchemy", "flask_sqlalchemy", "psycopg", "psycopg_pool", "greenlet", "alembic")
_KIT = str(Path(__file__).parent) + os.sep
_PACKAGES = tuple(
    {folder + os.sep for folder in (*site.getsitepackages(), site.getusersitepackages())}
    | {sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")}
)
_STANDARD = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))


@lru_cache(maxsize=5000)
def _rank(file: str) -> int:
    """2: the application's own code; 1: in site-packages, but no part of the way to the database; 0: neither."""
    if file.startswith(("<", _KIT)):
        return 0
    for folder in _PACKAGES:
        if file.startswith(folder):
            return 0 if Path(file[len(folder) :]).parts[0] in _LIBRARIES else 1
    return 0 if file.startswith(_STANDARD) else 2


def place() -> str:
    """`file:line` of the nearest frame of the application's own code, else of an installed package; else `?`."""
    frame = sys._getframe(1)
    second = ""
    while True:
        code = frame.f_code
        rank = _rank(code.co_filename)
        if rank == 2:
            return f"{_short(code.co_filename)}:{frame.f_lineno}"
        if rank == 1 and not second:
            second = f"{_short(code.co_filename)}:{frame.f_lineno}"
        caller = frame.f_back or _awaiting()
        if caller is None or caller is frame:
            return second or "?"
        frame = caller


def _awaiting() -> FrameType | None:
    """SQLAlchemy's asyncio runs its drivers in a greenlet: the frame that waits for it."""
    greenlet = sys.modules.get("greenlet")
    parent = greenlet.getcurrent().parent if greenlet else None
    return parent.gr_frame if parent else None


@lru_cache(maxsize=5000)
def _short(file: str) -> str:
    """Below the working directory as seen from there."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or there is no working directory any more
        return file
