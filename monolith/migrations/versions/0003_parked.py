"""Parked events; counts with a version.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

TOPICS = "ALTER TABLE topics ADD COLUMN counted bigint NOT NULL DEFAULT 0"

PARKED = """
CREATE TABLE {module}_parked (
    event_id uuid PRIMARY KEY,
    type text NOT NULL,
    payload text NOT NULL,
    at timestamptz NOT NULL,
    error text NOT NULL,
    deliveries integer NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now()
);
"""

COUNTED = """
CREATE TABLE messages_counted (
    topic_id bigint PRIMARY KEY,
    version bigint NOT NULL
);
DROP INDEX messages_topic_idx;
CREATE INDEX messages_topic_idx ON messages (topic_id, id) INCLUDE (created_at);
"""


def upgrade() -> None:
    op.execute(TOPICS)
    op.execute(COUNTED)
    for module in ("topics", "messages"):
        op.execute(PARKED.format(module=module))
