"""/api/users."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.client import Account, Client, created, new_name, ok, registration, status

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
    "query", ["", "ids=1&username=x", "ids=x", "ids=1,0", f"ids={','.join(map(str, range(1, 102)))}", "username=%00"]
)
def test_a_list_of_users_says_which(anybody: Client, query: str) -> None:
    assert status(anybody.get(f"/api/users?{query}")) == 422


def test_only_the_owner_edits_a_profile(new_account: Callable[[], Account], other: Account, moderator: Account) -> None:
    somebody = new_account()
    path = f"/api/users/{somebody.id}"
    email = f"{new_name()}@example.org"
    changed = ok(somebody.patch(path, {"display_name": "Ñandú 🦤", "bio": "", "email": email}))
    assert (changed["display_name"], changed["bio"], changed["email"]) == ("Ñandú 🦤", "", email)
    assert ok(somebody.get("/api/users/me")) == changed
    assert status(other.patch(path, {"bio": "x"})) == 403
    assert status(moderator.patch(path, {"bio": "x"})) == 403
    assert status(somebody.patch(path, {"email": ok(other.get("/api/users/me"))["email"]})) == 409
    assert ok(somebody.patch(path, {})) == changed


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
