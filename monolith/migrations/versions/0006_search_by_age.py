"""Search finds the latest matches first: the index knows in which block of ids a row is.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"

TOPICS = """
DROP INDEX topics_search_idx;
CREATE INDEX topics_search_idx ON topics USING gin ((search || array_to_tsvector(ARRAY[' ' || (id >> 13)::text])));
"""

MESSAGES = """
DROP INDEX messages_search_idx;
CREATE INDEX messages_search_idx ON messages USING gin ((search || array_to_tsvector(ARRAY[' ' || (id >> 13)::text])));
"""


def upgrade() -> None:
    op.execute(TOPICS)
    op.execute(MESSAGES)
