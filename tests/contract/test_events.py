"""What modules learn from each other's events: soon, and each once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.contract.client import Account, Client, key, ok, status
from tests.servers import wait_for


def test_a_topic_counts_its_messages_and_knows_the_last(author: Account, other: Account, anybody: Client) -> None:
    topic = author.topic()["id"]
    path = f"/api/topics/{topic}?peek=1"

    def post(number: int) -> None:
        headers = key()
        for _ in range(2):  # a repeat is not a second message
            client = Client(other.url, other.token)
            client.post("/api/messages", {"topic_id": topic, "body": f"{number}"}, headers=headers)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(post, range(12)))
    posted = anybody.all_pages("/api/messages", topic_id=topic)
    assert len(posted) == 12
    wait_for(lambda: ok(anybody.get(path))["message_count"] == 12, "12 messages to be counted")
    last = max(message["created_at"] for message in posted)
    assert ok(anybody.get(path))["last_activity_at"] == last
    for message in posted[:5]:
        assert status(other.delete(f"/api/messages/{message['id']}")) == 204
    wait_for(lambda: ok(anybody.get(path))["message_count"] == 7, "5 deletions to be counted")
    assert ok(anybody.get(path))["last_activity_at"] == last


def test_a_message_brings_its_topic_to_the_top(author: Account, anybody: Client) -> None:
    topic = author.topic()["id"]
    author.topic()
    posted = author.message(topic)

    def found() -> bool:
        items = ok(anybody.get("/api/topics", params={"sort": "activity", "limit": 100}))["items"]
        return any((item["id"], item["last_activity_at"]) == (topic, posted["created_at"]) for item in items)

    wait_for(found, "the topic to be among the active ones")


def test_a_deleted_users_posts_stay_and_lose_their_author(
    new_account: Callable[[], Account], author: Account, anybody: Client
) -> None:
    somebody = new_account()
    theirs, ours = somebody.topic("Mine")["id"], author.topic()["id"]
    posts = [somebody.message(topic, "Still here")["id"] for topic in (theirs, ours)]
    kept = author.message(theirs)["id"]
    assert status(somebody.delete(f"/api/users/{somebody.id}")) == 204
    for path in (f"/api/topics/{theirs}?peek=1", *(f"/api/messages/{post}" for post in posts)):
        wait_for(partial(_anonymous, anybody, path), f"{path} to lose its author")
    assert ok(anybody.get(f"/api/topics/{theirs}?peek=1"))["title"] == "Mine"
    assert [ok(anybody.get(f"/api/messages/{post}"))["body"] for post in posts] == ["Still here"] * 2
    assert ok(anybody.get(f"/api/messages/{kept}"))["author"]["id"] == author.id
    listed = ok(anybody.get("/api/messages", params={"topic_id": theirs}))["items"]
    assert [item["author"] and item["author"]["id"] for item in listed] == [None, author.id]


def test_a_deleted_topics_messages_go_with_it(author: Account, other: Account, anybody: Client) -> None:
    topic, kept = author.topic()["id"], author.topic()["id"]
    messages = [other.message(topic)["id"] for _ in range(3)]
    stays = other.message(kept)["id"]
    assert status(author.delete(f"/api/topics/{topic}")) == 204
    for message in messages:
        wait_for(partial(_gone, anybody, f"/api/messages/{message}"), f"message {message} to go")
    assert ok(anybody.get("/api/messages", params={"topic_id": topic}))["items"] == []
    assert ok(anybody.get(f"/api/messages/{stays}"))["id"] == stays


def test_a_changed_name_shows_beside_the_posts(new_account: Callable[[], Account], anybody: Client) -> None:
    somebody = new_account()
    topic = somebody.topic()["id"]
    path = f"/api/topics/{topic}?peek=1"
    assert ok(anybody.get(path))["author"]["display_name"] == somebody.username
    assert status(somebody.patch(f"/api/users/{somebody.id}", {"display_name": "Renamed"})) == 200
    wait_for(lambda: ok(anybody.get(path))["author"]["display_name"] == "Renamed", "the new name to show")


def _anonymous(client: Client, path: str) -> bool:
    return ok(client.get(path))["author"] is None


def _gone(client: Client, path: str) -> bool:
    return status(client.get(path)) == 404
