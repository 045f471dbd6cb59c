"""Inserting what somebody wrote."""

from __future__ import annotations

from psycopg.errors import ForeignKeyViolation
from sqlalchemy.exc import IntegrityError

from forum.application import db
from forum.problems import unauthorized
from monolith.models import Message, Topic


def insert(row: Topic | Message) -> None:
    """Insert a row by the user of this request. The foreign key, while there is one, may refuse a deleted account."""
    db().add(row)
    try:
        db().flush()
    except IntegrityError as error:
        if not isinstance(error.orig, ForeignKeyViolation) or "author_id" not in str(error.orig.diag.constraint_name):
            raise
        raise unauthorized("This account is gone.") from None
