"""What travels in a request and its answer: JSON to schema, query string to schema, schema to JSON."""

from __future__ import annotations

import io
import json
from typing import TypeVar

from flask import Flask, Response, request
from pydantic import ValidationError
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import BaseConverter

from forum.problems import Problem, from_validation, not_found
from forum.schemas import MAX_ID, Input, Output, Query

MAX_BODY = 256 * 1024
"""Room for the longest message in any script, whether its JSON or form escapes it or not."""
MAX_DRAIN = 4 * 1024 * 1024
CHUNK = 64 * 1024

In = TypeVar("In", bound=Input)
Asked = TypeVar("Asked", bound=Query)


def body(schema: type[In]) -> In:
    """The request's JSON as `schema`. Raises Problem: 415 not JSON, 400 not well-formed, 422 not valid."""
    if not request.is_json:
        raise Problem(415, "Send the body as application/json.")
    try:
        document = json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not well-formed JSON.") from None
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        raise from_validation(error) from None


def query(schema: type[Asked]) -> Asked:
    """The query string as `schema`; of a parameter that is repeated the first counts. Raises Problem (422)."""
    try:
        return schema.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise from_validation(error) from None


def answer(content: Output, status: int = 200, location: str | None = None) -> Response:
    response = Response(content.as_json, status, mimetype="application/json")
    if location is not None:
        response.headers["Location"] = location
    return response


def no_content() -> Response:
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def refuse_large() -> None:
    """413 for a body of more than MAX_BODY bytes, before anything else reads it.

    What is left of it is read, up to a bound: a server that closes while the client still sends resets the connection,
    and the answer may be lost with it.
    """
    try:
        if len(request.get_data()) <= MAX_BODY:
            return
    except RequestEntityTooLarge:
        pass
    rest = request.environ["wsgi.input"] if request.environ.get("wsgi.input_terminated") else io.BytesIO()
    for _ in range(MAX_DRAIN // CHUNK):
        if not rest.read(CHUNK):
            break
    raise RequestEntityTooLarge


class IdConverter(BaseConverter):
    """`<id:topic_id>`: a bigint that can exist; anything else is a path that does not (404)."""

    regex = "[1-9][0-9]*"

    def to_python(self, value: str) -> int:
        if len(value) > 19 or int(value) > MAX_ID:
            # Not the converter's "no match": with another method at the same path that would become a 405.
            raise not_found("resource")
        return int(value)


def init_app(app: Flask) -> None:
    app.url_map.converters["id"] = IdConverter
    # werkzeug cuts a body of unknown length off at its limit and says nothing; so that limit is one byte more.
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY + 1
