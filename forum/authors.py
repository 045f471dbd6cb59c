"""Who wrote a topic or a message: by a join to `users`, where that table is, or by asking whoever has it.

The join must be an outer one. Once users is moved, what the monolith's database has of it is a copy that lags: an
inner join would hide the first topic of a new user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import FromClause

from forum.schemas import Author

Known = Mapping[int, Author | None]
"""By id; None: there is no such user."""
Authors = FromClause | Callable[[Iterable[int | None]], Known]
"""The table `users`, or who is to be asked. To ask may end the transaction."""
Named = tuple[int, str | None, str | None]
"""Of an author: id, username, display name, as far as they are known. (A tuple can be looked up in a cache.)"""
NAMES = ("username", "display_name")
SECONDS = 60.0
"""For how long names are shown that had to be asked for. (An event says sooner that one has changed.)"""


def of_join(id: int | None, username: str | None, display_name: str | None) -> Named | None:
    """None when the account was deleted; without a name when it is not here (yet)."""
    return None if id is None else (id, username, display_name)


def of_known(known: Known, id: int | None) -> Named | None:
    author = None if id is None else known.get(id)
    return None if author is None else (author.id, author.username, author.display_name)


def shown(named: Named | None) -> Author | None:
    return None if named is None else Author(id=named[0], username=named[1], display_name=named[2])
