"""Search, pinned topics, and how far users have read.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TOPICS = """
ALTER TABLE topics ADD pinned boolean NOT NULL DEFAULT false;
ALTER TABLE topics ADD search tsvector GENERATED ALWAYS AS (to_tsvector('english'::regconfig, title)) STORED;
CREATE INDEX topics_search_idx ON topics USING gin (search);
DROP INDEX topics_activity_idx;
CREATE INDEX topics_activity_idx ON topics (pinned, last_activity_at, id);

CREATE TABLE topics_reads (
    user_id bigint NOT NULL,
    topic_id bigint NOT NULL REFERENCES topics ON DELETE CASCADE,
    message_id bigint NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (user_id, topic_id)
);
CREATE INDEX topics_reads_topic_id_idx ON topics_reads (topic_id);
"""


def upgrade() -> None:
    op.execute(TOPICS)
