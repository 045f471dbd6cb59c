"""Locust's own page with a tab for the promises, and `/promises.json` for whoever draws them otherwise.

A tab of Locust's page is data, not code (its documented way to be extended): a name, its columns, and rows that come
with every answer to the page's question for figures.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import gevent
from flask import Response, jsonify, request
from locust.env import Environment

from loadtest.errors import LoadtestError

KEY = "promises"
log = logging.getLogger("loadtest")
_COLUMNS = (("promise", "Promise"), ("broken", "Broken so far"), ("meaning", "What is counted"))
_PROMISES = (
    ("failed", "requests that failed, or were answered with what is not right"),
    ("lost", "acknowledged, and when last looked for not there, or not as written"),
    ("doubled", "writes that stand under two ids"),
    ("stale", "reads older than what the reader could know"),
    ("errors", "troubles of the load itself"),
)
_STATES = {"running": "the check after the load has the last word", "checking": "reading everything back"}


def show(environment: Environment, where: str, status: Callable[[], dict[str, Any]]) -> None:
    """Serve Locust's page at `where` (HOST:PORT); `status` is what live.json says. LoadtestError when it cannot."""
    host, _, port = where.rpartition(":")
    web = environment.create_web_ui(host, int(port), delayed_start=True)
    assert web.app is not None
    web.app.debug = False
    structure = [{"key": key, "title": title} for key, title in _COLUMNS]
    web.template_args["extended_tabs"] = [{"title": "Promises", "key": KEY}]
    web.template_args["extended_tables"] = [{"key": KEY, "structure": structure}]

    @web.app.get("/promises.json")
    def promises() -> Response:
        answer = jsonify(status())
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @web.app.after_request
    def with_promises(response: Response) -> Response:
        if request.path == "/stats/requests" and response.is_json:
            body = {**response.get_json(), "extended_stats": [{"key": KEY, "data": rows(status())}]}
            response.set_data(json.dumps(body))
        return response

    web.start()  # type: ignore[no-untyped-call]
    assert web.greenlet is not None
    while web.server is None or not web.server.started:
        if web.greenlet.dead:
            raise LoadtestError(f"--web {where}: cannot listen there; choose another port")
        gevent.sleep(0.01)
    log.info("web: http://%s:%d", host or "127.0.0.1", web.server.server_port)


def rows(live: dict[str, Any]) -> list[dict[str, Any]]:
    """The tab's rows."""
    state = live["state"]
    head = {"promise": f"{live['requests']} requests, {live['acknowledged']} writes acknowledged", "broken": state,
            "meaning": _STATES.get(state, "")}  # fmt: skip
    return [head, *({"promise": name, "broken": live[name], "meaning": meaning} for name, meaning in _PROMISES)]
