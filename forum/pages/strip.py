"""Who served what: a strip at the foot of each page and a mark at each part, for those who turned it on.

It tells on its own when a module goes over to another site; that needs JavaScript, the rest does not.
"""

from __future__ import annotations

from typing import get_args

from flask import Response, g, jsonify, request
from markupsafe import Markup

from forum.pages.blueprint import pages
from forum.pages.port import Module
from forum.pages.views import go, local, served
from forum.pages.visitor import part, port

COOKIE = "forum_strip"
COOKIE_SECONDS = 365 * 86_400


@pages.post("/strip")
def turn() -> Response:
    """On or, without `on`, off."""
    response = go(local(request.form.get("next", "")))
    seconds = COOKIE_SECONDS if request.form.get("on") else 0
    response.set_cookie(COOKIE, "1", max_age=seconds, httponly=True, samesite="Lax", secure=request.is_secure)
    return response


@pages.get("/served")
def live() -> Response:
    """Who serves each part now; "" for a module that does not answer."""
    for module in get_args(Module):
        part(port().look, module)
    response = jsonify(served())
    response.headers["Cache-Control"] = "no-store"
    return response


@pages.app_template_global()
def strip_is_on() -> bool:
    return COOKIE in request.cookies


@pages.app_template_global()
def by(module: str) -> Markup:
    """The mark of a part of the page: who served it, if anybody wants to know."""
    name: str = g.get("served", {}).get(module, "")
    if not strip_is_on():
        return Markup()
    return Markup('<span class="by" data-part="{}" data-site="{}">{} <span class="name">{}</span></span>').format(
        module, name.partition("/")[0], module, name or "no answer"
    )
