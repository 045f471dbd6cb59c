"""What a request asks of the database: a few statements whatever the page's size, each answered from an index."""

from __future__ import annotations

import json
import re
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from forum.events import counting
from tests.statements import statements

TOPICS, MESSAGES = 30_000, 30_000


@pytest.fixture(scope="module")
def filled(environment: dict[str, str], authorization: dict[str, str]) -> None:  # noqa: ARG001
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO users (username, display_name, email, password_hash)"
            " SELECT 'u' || g, 'U', g || '@example.org', '' FROM generate_series(1, 100) g"
        )
        connection.execute(
            "INSERT INTO topics (title, author_id, last_activity_at)"
            # Dated ahead of what other files leave in the same database, so that these are the first page.
            " SELECT 't' || g, (SELECT min(id) FROM users) + g %% 90,"
            " now() + interval '1 year' - g * interval '1 minute'"
            " FROM generate_series(1, %s) g",
            (TOPICS,),
        )
        connection.execute(
            "INSERT INTO messages (topic_id, author_id, body)"
            " SELECT (SELECT max(id) FROM topics) - g %% 5, (SELECT min(id) FROM users) + g %% 90, 'm' || g"
            " FROM generate_series(1, %s) g",
            (MESSAGES,),
        )
        connection.execute("ANALYZE")


def _last_topic(environment: dict[str, str]) -> int:
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT max(topic_id) FROM messages").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("path", ["/api/topics?sort=activity", "/api/topics?sort=newest", "/api/messages?topic_id={}"])
def test_a_list_is_one_query_answered_from_an_index(
    client: FlaskClient, environment: dict[str, str], path: str
) -> None:
    path = path.format(_last_topic(environment))
    client.get(path)  # the facade asks once whether the kit is installed
    sent = {}
    for limit in (2, 100):
        with statements() as sent[limit]:
            page: Any = client.get(f"{path}&limit={limit}").json
        assert len(page["items"]) == limit
        assert len({item["author"]["id"] for item in page["items"]}) > 1
    assert len(sent[2]) == len(sent[100]) <= 2, sent
    with statements() as other_pages:
        client.get(f"{path}&limit=100&cursor={page['next']}")
        if "messages" in path:
            assert len(client.get(f"{path}&limit=100&last=1").json["items"]) == 100  # type: ignore[index]
    pages = [each for each in (sent[100][-1], *other_pages) if "LIMIT" in each[0]]
    assert len(pages) == (3 if "messages" in path else 2)
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        for statement, parameters in pages:
            assert "OFFSET" not in statement.upper()
            plan = "\n".join(row[0] for row in connection.execute("EXPLAIN " + statement, parameters))
            assert "Sort" not in plan, plan
            assert "Seq Scan on topics" not in plan, plan
            assert "Seq Scan on messages" not in plan, plan


@pytest.mark.usefixtures("filled")
def test_a_plan_without_its_index_would_show(client: FlaskClient, environment: dict[str, str]) -> None:
    """The test above can fail."""
    lists = {
        "topics_activity_idx": "/api/topics?sort=activity",
        "messages_topic_idx": f"/api/messages?topic_id={_last_topic(environment)}",
    }
    for index, path in lists.items():
        with statements() as sent:
            client.get(path)
        with psycopg.connect(environment["DATABASE_URL"]) as connection:
            connection.execute(f"DROP INDEX {index}")
            plan = "\n".join(row[0] for row in connection.execute("EXPLAIN " + sent[-1][0], sent[-1][1]))
            assert "Sort" in plan or "Seq Scan" in plan or "pkey" in plan, plan
            assert index not in plan
            connection.rollback()


@pytest.mark.usefixtures("filled")
def test_a_count_reads_an_index_and_no_message(app: Flask, environment: dict[str, str]) -> None:
    topic_ids = [_last_topic(environment) - number for number in (0, 100)]
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE messages")
    with statements() as sent, app.extensions["forum"].database.engine.connect() as connection:
        connection.execute(counting._COUNT, {"topic_ids": topic_ids})
        connection.rollback()
        [(statement, parameters)] = sent
        plan = "\n".join(connection.exec_driver_sql("EXPLAIN " + statement, parameters).scalars())
    assert "Index Only Scan using messages_topic_idx" in plan, plan


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("module", ["topics", "messages"])
def test_a_search_fetches_the_latest_matches_and_those_of_a_rare_word(
    client: FlaskClient, environment: dict[str, str], module: str
) -> None:
    """Never all that a common word has."""
    text = {"topics": "title", "messages": "body"}[module]
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f"UPDATE {module} SET {text} = {text} || ' everywhere' WHERE id % 3 = 0")
        connection.execute(f"VACUUM ANALYZE {module}")
        for word, ways, most in (("everywhere", 1, 16 * 1024 // 3), ("t77 or m77", 2, 2)):
            with statements() as sent:
                page: Any = client.get(f"/api/{module}/search", query_string={"q": word}).json
            ids = [found["id"] for found in page["items"]]
            all_of_them = f"SELECT id FROM {module} WHERE search @@ websearch_to_tsquery('english', %s)"
            matches = [id for (id,) in connection.execute(f"{all_of_them} ORDER BY id DESC", (word,))]
            assert ids == matches[:20]
            asked = [each for each in sent if "websearch" in each[0]]
            assert len(asked) == ways
            for statement, parameters in asked:
                found: Any = connection.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, parameters).fetchone()
                plan = json.dumps(found[0])
                assert f"{module}_search_idx" in plan, plan
                assert "Seq Scan" not in plan, plan
                assert max(map(float, re.findall(r'"Actual Rows": ([0-9.]+)', plan))) <= most + 2, plan
            assert len(matches) > most or ways == 2, "without the blocks more would have been fetched"


@pytest.mark.usefixtures("filled")
def test_nobody_can_search_for_what_the_index_has_beside_words(client: FlaskClient) -> None:
    for asked in ("0", "' 0'", '" 0"', "' 1' or ' 2'"):
        page: Any = client.get("/api/messages/search", query_string={"q": asked}).json
        assert page["items"] == []


@pytest.mark.usefixtures("filled")
def test_to_mark_all_as_read_is_to_walk_along_an_index(
    client: FlaskClient, environment: dict[str, str], authorization: dict[str, str]
) -> None:
    with statements() as sent:
        answer = client.put("/api/topics/read", json={"until": "9999-12-31T00:00:00Z"}, headers=authorization)
    assert answer.status_code == 204
    [(statement, parameters)] = [each for each in sent if "INSERT INTO topics_reads" in each[0]]
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        plan = "\n".join(row[0] for row in connection.execute("EXPLAIN " + statement, parameters))
    assert "topics_activity_idx" in plan, plan
    assert "Sort" not in plan, plan


@pytest.mark.usefixtures("filled")
def test_a_batch_of_users_is_one_query(client: FlaskClient) -> None:
    client.get("/api/users?ids=1")
    with statements() as sent:
        answer: Any = client.get(f"/api/users?ids={','.join(map(str, range(1, 101)))}").json
    assert len(answer["items"]) > 50
    assert len(sent) <= 2, sent


def test_a_write_is_a_handful_of_statements(client: FlaskClient, authorization: dict[str, str]) -> None:
    topic: Any = client.post("/api/topics", json={"title": "x"}, headers=authorization).json
    with statements() as sent:
        answer = client.post(
            "/api/messages",
            json={"topic_id": topic["id"], "body": "x"},
            headers={**authorization, "Idempotency-Key": "a handful"},
        )
    assert answer.status_code == 201
    assert len(sent) <= 10, sent
