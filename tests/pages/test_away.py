"""Modules that are away or elsewhere, tokens that have run out, and what a page may cost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import jwt
import psycopg
from psycopg import sql

from local.postgres import Cluster
from strangler.sql import statement
from tests.pages.browser import Browser
from tests.pages.conftest import Both, Site, registered
from tests.pages.test_pages import new_topic
from tests.servers import wait_for


def expire(browser: Browser) -> str:
    """Let the browser's access token have run out (and be signed by nobody we know). Answers the new one."""
    claims = jwt.decode(browser.http.cookies["forum_access"], options={"verify_signature": False})
    old = jwt.encode({**claims, "exp": time.time() - 60}, "x" * 32)
    for cookie in browser.http.cookies:
        if cookie.name == "forum_access":
            cookie.value = old
    return old


@contextmanager
def _moved(admin: str, module: str) -> Iterator[None]:
    """The module belongs to its target, as the row in the monolith's database says."""
    row = (
        "INSERT INTO strangler.ownership VALUES (%s, %s, 1)"
        " ON CONFLICT (module) DO UPDATE SET owner = excluded.owner, epoch = ownership.epoch + 1"
    )
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(statement("install", site=sql.Literal("monolith")))
        connection.execute(row, (module, module))
        try:
            yield
        finally:
            connection.execute(row, (module, "monolith"))


def test_a_module_that_is_away_leaves_the_rest_of_the_page(web: Site) -> None:
    somebody = registered(web)
    topic = new_topic(somebody, "Stays up", "The message")
    web.gateway.away = {"/api/messages"}
    page = somebody.get(topic.url)
    assert (page.status, page.served["messages"]) == (200, "no")
    assert "Stays up" in page.text
    assert "The messages cannot be shown right now." in page.text

    web.gateway.away = {"/api/topics"}
    page = somebody.get(topic.url)
    assert (page.status, page.served["topics"]) == (200, "no")
    assert "The message" in page.text
    assert somebody.get("/").status == 503

    web.gateway.away = {"/api/"}
    for path in (topic.url, "/", "/users/1", "/settings", topic.link("Edit")):
        page = somebody.get(path)
        assert page.status == 503, path
        assert "right now" in page.text
    page = somebody.submit(somebody.get("/"), "Log out")
    assert "logged out on this device" in page.text


def test_guests_are_shown_what_is_kept_only_after_asking_whether_it_still_holds(web: Site) -> None:
    somebody, guest = registered(web), Browser(web.url)
    topic = new_topic(somebody, "Kept", "The first")
    address = urlsplit(topic.url).path

    def kept() -> bool:
        web.gateway.unchanged.clear()
        page = guest.get(topic.url)
        assert "The first" in page.text
        return {path.partition("?")[0] for path in web.gateway.unchanged} == {f"/api{address}", "/api/messages"}

    wait_for(kept, "a quiet moment")
    somebody.submit(topic, "Post message", body="The second")
    assert "The second" in guest.get(topic.url).text
    wait_for(kept, "a quiet moment")
    web.gateway.away = {"/api/messages"}
    page = guest.get(topic.url)
    assert (page.status, page.served["messages"]) == (200, "no")
    assert "Kept" in page.text
    assert "The first" not in page.text
    web.gateway.away = {"/api/topics"}
    page = guest.get(topic.url)
    assert (page.status, page.served["topics"]) == (200, "no")
    assert "The second" in page.text
    web.gateway.away = {"/api/"}
    assert guest.get(topic.url).status == 503
    web.gateway.away = set()
    assert guest.get(f"{web.url}/topics/999999999").status == 404


def test_the_monolith_too_shows_what_it_can(both: Both) -> None:
    somebody = registered(both.monolith)
    topic = new_topic(somebody, "Stays up")
    with psycopg.connect(both.monolith.database, autocommit=True) as connection:
        connection.execute("ALTER TABLE messages RENAME TO messages_gone")
        try:
            page = somebody.get(topic.url)
        finally:
            connection.execute("ALTER TABLE messages_gone RENAME TO messages")
    assert page.status == 200
    assert "Stays up" in page.text
    assert "The messages cannot be shown right now." in page.text


def test_a_post_that_met_nobody_is_kept_and_done_once_when_sent_again(web: Site) -> None:
    somebody = registered(web)
    web.gateway.away = {"/api/messages"}
    page = somebody.submit(somebody.get("/topics/new"), "Open topic", title="Patience", body="Worth the wait")
    assert page.status == 503
    assert page.form("Post message").fields["body"] == "Worth the wait"
    web.gateway.away = set()
    page = somebody.submit(page, "Post message")
    assert page.source.count("<p>Worth the wait</p>") == 1
    assert somebody.get("/?sort=newest").text.count("Patience") == 1


def test_an_access_token_that_has_run_out_is_renewed_unseen(web: Site) -> None:
    somebody = registered(web)
    topic = new_topic(somebody)
    old = expire(somebody)
    web.gateway.calls.clear()
    assert somebody.get("/settings").status == 200
    assert [call for call in web.gateway.calls if call[1].startswith("/api/")] == [("POST", "/api/sessions/refresh")]
    assert somebody.http.cookies.get("forum_access") != old

    expire(somebody)
    assert "Still me" in somebody.submit(somebody.get(topic.url), "Post message", body="Still me").text


def test_a_session_that_was_revoked_asks_to_log_in_and_keeps_the_text(site: Site) -> None:
    somebody = registered(site)
    page = new_topic(somebody)
    expire(somebody)
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute("UPDATE sessions SET revoked_at = now() WHERE revoked_at IS NULL")
    page = somebody.submit(page, "Post message", body="Do not lose me")
    assert page.status == 401
    assert "log in" in page.text
    assert page.form("Post message").fields["body"] == "Do not lose me"
    assert not somebody.http.cookies.get("forum_access")


def test_a_page_asks_each_module_at_most_once(web: Site) -> None:
    somebody = registered(web)
    topic = new_topic(somebody)
    for _ in range(3):
        somebody.submit(registered(web).get(topic.url), "Post message", body="From many people")
    for path in ("/", topic.url, topic.link("Edit"), "/users/1", "/settings", "/topics/new", "/nope"):
        web.gateway.calls.clear()
        somebody.get(path)
        modules = [call[1].split("?")[0].split("/")[2] for call in web.gateway.calls]
        assert len(modules) == len(set(modules)), f"{path}: {web.gateway.calls}"


def test_the_monoliths_pages_follow_a_module_that_has_moved(both: Both, cluster: Cluster) -> None:
    """In process, each call is decided by the facade: messages is elsewhere, topics is still here."""
    site = both.monolith
    somebody = registered(site)
    topic = new_topic(somebody, "Half moved")
    message = {
        "id": 7, "topic_id": 1, "author": None, "reply_to": None, "body": "I live elsewhere now",
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    site.gateway.canned = {
        "GET": json.dumps({"items": [message], "next": None}).encode(),
        "POST": json.dumps(message).encode(),
    }
    site.gateway.calls.clear()
    with _moved(cluster.dsn(urlsplit(site.database).path[1:]), "messages"):
        page = somebody.get(topic.url)
        somebody.submit(page, "Post message", body="Written where it belongs")
    assert "I live elsewhere now" in page.text
    assert "Half moved" in page.text
    assert page.served["messages"] == "messages/v9@elsewhere"
    assert page.served["topics"].startswith("monolith/")
    assert ("POST", "/api/messages") in site.gateway.calls
    here = somebody.get(topic.url).text
    assert "I live elsewhere now" not in here
    assert "Written where it belongs" not in here
