"""A deleted account leaves its posts behind and nothing that says whose they were: in no table, no cache, no log."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis import Redis
from werkzeug.serving import make_server

from monolith.app import create_app
from tests.contract.client import Client, created, key, log_in, ok, registration, status
from tests.forum.conftest import ROOT, new_key
from tests.servers import RedisServer, free_port, wait_for
from tests.services import router
from tests.services.conftest import Place, working

NAMES = ("Zebedee.Q", "zebedee@example.org", "Zebedee Quagga", "Collects zebedees", "quagga@example.org")
SITES = {"monolith": ("monolith",), "services": ("users", "topics", "messages")}


@pytest.fixture(params=list(SITES))
def places(
    request: pytest.FixtureRequest, place: Callable[[str], Place], redis: Redis, redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, Place]]:  # fmt: skip
    """The forum with its workers; the databases by site. FORUM_API_URL says where it answers."""
    made = {site: place(site) for site in SITES[request.param]}
    port = free_port()
    variables = {
        "FORUM_API_URL": f"http://127.0.0.1:{port}", "REDIS_URL": redis_server.url, "TOKEN_PRIVATE_KEY": new_key(),
        "STRANGLER_SECRET": "a secret that only tests know", "SECRET_KEY": "another secret that only tests know",
        "STRANGLER_CONFIG": str(ROOT / "strangler.toml"), "ARGON2_MEMORY_KIB": "64", "ARGON2_TIME": "1",
        "DATABASE_URL": next(iter(made.values())).url,
        **{f"{site.upper()}_DATABASE_URL": one.url for site, one in made.items()},
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    app: Any = create_app() if request.param == "monolith" else router.create_app()
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with ExitStack() as stack:
            for one in made.values():
                stack.enter_context(working(one, redis))
            yield made
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


def test_a_deleted_account_is_found_nowhere(
    places: dict[str, Place], redis: Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    url = os.environ["FORUM_API_URL"]
    anybody, new = Client(url), registration()
    created(anybody.post("/api/users", new))
    users = places.get("users") or places["monolith"]
    users.query("UPDATE users SET role = 'moderator' WHERE username = %s", (new["username"],))
    moderator = log_in(url, new["username"])

    account = registration(username=NAMES[0], email=NAMES[1], display_name=NAMES[2], bio=NAMES[3])
    user_id = created(anybody.post("/api/users", account, headers=key()))["id"]
    assert status(anybody.post("/api/users", registration(email=NAMES[1]))) == 409
    assert status(anybody.post("/api/sessions", {"username": NAMES[0], "password": "wrong"})) == 401
    somebody = log_in(url, NAMES[0], account["password"])
    change = {"email": NAMES[4], "current_password": account["password"]}
    ok(somebody.patch(f"/api/users/{user_id}", change, headers=key()))
    topic = created(somebody.post("/api/topics", {"title": "Stays"}, headers=key()))["id"]
    theirs = created(moderator.post("/api/topics", {"title": "Another's"}, headers=key()))["id"]
    posts = [
        created(somebody.post("/api/messages", {"topic_id": each, "body": "Stays, too"}, headers=key()))["id"]
        for each in (topic, theirs)
    ]
    ok(moderator.patch(f"/api/topics/{topic}", {"locked": True}, headers=key()))
    kept = created(moderator.post("/api/messages", {"topic_id": theirs, "body": "Mine"}, headers=(mine := key())))
    quoting = {"topic_id": theirs, "body": "As you say", "reply_to": posts[1]}
    reply = created(moderator.post("/api/messages", quoting, headers=(quotes := key())))
    assert reply["quote"]["author"]["username"] == NAMES[0]
    mark = {"message_id": kept["id"], "until": kept["created_at"]}
    assert status(somebody.request("PUT", f"/api/topics/{theirs}/read", json=mark)) == 204
    ok(anybody.get("/api/messages", params={"topic_id": topic}))
    before = found(places, redis)
    owners = {"users", "users_idempotency", "topics_idempotency", "messages_idempotency"}
    assert owners <= {place.rpartition(".")[2] for place in before}, before

    last = key()
    assert status(somebody.delete(f"/api/users/{user_id}", headers=last)) == 204
    wait_for(lambda: not found(places, redis), "every trace to go")
    # Sent again, it is answered again; and what others did is still done once.
    assert status(somebody.delete(f"/api/users/{user_id}", headers=last)) == 204
    again = moderator.post("/api/messages", {"topic_id": theirs, "body": "Mine"}, headers=mine)
    assert created(again)["id"] == kept["id"]
    again = created(moderator.post("/api/messages", quoting, headers=quotes))
    assert (again["id"], again["quote"]) == (reply["id"], {"author": None, "excerpt": "Stays, too"})
    topics = places.get("topics") or places["monolith"]
    assert not topics.value("SELECT count(*) FROM topics_reads WHERE user_id = %s", (user_id,))
    for post in posts:
        shown = ok(anybody.get(f"/api/messages/{post}"))
        assert (shown["author"], shown["body"]) == (None, "Stays, too")
    assert not found(places, redis)
    logged = "".join(capfd.readouterr())
    assert not [name for name in NAMES if name.lower() in logged.lower()]


def found(places: dict[str, Place], redis: Any) -> set[str]:
    """Where the account's name, address or words are: tables of all databases, keys of Redis."""
    tables = """
        SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND n.nspname NOT LIKE 'pg_t%'"""
    places_found = set()
    for site, one in places.items():
        for (table,) in one.query(tables):
            if one.value(f"SELECT EXISTS (SELECT FROM {table} t WHERE t::text ILIKE ANY (%s))", (_patterns(),)):
                places_found.add(f"{site}.{table}")
    for name in redis.scan_iter("*"):
        kind = redis.type(name)
        value = {
            "string": redis.get, "hash": redis.hgetall, "stream": redis.xrange, "set": redis.smembers,
            "zset": lambda key: redis.zrange(key, 0, -1), "list": lambda key: redis.lrange(key, 0, -1),
        }[kind](name)  # fmt: skip
        if any(each.lower() in f"{name} {value}".lower() for each in NAMES):
            places_found.add(f"redis.{name}")
    return places_found


def _patterns() -> list[str]:
    return [f"%{name}%" for name in NAMES]
