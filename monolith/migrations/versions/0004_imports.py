"""Which mails were imported: `forum import mbox`.

Revision ID: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"

IMPORTS = """
CREATE TABLE messages_imports (
    key uuid PRIMARY KEY,
    message_id bigint NOT NULL
);
"""


def upgrade() -> None:
    op.execute(IMPORTS)
