"""The page and its data, over HTTP: GET only, nothing from elsewhere, nothing kept by the browser."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, send_from_directory
from gunicorn.app.base import BaseApplication

from strangler.errors import StranglerError

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
NAMES = ("picture.css", "picture.js", "scene.js", "timeline.js", "draw.js", "icon.svg")
FILES = {"/": "picture.html", **{f"/{name}": name for name in NAMES}}


def create_app(state: Callable[[], bytes]) -> Flask:
    """`state`: the newest picture as JSON."""
    app = Flask(__name__, static_folder=None)

    @app.get("/state.json")
    def show_state() -> Response:
        return Response(state(), mimetype="application/json")

    @app.get("/livez")
    @app.get("/readyz")
    def live() -> Response:
        return Response("ok\n", mimetype="text/plain")

    for path, name in FILES.items():
        app.add_url_rule(path, name, lambda name=name: send_from_directory("static", name))

    @app.after_request
    def guard(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    return app


def listener(address: str) -> socket.socket:
    """A socket at HOST:PORT; port 0 is a free one. Raises StranglerError."""
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((host or "127.0.0.1", int(port)), backlog=64)
    except (ValueError, OSError, OverflowError) as error:
        raise StranglerError(f"--listen {address}: {error}; say ADDRESS:PORT, e.g. 127.0.0.1:8010") from None


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with one process; `make` is called in it, for threads do not survive a fork."""

    def __init__(self, bound: socket.socket, make: Callable[[], Flask]) -> None:
        self._bound, self._make = bound, make
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": f"fd://{self._bound.fileno()}", "workers": 1, "worker_class": "gthread", "threads": 8,
            "graceful_timeout": 2, "loglevel": "warning", "control_socket_disable": True,
        }  # fmt: skip
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._make()
