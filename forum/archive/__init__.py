"""A forum's content from and to files: archives of mailing lists in, and the forum itself out and in again.

`forum import mbox`: `mbox` cuts a file into mails, `mail` makes sense of one, `threads` finds out what answers what,
and `load` puts them into the monolith's database. `forum export` and `forum import jsonl`: `jsonl`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, Table, Uuid


class ArchiveError(Exception):
    """One line that says what is wrong and how to mend it. What the database has of it is whole, and may be nothing."""


def imports_table(metadata: MetaData) -> Table:
    """Which mails were imported, for the day the archive is imported again.

    They stay when the message is deleted: what a moderator removed does not come back.
    """
    return Table(
        "messages_imports",
        metadata,
        Column("key", Uuid, primary_key=True),
        Column("message_id", BigInteger, nullable=False),
    )
