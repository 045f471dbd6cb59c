"""Who wrote a topic or a message: a join to `users`, which must be an outer one.

Once users is moved, what this database has of it is a copy that lags: an inner join would hide the first topic of a
new user.
"""

from __future__ import annotations

from typing import Any

from psycopg.errors import ForeignKeyViolation
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, joinedload
from sqlalchemy.orm.interfaces import ORMOption

from forum import schemas
from forum.application import db
from forum.problems import unauthorized
from monolith.models import Message, Topic, User


def with_author(entity: type[Topic] | type[Message]) -> ORMOption:
    """Have a SELECT of topics or messages bring the authors along."""
    author: InstrumentedAttribute[Any] = entity.author
    return joinedload(author).load_only(User.username, User.display_name)


def author_of(row: Topic | Message) -> schemas.Author | None:
    """None when the account was deleted; without a name when it is not here (yet)."""
    if row.author_id is None:
        return None
    return schemas.Author.model_validate(row.author) if row.author else schemas.Author(id=row.author_id)


def insert(row: Topic | Message) -> None:
    """Insert a row by the user of this request. The foreign key, while there is one, may refuse a deleted account."""
    db().add(row)
    try:
        db().flush()
    except IntegrityError as error:
        if not isinstance(error.orig, ForeignKeyViolation) or "author_id" not in str(error.orig.diag.constraint_name):
            raise
        raise unauthorized("This account is gone.") from None
