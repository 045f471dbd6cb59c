"""Search.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"

MESSAGES = """
ALTER TABLE messages ADD search tsvector GENERATED ALWAYS AS (to_tsvector('english'::regconfig, body)) STORED;
CREATE INDEX messages_search_idx ON messages USING gin (search);
"""


def upgrade() -> None:
    op.execute(MESSAGES)
