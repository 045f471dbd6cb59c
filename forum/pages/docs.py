"""/docs: the API's contract for people. The same document as /openapi.json, with no script to run."""

from __future__ import annotations

import json
from functools import cache

from flask import Response

from forum import openapi
from forum.contract import CONVENTIONS
from forum.pages.blueprint import pages
from forum.pages.views import page


@pages.get("/docs")
def docs() -> Response:
    document = _document()
    described = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return page("docs.html", document=document, described=described, conventions=CONVENTIONS)


@pages.app_template_filter()
def pretty(value: object) -> str:
    """JSON with the fields in their own order."""
    return json.dumps(value, indent=2, ensure_ascii=False)


@cache
def _document() -> openapi.Document:
    return openapi.document()
