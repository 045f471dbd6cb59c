"""What travels in a request and its answer: JSON to schema, query string to schema, schema to JSON."""

from __future__ import annotations

import json
from typing import TypeVar

from flask import Flask, Response, request
from pydantic import BaseModel, ValidationError
from werkzeug.routing import BaseConverter
from werkzeug.routing import ValidationError as NoMatch

from forum.problems import Problem, from_validation
from forum.schemas import MAX_ID, Input, Query

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


def answer(content: BaseModel, status: int = 200, location: str | None = None) -> Response:
    response = Response(content.model_dump_json(), status, mimetype="application/json")
    if location is not None:
        response.headers["Location"] = location
    return response


def no_content() -> Response:
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


class IdConverter(BaseConverter):
    """`<id:topic_id>`: a bigint that can exist; anything else is a path that does not (404)."""

    regex = "[1-9][0-9]*"

    def to_python(self, value: str) -> int:
        if len(value) > 19 or int(value) > MAX_ID:
            raise NoMatch
        return int(value)


def init_app(app: Flask) -> None:
    app.url_map.converters["id"] = IdConverter
