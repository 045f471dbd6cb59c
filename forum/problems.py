"""Every error is answered as application/problem+json (RFC 9457), whoever raised it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import psycopg
from flask import Flask, Response
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, InternalServerError

MIMETYPE = "application/problem+json"


class Problem(HTTPException):
    """An answer of `status` with a `detail` for a person and, for a program, `errors` by field.

    Raise it from anywhere under a request: nothing is committed.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: list[dict[str, Any]] | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.code = status
        self.errors = errors
        self.headers = list(headers)

    def get_headers(self, *_: Any, **__: Any) -> list[tuple[str, str]]:
        return self.headers


def not_found(what: str) -> Problem:
    return Problem(404, f"There is no such {what}.")


def forbidden(detail: str) -> Problem:
    return Problem(403, detail)


def unauthorized(detail: str) -> Problem:
    """401 with the challenge that RFC 6750 asks for."""
    return Problem(401, detail, headers=[("WWW-Authenticate", 'Bearer realm="forum", error="invalid_token"')])


def unavailable(detail: str, retry_after: int = 1) -> Problem:
    """503: nothing was done; the same request may be sent again after `retry_after` seconds."""
    return Problem(503, detail, headers=[("Retry-After", str(retry_after))])


def invalid(field: str, message: str) -> Problem:
    """422 for one field."""
    return Problem(422, f"{field}: {message}", errors=[{"field": field, "message": message}])


def from_validation(error: ValidationError) -> Problem:
    """422 with what pydantic found, without the values: they may be passwords."""
    errors = [
        {"field": ".".join(str(part) for part in found["loc"]), "message": found["msg"]}
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    first = errors[0]
    return Problem(422, f"{first['field']}: {first['message']}" if first["field"] else first["message"], errors=errors)


def response(problem: HTTPException) -> Response:
    """The problem+json answer to any HTTP error, with the headers that belong to it (Allow, Retry-After, ...)."""
    status = problem.code or 500
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": problem.description,
    }
    if errors := getattr(problem, "errors", None):
        document["errors"] = errors
    answer = Response(json.dumps(document), status, mimetype=MIMETYPE)
    for name, value in problem.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            answer.headers.add(name, value)
    return answer


def _on_http_exception(error: HTTPException) -> Response:
    if isinstance(error, InternalServerError):
        return response(_last_resort(error.original_exception))
    if error.response is not None:  # abort(Response(...)): made on purpose
        return error.response  # type: ignore[return-value]
    return response(error)


def _last_resort(cause: BaseException | None) -> Problem:
    """What Flask has logged with its trace by now. It says nothing about the inside.

    Here and not in a handler of their own stand the database's errors, so that the kit's handler of DBAPIError, which
    must see the fence's, comes first.
    """
    if isinstance(cause, OperationalError | psycopg.OperationalError | PoolTimeout):
        return unavailable("The database did not answer in time.")
    return Problem(500, "Something went wrong here. It has been logged.")


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, _on_http_exception)
