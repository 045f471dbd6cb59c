"""Who wrote a topic or a message: a join to `users`, which must be an outer one.

Once users is moved, what this database has of it is a copy that lags: an inner join would hide the first topic of a
new user.
"""

from __future__ import annotations

from psycopg.errors import ForeignKeyViolation
from sqlalchemy.exc import IntegrityError

from forum import schemas
from forum.application import db
from forum.problems import unauthorized
from monolith.models import Message, Topic, User

NAMES = (User.username, User.display_name)
"""What is needed of an author, beside the id that the row has."""


def author(id: int | None, username: str | None, display_name: str | None) -> schemas.Author | None:
    """None when the account was deleted; without a name when it is not here (yet)."""
    return None if id is None else schemas.Author(id=id, username=username, display_name=display_name)


def insert(row: Topic | Message) -> None:
    """Insert a row by the user of this request. The foreign key, while there is one, may refuse a deleted account."""
    db().add(row)
    try:
        db().flush()
    except IntegrityError as error:
        if not isinstance(error.orig, ForeignKeyViolation) or "author_id" not in str(error.orig.diag.constraint_name):
            raise
        raise unauthorized("This account is gone.") from None
