"""A bad version of an application: the application as it is, with one fault around it. Nothing else knows of this file.

    FAULT=errors FAULTY_APP='services.topics.app:create_app()' gunicorn ... 'faulty:create_app()'

Only the standard library, and gunicorn, which is there: so that the file alone can be put beside any of the images.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from gunicorn.util import import_app

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

FAULTS = ("never-ready", "crashes", "errors", "slow", "wrong", "leaks")
BETWEEN_ERRORS = 20
LIVES_FOR = 10
"""Requests."""
SLOW_SECONDS = 0.6
LEAK_BYTES = 2 * 2**20
LEAK_MOST = 250 * 2**20
"""Then the process is killed, as the kernel does with one that is over its limit."""


def create_app() -> App:
    """The application that FAULTY_APP names, with the FAULT."""
    fault = os.environ["FAULT"]
    if fault not in FAULTS:
        raise SystemExit(f"FAULT={fault}: there are {', '.join(FAULTS)}")
    app: App = import_app(os.environ["FAULTY_APP"])
    number = count(1)
    leaked: list[bytes] = []

    def faulty(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith("/api/"):  # health and metrics
            if fault == "never-ready" and path == "/readyz":
                return _refuse(start_response, "503 Service Unavailable", "Never ready.")
            return app(environ, start_response)
        request = next(number)
        if fault == "crashes" and request > LIVES_FOR:
            os.kill(os.getppid(), signal.SIGQUIT)  # gunicorn's master would only start another worker
            os._exit(1)
        if fault == "errors" and request % BETWEEN_ERRORS == 0:
            return _refuse(start_response, "500 Internal Server Error", "One in twenty.")
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        if fault == "leaks":
            leaked.append(os.urandom(4096) * (LEAK_BYTES // 4096))
            if len(leaked) * LEAK_BYTES > LEAK_MOST:
                os.kill(os.getpid(), signal.SIGKILL)
        if fault == "wrong" and environ["REQUEST_METHOD"] == "GET":
            return _lie(app, environ, start_response)
        return app(environ, start_response)

    return faulty


def _refuse(start_response: Callable[..., Any], status: str, detail: str) -> list[bytes]:
    body = json.dumps({"title": status[4:], "status": int(status[:3]), "detail": detail}).encode()
    instance = os.environ.get("INSTANCE") or socket.gethostname()
    site = os.environ["FAULTY_APP"].split(".")[1]
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        ("X-Served-By", f"{site}/{os.environ.get('VERSION', 'v1')}@{instance}"),
    ]
    start_response(status, headers)
    return [body]


def _lie(app: App, environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
    """Well-formed, quick, 200, and not what is in the database: every title in capitals."""
    said: list[Any] = []
    answer = app(environ, lambda *words, **_: said.append(words))
    try:
        body = b"".join(answer)
    finally:
        if hasattr(answer, "close"):
            answer.close()
    status, headers = said[-1][:2]
    if status.startswith("200"):
        body = json.dumps(_loudly(json.loads(body))).encode()
        headers = [(name, str(len(body)) if name.lower() == "content-length" else value) for name, value in headers]
    start_response(status, headers)
    return [body]


def _loudly(found: Any) -> Any:
    if isinstance(found, list):
        return [_loudly(one) for one in found]
    if isinstance(found, dict):
        return {name: value.upper() if name == "title" else _loudly(value) for name, value in found.items()}
    return found
