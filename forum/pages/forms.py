"""What a visitor typed into a form, and what is wrong with it."""

from __future__ import annotations

import secrets
from typing import Any, TypeVar

from flask import request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from forum.pages.port import Away, PortError, Refused
from forum.schemas import Input

In = TypeVar("In", bound=Input)


class Form:
    """`key` goes into the form as a hidden field and becomes the Idempotency-Key: sent twice, done once."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.key = secrets.token_urlsafe(18)
        self.problem = ""
        self.errors: dict[str, str] = {}

    @classmethod
    def sent(cls, *fields: str) -> Form:
        """The form that the visitor sent. Browsers send line ends as CRLF; the forum keeps LF."""
        form = cls(**{field: request.form.get(field, "").replace("\r\n", "\n") for field in fields})
        key = request.form.get("key", "")
        if 1 <= len(key) <= 200 and key.isascii() and key.isprintable():
            form.key = key
        return form

    def __getitem__(self, field: str) -> str:
        return self.values.get(field, "")

    def read(self, schema: type[In], **values: Any) -> In:
        """`values` as `schema`, before anything is asked of anybody. Raises Refused (422)."""
        try:
            return schema(**values)
        except ValidationError as error:
            errors = {str(found["loc"][0]): _said(found) for found in error.errors(include_input=False)}
            raise Refused(None, 422, "Please look at what you typed.", errors) from error

    def refuse(self, error: PortError) -> int:
        """Say what went wrong. Returns the status for the page that shows the form again."""
        if isinstance(error, Away):
            # Perhaps it was done all the same: the same key makes a second try safe.
            self.problem = f"{str(error).capitalize()}. Your text is still here; please send it again in a moment."
            return error.status
        self.key = secrets.token_urlsafe(18)
        if isinstance(error, Refused):
            self.errors = {name: text for name, text in error.errors.items() if name in self.values}
            self.problem = "Please look at the marked fields." if self.errors else error.detail
        return error.status


def _said(found: ErrorDetails) -> str:
    """What pydantic found, for people."""
    context = found.get("ctx", {})
    if "min_length" in context:
        return "Please fill this in." if context["min_length"] == 1 else f"At least {context['min_length']} characters."
    if "max_length" in context:
        return f"At most {context['max_length']} characters."
    if found["type"] == "string_pattern_mismatch":
        return "Only letters, digits, _ . and -."
    text = str(context.get("error", found["msg"]))
    return f"{text[:1].upper()}{text[1:]}."
