"""Who serves which path at each stage: one table, which every place is held to."""

from __future__ import annotations

import requests

STAGES = ("0-monolith", "1-gateway", "2-users", "3-topics", "4-messages", "5-microservices")
M, U, T, S, W = "monolith", "users", "topics", "messages", "web"
SERVED_BY = {
    "/api/users?ids=1": (M, M, U, U, U, U),
    "/api/sessions": (M, M, U, U, U, U),
    "/.well-known/jwks.json": (M, M, U, U, U, U),
    "/api/topics": (M, M, M, T, T, T),
    "/api/messages?topic_id=1": (M, M, M, M, S, S),
    "/": (M, M, M, M, M, W),
    "/login": (M, M, M, M, M, W),
}
PARTS = {"pages": "/", "users": "/api/users?ids=1", "topics": "/api/topics", "messages": "/api/messages?topic_id=1"}


def check_owners(url: str, stage: str) -> None:
    """Ask each path at `url` once."""
    for path, sites in SERVED_BY.items():
        answer = requests.get(url + path, timeout=30)
        site = answer.headers["X-Served-By"].partition("/")[0]
        assert site == sites[STAGES.index(stage)], f"{path} at {stage} is served by {site}"
