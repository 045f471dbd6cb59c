"""Parked events; counts with a version.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

PARKED = """
CREATE TABLE messages_parked (
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
    for statements in (PARKED, COUNTED):
        op.execute(statements)
