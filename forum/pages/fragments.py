"""Parts of a page that are kept rendered, because many pages show them: a list, a topic's row in it, a message's text.

`kept(macro, ...)` in a template is `macro(...)`. The macro must be made of nothing but what it is given and of how long
ago that was, so a part cannot be out of date: given something else, it is another part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

from flask import Flask, request
from markupsafe import Markup

from forum.schemas import Page

PARTS, LISTS = 4096, 128
"""Of a few kB each; of some tens of kB."""
SECONDS = 30
"""How much older than it says `5 min ago` may be."""


def _place(*key: object) -> list[Markup]:  # noqa: ARG001
    """The place of the part that is told from others by `key`: empty until it has been rendered."""
    return []


_part, _list = lru_cache(PARTS)(_place), lru_cache(LISTS)(_place)


def kept(macro: Callable[..., Markup], *given: object) -> Markup:
    """What the macro makes of `given`: models of the contract, and plain values that can be told apart by hash."""
    # Addresses begin with the root, and a macro's name tells it from the others of its template.
    found = _list if any(isinstance(each, Page) for each in given) else _part
    place = found(getattr(macro, "name", ""), request.script_root, time.monotonic() // SECONDS, *given)
    if not place:
        place.append(macro(*given))
    return place[0]


def init_app(app: Flask) -> None:
    app.add_template_global(kept)
