"""The blueprint that all views hang on, and what happens around each of them."""

from __future__ import annotations

from flask import Blueprint, request
from flask_wtf.csrf import CSRFProtect

from forum.pages.visitor import keep_tokens

MAX_FORM = 512 * 1024
"""Bytes. A body of 20,000 characters, percent-encoded, is larger than the same body in the API's JSON."""

# Not /static: that is every application's own, and would be asked first.
pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/assets")
csrf = CSRFProtect()


@pages.before_request
def check() -> None:
    request.max_content_length = MAX_FORM
    request.max_form_memory_size = MAX_FORM
    csrf.protect()


pages.after_request(keep_tokens)
