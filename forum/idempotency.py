"""Idempotency-Key: a write that is sent again, with the same key, is answered again and not done again.

The key is a row of the module's own table, inserted first in the request's transaction and given the answer last in
the same one. So a duplicate in flight waits for the first one's commit (the primary key makes it); a refused or failed
request leaves no row; and the row moves with the module.

    topics_idempotency = idempotency_table(Base.metadata, "topics")

    @blueprint.post("")
    @authenticated
    @idempotent(topics_idempotency)
    def create() -> Response: ...
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
from collections.abc import Callable, Collection
from typing import ParamSpec

from flask import Response, g, make_response, request
from flask.typing import ResponseReturnValue
from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    Update,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from forum.application import db, resources
from forum.contract import IDEMPOTENCY_KEY
from forum.problems import Problem, unavailable

KEPT_HEADERS = ("Content-Type", "Location")
ANONYMOUS = "anonymous"
"""The scope of requests without a user; else it is the user's id."""

P = ParamSpec("P")


def idempotency_table(metadata: MetaData, module: str) -> Table:
    """The module's table of keys; `MODULE_idempotency`."""
    return Table(
        f"{module}_idempotency",
        metadata,
        Column("scope", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("fingerprint", Text, nullable=False),
        Column("status", Integer),
        Column("headers", JSONB(none_as_null=True)),
        Column("body", JSONB(none_as_null=True)),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now(), index=True),
    )


def name_authors(table: Table, user_ids: Collection[int]) -> ColumnElement[bool]:
    """The rows whose answers name one of these users: what they did, and what others (moderators) did to theirs."""
    ids = [str(user_id) for user_id in user_ids]
    return or_(table.c.scope.in_(ids), table.c.body["author"]["id"].astext.in_(ids))


def unname_quoted(table: Table, user_ids: Collection[int]) -> Update:
    """Let answers that quote one of these users no longer name them. They stay: what others posted is done once."""
    quoted = table.c.body["quote"]["author"]["id"].astext.in_([str(user_id) for user_id in user_ids])
    nobody = func.jsonb_set(table.c.body, literal_column("'{quote,author}'"), literal_column("'null'"))
    return update(table).where(quoted).values(body=nobody)


def idempotent(
    table: Table, prepare: Callable[[], None] | None = None
) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, Response]]:
    """Make a view one transaction, done once for each Idempotency-Key.

    The view writes with `db()` and does not commit; this does. It refuses by raising a Problem. What has to be asked of
    other modules is asked in `prepare`, before anything is written: a transaction that has written holds up a switch.
    """

    def decorate(view: Callable[P, ResponseReturnValue]) -> Callable[P, Response]:
        @functools.wraps(view)
        def once(*args: P.args, **kwargs: P.kwargs) -> Response:
            key = request.headers.get(IDEMPOTENCY_KEY)
            if key is None:
                if prepare:
                    prepare()
                response = make_response(view(*args, **kwargs))
                db().commit()
                return response
            entry = {"scope": _scope(), "key": _checked(key), "fingerprint": _fingerprint()}
            if prepare:
                # What was posted stays posted: a repeat is answered even if by now it would be refused.
                if (known := _replay(table, entry)) is not None:
                    return known
                prepare()
            if not db().execute(insert(table).values(entry).on_conflict_do_nothing().returning(table.c.key)).first():
                if (known := _replay(table, entry)) is not None:
                    return known
                raise unavailable("Try again.")  # its keep time ended between the two statements
            response = make_response(view(*args, **kwargs))
            mine = (table.c.scope == entry["scope"]) & (table.c.key == key)
            db().execute(
                update(table).where(mine).values(
                    status=response.status_code,
                    headers={name: response.headers[name] for name in KEPT_HEADERS if name in response.headers},
                    body=response.get_json() if response.is_json else None,
                )
            )  # fmt: skip
            db().commit()
            return response

        vars(once)["idempotent"] = True  # for forum.openapi
        return once

    return decorate


def _scope() -> str:
    return str(g.identity.id) if "identity" in g else ANONYMOUS


def _checked(key: str) -> str:
    if not 1 <= len(key) <= 200 or not key.isascii() or not key.isprintable():
        raise Problem(400, f"{IDEMPOTENCY_KEY} must be 1 to 200 printable ASCII characters.")
    return key


def _fingerprint() -> str:
    """Tells requests apart without keeping them. Keyed, because a body may hold a password."""
    secret = resources().settings.strangler_secret.get_secret_value()
    digest = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    for part in (request.method.encode(), request.full_path.encode(), request.get_data()):
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


def _replay(table: Table, entry: dict[str, str]) -> Response | None:
    """The stored answer; None when this key is new."""
    mine = (table.c.scope == entry["scope"]) & (table.c.key == entry["key"])
    row = db().execute(select(table.c.fingerprint, table.c.status, table.c.headers, table.c.body).where(mine)).first()
    if row is None:
        return None
    if not hmac.compare_digest(row.fingerprint, entry["fingerprint"]):
        raise Problem(422, f"This {IDEMPOTENCY_KEY} was used for another request.")
    response = Response(json.dumps(row.body) if row.body is not None else b"", row.status)
    response.headers.remove("Content-Type")
    response.headers.update(row.headers)
    response.headers["Idempotency-Replayed"] = "true"
    return response
