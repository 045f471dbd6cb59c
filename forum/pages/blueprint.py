"""The blueprint that all views hang on, and what happens around each of them."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, request, url_for
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import HTTPException
from werkzeug.routing import ValidationError as NoMatch

from forum.pages.visitor import keep_tokens
from forum.payload import IdConverter

ASSET_SECONDS = 3600
"""How long browsers keep a style sheet. No longer, because during a rollout the old version may answer for the new."""


class _Pages(Blueprint):
    def get_send_file_max_age(self, filename: str | None) -> int:  # noqa: ARG002
        return ASSET_SECONDS


# Not /static: that is every application's own, and would be asked first.
pages = _Pages("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/assets")
csrf = CSRFProtect()


class PageId(IdConverter):
    """An id as the API's, but what cannot be one is no page (and gets the page for that, not problem+json)."""

    def to_python(self, value: str) -> int:
        try:
            return super().to_python(value)
        except HTTPException:
            raise NoMatch from None


def init_app(app: Flask) -> None:
    app.url_map.converters["page_id"] = PageId
    csrf.init_app(app)
    # First of all: whoever looks at the body must know how long it may be.
    app.register_blueprint(pages)


@cache
def _fingerprint(filename: str) -> str:
    return hashlib.sha256((Path(str(pages.static_folder)) / filename).read_bytes()).hexdigest()[:8]


@pages.app_template_global()
def asset(filename: str) -> str:
    """The address of a static file; another one when the file changes."""
    return address("pages.static", filename=filename, v=_fingerprint(filename))


@lru_cache(4096)
def _address(root: str, endpoint: str, values: tuple[tuple[str, Any], ...]) -> str:  # noqa: ARG001
    return url_for(endpoint, **dict(values))


@pages.app_template_global("url_for")
def address(endpoint: str, **values: Any) -> str:
    """As Flask's own, which takes longer over one address than a template over the rest of a line."""
    return _address(request.script_root, endpoint, tuple(values.items()))


HARMLESS = {"pages.turn"}
"""What another site may have a visitor's browser send: it changes nothing but how pages look, and guests, who read
most, need no session for its sake."""


@pages.before_request
def refuse_forged() -> None:
    if request.endpoint not in HARMLESS:
        csrf.protect()


pages.after_request(keep_tokens)
