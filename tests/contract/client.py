"""What every test of the contract talks through: HTTP, and what must hold for each answer whatever was asked."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import requests

from tests.contract import described

PASSWORD = "correct horse battery"
PROBLEM = "application/problem+json"


class Client:
    """Requests to one forum, as nobody or as somebody. Any answer of 500 or above, or not in the contract, fails."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.http = requests.Session()
        self.http.trust_env = False

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= options.pop("headers", {})
        answer = self.http.request(method, self.url + path, headers=headers, timeout=30, **options)
        self._check(answer)
        return answer

    def _check(self, answer: requests.Response) -> None:
        said = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:500]}"
        assert answer.status_code < 500, said
        assert "/" in answer.headers.get("X-Served-By", ""), f"no X-Served-By; {said}"
        if answer.status_code >= 400:
            assert answer.headers["Content-Type"] == PROBLEM, said
            problem = answer.json()
            assert problem["status"] == answer.status_code, said
            assert {"type", "title", "detail"} <= problem.keys(), said
            assert "Traceback" not in answer.text, said
        described.check(answer)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> requests.Response:
        return self.request("POST", path, json=json, **options)

    def patch(self, path: str, json: Any = None, **options: Any) -> requests.Response:
        return self.request("PATCH", path, json=json, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        return self.request("DELETE", path, **options)

    # --- what tests need again and again ----------------------------------------------------------------------------

    def topic(self, title: str = "A topic") -> Any:
        return created(self.post("/api/topics", {"title": title}))

    def message(self, topic_id: int, body: str = "A message", **more: Any) -> Any:
        return created(self.post("/api/messages", {"topic_id": topic_id, "body": body, **more}))

    def all_pages(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """Every item of a list, page by page."""
        items: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = ok(self.get(path, params={**parameters, "cursor": cursor}))
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items


@dataclass
class Account(Client):
    """A client that is logged in."""

    id: int
    username: str
    url: str
    session: dict[str, Any] = field(repr=False)
    password: str = PASSWORD

    def __post_init__(self) -> None:
        super().__init__(self.url, self.session["access_token"])


def ok(answer: requests.Response) -> Any:
    assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
    return answer.json()


def created(answer: requests.Response) -> Any:
    assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
    return answer.json()


def status(answer: requests.Response) -> int:
    return answer.status_code


def new_name() -> str:
    return f"t-{secrets.token_hex(8)}"


def registration(**changes: Any) -> dict[str, Any]:
    name = new_name()
    return {"username": name, "email": f"{name}@example.org", "password": PASSWORD, **changes}


def log_in(url: str, username: str, password: str = PASSWORD) -> Account:
    session = created(Client(url).post("/api/sessions", {"username": username, "password": password}))
    return Account(session["user"]["id"], username, url, session, password)


def register(url: str, **changes: Any) -> Account:
    new = registration(**changes)
    created(Client(url).post("/api/users", new))
    return log_in(url, new["username"], new["password"])


def key() -> dict[str, str]:
    """A header with a fresh idempotency key."""
    return {"Idempotency-Key": str(uuid4())}
