"""Asking again for what one has: as long as nothing was written a 304, after that what is there now."""

from __future__ import annotations

import pytest

from tests.contract.client import Account, Client, ok, status
from tests.servers import wait_for


def _tag(client: Client, path: str) -> str:
    answer = client.get(path)
    ok(answer)
    return answer.headers["ETag"]


def _again(client: Client, path: str, tag: str) -> int:
    return status(client.get(path, headers={"If-None-Match": tag}))


@pytest.mark.parametrize("module", ["topics", "messages"])
def test_nothing_new_is_said_in_few_words_and_something_new_at_once(
    author: Account, anybody: Client, module: str
) -> None:
    topic = author.topic()
    message = author.message(topic["id"])
    path = f"/api/topics/{topic['id']}" if module == "topics" else f"/api/messages?topic_id={topic['id']}"
    # Counting and relaying go on for a moment, and a period may end just now.
    wait_for(lambda: _again(anybody, path, _tag(anybody, path)) == 304, "a quiet moment")
    tag = _tag(anybody, path)
    if module == "topics":
        ok(author.patch(path, {"title": "Changed"}))
    else:
        ok(author.patch(f"/api/messages/{message['id']}", {"body": "Changed"}))
    changed = anybody.get(path, headers={"If-None-Match": tag})
    assert "Changed" in ok(changed).__repr__()
    assert changed.headers["ETag"] != tag


def test_what_is_shown_to_somebody_is_not_taken_for_what_guests_see(author: Account, anybody: Client) -> None:
    path = f"/api/topics/{author.topic()['id']}"
    for _ in range(5):  # whatever is written meanwhile
        mine = _tag(author, path)
        assert _again(anybody, path, mine) == 200
        assert _again(author, path, _tag(anybody, path)) == 200
