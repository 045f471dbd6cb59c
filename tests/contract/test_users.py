"""/api/users."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.client import Account, Client, created, key, log_in, new_name, ok, registration, status

PUBLIC = {"id", "username", "display_name", "bio", "role", "created_at"}


def test_who_registers_gets_their_profile_and_its_address(anybody: Client) -> None:
    new = registration(display_name="Ada L.", bio="Counts.")
    answer = anybody.post("/api/users", new)
    user = created(answer)
    assert user.keys() == PUBLIC | {"email"}
    assert (user["username"], user["email"], user["display_name"], user["bio"], user["role"]) == (
        new["username"], new["email"], "Ada L.", "Counts.", "member",
    )  # fmt: skip
    assert answer.headers["Location"].endswith(f"/api/users/{user['id']}")
    assert user["created_at"].endswith("Z")
    public = ok(anybody.get(f"/api/users/{user['id']}"))
    assert public == {name: user[name] for name in PUBLIC}


def test_the_display_name_is_the_username_unless_given(anybody: Client) -> None:
    user = created(anybody.post("/api/users", registration()))
    assert user["display_name"] == user["username"]


@pytest.mark.parametrize("field", ["username", "email"])
def test_what_is_taken_is_refused_whatever_its_case(anybody: Client, field: str) -> None:
    first = registration()
    created(anybody.post("/api/users", first))
    answer = anybody.post("/api/users", registration(**{field: first[field].upper()}))
    assert status(answer) == 409
    assert answer.json()["errors"][0]["field"] == field


def test_me_is_private(author: Account, anybody: Client) -> None:
    me = ok(author.get("/api/users/me"))
    assert me["id"] == author.id
    assert "email" in me
    assert status(anybody.get("/api/users/me")) == 401


def test_profiles_come_by_ids_and_unknown_ones_are_left_out(anybody: Client, author: Account, other: Account) -> None:
    ids = f"{author.id},{other.id},{2**62},{2**80}"
    items = ok(anybody.get("/api/users", params={"ids": ids}))["items"]
    assert {item["id"] for item in items} == {author.id, other.id}
    assert all(item.keys() == PUBLIC for item in items)
    assert ok(anybody.get("/api/users", params={"ids": ""})) == {"items": []}


def test_a_profile_comes_by_username(anybody: Client, author: Account) -> None:
    for name in (author.username, author.username.upper()):
        assert [item["id"] for item in ok(anybody.get("/api/users", params={"username": name}))["items"]] == [author.id]
    assert ok(anybody.get("/api/users", params={"username": new_name()})) == {"items": []}


@pytest.mark.parametrize(
    "query", ["", "ids=1&username=x", "ids=x", "ids=1,0", f"ids={','.join(map(str, range(1, 202)))}", "username=%00"]
)
def test_a_list_of_users_says_which(anybody: Client, query: str) -> None:
    assert status(anybody.get(f"/api/users?{query}")) == 422


def test_only_the_owner_edits_a_profile(new_account: Callable[[], Account], other: Account, moderator: Account) -> None:
    somebody = new_account()
    path = f"/api/users/{somebody.id}"
    changed = ok(somebody.patch(path, {"display_name": "Ñandú 🦤", "bio": ""}))
    assert (changed["display_name"], changed["bio"]) == ("Ñandú 🦤", "")
    assert ok(somebody.get("/api/users/me")) == changed
    assert status(other.patch(path, {"bio": "x"})) == 403
    assert status(moderator.patch(path, {"bio": "x"})) == 403
    assert ok(somebody.patch(path, {})) == changed


def test_an_e_mail_address_is_changed_by_who_knows_the_password(
    new_account: Callable[[], Account], other: Account, moderator: Account
) -> None:
    somebody = new_account()
    path, me = f"/api/users/{somebody.id}", ok(somebody.get("/api/users/me"))
    email, proof = f"{new_name()}@example.org", {"current_password": somebody.password}
    unproven = somebody.patch(path, {"email": email, "bio": "x"})
    assert (status(unproven), unproven.json()["errors"][0]["field"]) == (422, "current_password")
    wrong = somebody.patch(path, {"email": email, "bio": "x", "current_password": "something else"})
    assert (status(wrong), wrong.json()["errors"][0]["field"]) == (403, "current_password")
    assert status(moderator.patch(path, {"email": email, "current_password": moderator.password})) == 403
    taken = somebody.patch(path, {"email": ok(other.get("/api/users/me"))["email"].upper(), **proof})
    assert (status(taken), taken.json()["errors"][0]["field"]) == (409, "email")
    assert ok(somebody.get("/api/users/me")) == me
    assert ok(somebody.patch(path, {"email": email, **proof})) == {**me, "email": email}
    assert ok(somebody.get("/api/users/me"))["email"] == email


def test_a_new_password_replaces_the_old_one_and_ends_other_sessions(
    new_account: Callable[[], Account], anybody: Client
) -> None:
    somebody = new_account()
    here, there = (log_in(somebody.url, somebody.username) for _ in range(2))
    path, new = f"/api/users/{somebody.id}", "a better horse battery"
    assert status(here.patch(path, {"password": new})) == 422
    assert status(here.patch(path, {"password": new, "current_password": "wrong"})) == 403
    assert status(here.patch(path, {"password": "short", "current_password": here.password})) == 422
    change, headers = {"password": new, "current_password": here.password}, key()
    first, again = (here.patch(path, change, headers=headers) for _ in range(2))
    assert ok(first) == ok(again) == ok(here.get("/api/users/me"))
    refreshed = [
        status(anybody.post("/api/sessions/refresh", {"refresh_token": account.session["refresh_token"]}))
        for account in (somebody, there, here)
    ]
    assert refreshed == [401, 401, 200]
    old = {"username": somebody.username, "password": somebody.password}
    assert status(anybody.post("/api/sessions", old)) == 401
    log_in(somebody.url, somebody.username, new)
    assert status(here.patch(path, change)) == 403  # the old password proves nothing any more


def test_sessions_that_begin_or_go_on_while_the_password_changes_end_too(new_account: Callable[[], Account]) -> None:
    """Whatever the order: afterwards no session lives that began with the old password, but the one that changed it."""
    for _ in range(4):
        somebody = new_account()
        others = [log_in(somebody.url, somebody.username) for _ in range(2)]
        change = {"password": "a better horse battery", "current_password": somebody.password}

        def log(_: int, old: Account = somebody) -> str | None:
            credentials = {"username": old.username, "password": old.password}
            answer = Client(old.url).post("/api/sessions", credentials)
            return answer.json()["refresh_token"] if status(answer) == 201 else None

        def refresh(other: Account) -> str | None:
            token = other.session["refresh_token"]
            answer = Client(other.url).post("/api/sessions/refresh", {"refresh_token": token})
            return answer.json()["refresh_token"] if status(answer) == 200 else None

        with ThreadPoolExecutor(8) as pool:
            changing = pool.submit(somebody.patch, f"/api/users/{somebody.id}", change)
            under_way = [*(pool.submit(log, n) for n in range(3)), *(pool.submit(refresh, each) for each in others)]
            tokens = [token for future in under_way if (token := future.result())]
            ok(changing.result())
        for token in tokens:
            assert status(Client(somebody.url).post("/api/sessions/refresh", {"refresh_token": token})) == 401


def test_an_account_is_deleted_by_its_owner_or_a_moderator(
    new_account: Callable[[], Account], other: Account, moderator: Account, anybody: Client
) -> None:
    for somebody, by in ((one := new_account(), one), (new_account(), moderator)):
        path = f"/api/users/{somebody.id}"
        assert status(anybody.delete(path)) == 401
        assert status(other.delete(path)) == 403
        assert status(by.delete(path)) == 204
        assert status(anybody.get(path)) == 404
        assert status(moderator.delete(path)) == 404
        assert status(somebody.get("/api/users/me")) == 401
        credentials = {"username": somebody.username, "password": somebody.password}
        assert status(anybody.post("/api/sessions", credentials)) == 401
        refresh = {"refresh_token": somebody.session["refresh_token"]}
        assert status(anybody.post("/api/sessions/refresh", refresh)) == 401
