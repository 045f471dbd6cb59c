"""Search: words in titles and messages, the latest first."""

from __future__ import annotations

import secrets

import pytest

from tests.contract.client import Account, Client, ok, status

PATHS = ["/api/topics/search", "/api/messages/search"]


def new_word() -> str:
    """One that nobody has used. Letters only, so that it is one word to PostgreSQL too, and can have a plural."""
    return "qu" + "".join(secrets.choice("bcdfghjklm") for _ in range(16))


def write(author: Account, path: str, text: str) -> int:
    """Have `text` where `path` searches; answers the id to be found."""
    topic = author.topic(text if "topics" in path else "A topic")["id"]
    return int(author.message(topic, text)["id"] if "messages" in path else topic)


@pytest.mark.parametrize("path", PATHS)
def test_a_word_is_found_in_any_form_and_case_the_latest_first(author: Account, anybody: Client, path: str) -> None:
    word = new_word()
    ids = [write(author, path, text.format(word)) for text in ("a {}", "b {}s, and extra", "({}!)")]
    write(author, path, f"not{word}")
    assert [found["id"] for found in anybody.all_pages(path, q=word.upper())] == ids[::-1]
    assert [found["id"] for found in anybody.all_pages(path, q=word, limit=2)] == ids[::-1]
    assert [found["id"] for found in ok(anybody.get(path, params={"q": f"{word} -extra"}))["items"]] == [ids[2], ids[0]]
    assert [found["id"] for found in ok(anybody.get(path, params={"q": f'"{word} and extra"'}))["items"]] == [ids[1]]


def test_what_is_found_is_what_a_list_shows_and_follows_edits(author: Account, anybody: Client) -> None:
    word, better = new_word(), new_word()
    message = author.message(author.topic(word)["id"], word)
    assert ok(anybody.get("/api/messages/search", params={"q": word})) == {"items": [message], "next": None}
    author.patch(f"/api/messages/{message['id']}", {"body": better})
    assert ok(anybody.get("/api/messages/search", params={"q": word}))["items"] == []
    assert len(ok(anybody.get("/api/messages/search", params={"q": better}))["items"]) == 1
    (topic,) = ok(anybody.get("/api/topics/search", params={"q": word}))["items"]
    assert topic.keys() == ok(anybody.get(f"/api/topics/{message['topic_id']}", params={"peek": 1})).keys()
    author.delete(f"/api/topics/{message['topic_id']}")
    assert ok(anybody.get("/api/topics/search", params={"q": word}))["items"] == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "q", ["the", "'", "';--", "\\", "%s %(x)s :x %%", '"', "&|!<->:*", "- -", "or", "日本", "a" * 200, "☃"]
)
def test_whatever_is_looked_for_is_no_error(anybody: Client, path: str, q: str) -> None:
    ok(anybody.get(path, params={"q": q}))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", ["", "q=", "q=%20", "q=%00", f"q={'a' * 201}", "q=x&limit=0", "q=x&cursor=x"])
def test_a_search_that_says_nothing_is_refused(anybody: Client, path: str, query: str) -> None:
    assert status(anybody.get(f"{path}?{query}")) == 422
