"""Parked events; counts with a version.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

TOPICS = "ALTER TABLE topics ADD COLUMN counted bigint NOT NULL DEFAULT 0"

PARKED = """
CREATE TABLE topics_parked (
    event_id uuid PRIMARY KEY,
    type text NOT NULL,
    payload text NOT NULL,
    at timestamptz NOT NULL,
    error text NOT NULL,
    deliveries integer NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    for statements in (TOPICS, PARKED):
        op.execute(statements)
