"""/api/sessions: log in, refresh, log out."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.client import Account, Client, created, new_name, ok, status
from tests.contract.conftest import Forum

REFRESH = "/api/sessions/refresh"


def test_who_logs_in_gets_tokens_and_their_profile(anybody: Client, new_account: Callable[[], Account]) -> None:
    somebody = new_account()
    session = created(
        anybody.post("/api/sessions", {"username": somebody.username.upper(), "password": somebody.password})
    )
    assert session.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "user"}
    assert session["token_type"] == "Bearer"
    assert session["expires_in"] > 0
    assert session["user"] == ok(Client(anybody.url, session["access_token"]).get("/api/users/me"))


@pytest.mark.parametrize("password", ["wrong password", "", "x"])
def test_a_wrong_password_and_a_wrong_name_look_the_same(anybody: Client, author: Account, password: str) -> None:
    answers = [
        anybody.post("/api/sessions", {"username": name, "password": password})
        for name in (author.username, new_name())
    ]
    assert [status(answer) for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()


def test_the_key_set_is_public(anybody: Client) -> None:
    keys = ok(anybody.get("/.well-known/jwks.json"))["keys"]
    assert [{"kty", "crv", "x", "kid"} <= key.keys() and "d" not in key for key in keys] == [True] * len(keys)
    assert keys[0]["crv"] == "Ed25519"


def test_a_refresh_token_is_replaced_and_the_old_one_survives_a_lost_answer(
    anybody: Client, new_account: Callable[[], Account]
) -> None:
    first = new_account().session["refresh_token"]
    answers = [ok(anybody.post(REFRESH, {"refresh_token": first})) for _ in range(2)]
    tokens = {answer["refresh_token"] for answer in answers}
    assert len({first, *tokens}) == 3
    for token in tokens:
        again = ok(anybody.post(REFRESH, {"refresh_token": token}))
        assert status(Client(anybody.url, again["access_token"]).get("/api/users/me")) == 200


def test_a_refresh_sent_several_times_at_once_is_answered_each_time(
    anybody: Client, new_account: Callable[[], Account]
) -> None:
    token = new_account().session["refresh_token"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: Client(anybody.url).post(REFRESH, {"refresh_token": token}), range(4)))
    assert [status(answer) for answer in answers] == [200] * 4


def test_a_refresh_token_used_later_again_revokes_the_whole_family(
    forum: Forum, anybody: Client, new_account: Callable[[], Account]
) -> None:
    if forum.grace_seconds is None:
        pytest.skip("FORUM_REFRESH_GRACE_SECONDS does not say how long to wait")
    somebody = new_account()
    first = somebody.session["refresh_token"]
    second = ok(anybody.post(REFRESH, {"refresh_token": first}))["refresh_token"]
    time.sleep(forum.grace_seconds + 0.2)  # what is promised is about time
    assert status(anybody.post(REFRESH, {"refresh_token": first})) == 401
    assert status(anybody.post(REFRESH, {"refresh_token": second})) == 401
    credentials = {"username": somebody.username, "password": somebody.password}
    assert status(anybody.post("/api/sessions", credentials)) == 201


def test_log_out_ends_this_session_and_no_other(anybody: Client, new_account: Callable[[], Account]) -> None:
    somebody = new_account()
    credentials = {"username": somebody.username, "password": somebody.password}
    elsewhere = created(anybody.post("/api/sessions", credentials))
    newer = ok(anybody.post(REFRESH, {"refresh_token": somebody.session["refresh_token"]}))
    assert status(somebody.delete("/api/sessions/current")) == 204
    for token in (somebody.session["refresh_token"], newer["refresh_token"]):
        assert status(anybody.post(REFRESH, {"refresh_token": token})) == 401
    assert status(anybody.post(REFRESH, {"refresh_token": elsewhere["refresh_token"]})) == 200
    assert status(somebody.delete("/api/sessions/current")) == 204
    assert status(anybody.delete("/api/sessions/current")) == 401


@pytest.mark.parametrize("token", ["", "no token of ours", "ü" * 50])
def test_an_unknown_refresh_token_is_refused(anybody: Client, token: str) -> None:
    assert status(anybody.post(REFRESH, {"refresh_token": token})) == 401
