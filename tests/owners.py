"""Who serves which path at each stage: one table, which every place is held to."""

from __future__ import annotations

from functools import partial

import requests

from tests.servers import wait_for

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


SPARE = {("4-messages", "/"), ("4-messages", "/login")}
"""Where web answers in the monolith's place, until the gateway has seen that it is up."""


def check_owners(url: str, stage: str) -> None:
    """Ask each path at `url` who serves it. Once; but where a spare may still answer, until it does not."""
    for path, sites in SERVED_BY.items():
        wanted = sites[STAGES.index(stage)]
        if (stage, path) in SPARE:
            wait_for(partial(_is_served, url, path, wanted), f"{wanted} to serve {path} at {stage}")
        assert (site := serves(url, path)) == wanted, f"{path} at {stage} is served by {site}"


def _is_served(url: str, path: str, by: str) -> bool:
    return serves(url, path) == by


def serves(url: str, path: str) -> str:
    """The site that answers."""
    return requests.get(url + path, timeout=30).headers["X-Served-By"].partition("/")[0]
