"""Parts of a page that are kept rendered, because many pages show them: a list, a topic's row in it, a message's text.

`kept(macro, ...)` in a template is `macro(...)`. The macro must be made of nothing but what it is given and of how long
ago that was, so a part cannot be out of date: given something else, it is another part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from flask import Flask, request
from markupsafe import Markup

from forum.schemas import Page

PARTS, LISTS, PAGES = 4096, 128, 128
"""Of a few kB each; of some tens of kB."""
SECONDS = 30
"""How much older than it says `5 min ago` may be."""


def _place(*key: object) -> list[Any]:  # noqa: ARG001
    """The place of the part that is told from others by `key`: empty until it has been rendered."""
    return []


_part, _list, _page = (lru_cache(size)(_place) for size in (PARTS, LISTS, PAGES))


def kept(macro: Callable[..., Markup], *given: object) -> Markup:
    """What the macro makes of `given`: models of the contract, and plain values that can be told apart by hash."""
    # Addresses begin with the root, and a macro's name tells it from the others of its template.
    found = _list if any(isinstance(each, Page) for each in given) else _part
    place = found(getattr(macro, "name", ""), request.script_root, time.monotonic() // SECONDS, *given)
    if not place:
        place.append(macro(*given))
    made: Markup = place[0]
    return made


def until() -> float:
    """By time.monotonic(): when what is kept now is made anew."""
    return (time.monotonic() // SECONDS + 1) * SECONDS


def whole(template: str, given: tuple[object, ...], render: Callable[[], bytes]) -> bytes:
    """The page that `render` makes of what is given. Kept for those only who send no cookie: all else is somebody's."""
    if request.cookies:
        return render()
    place = _page(template, request.script_root, request.full_path, time.monotonic() // SECONDS, *given)
    if not place:
        place.append(render())
    made: bytes = place[0]
    return made


def init_app(app: Flask) -> None:
    app.add_template_global(kept)
