"""Search finds the latest matches first: the index knows in which block of ids a row is.

The old one goes last: the forum is read while the new one is made.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"

MESSAGES = """
CREATE INDEX messages_new_idx ON messages USING gin ((search || array_to_tsvector(ARRAY[' ' || (id >> 13)::text])));
DROP INDEX messages_search_idx;
ALTER INDEX messages_new_idx RENAME TO messages_search_idx;
"""


def upgrade() -> None:
    op.execute(MESSAGES)
