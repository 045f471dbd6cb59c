"""The pages' port, answered in process: the monolith calls its own API through WSGI, without a socket.

Not by calling the views' insides: the facade must decide for every call, in that call's own transaction, whether this
site owns the module, and hand it over when not or when a write meets the fence; and a form that is sent again after
its module has moved must find the same Idempotency-Key with the same fingerprint. As real requests to the
real application the pages get all of that from the one place where it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

import requests
from flask import Flask
from requests.adapters import BaseAdapter
from werkzeug.test import run_wsgi_app

from forum.pages.http import HttpPort

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

HERE = "http://monolith.invalid"
"""The address of ourselves: it must look like one, and reach nobody."""


class WsgiAdapter(BaseAdapter):
    """Carries requests to an application in this process."""

    def __init__(self, app: Flask) -> None:
        super().__init__()
        self._app = app

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,  # noqa: ARG002
        verify: bool | str = True,  # noqa: ARG002
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,  # noqa: ARG002
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> requests.Response:
        # A context of its own, or Flask would take the page's application context for this request's: its `g`, and the
        # database session that is scoped to it.
        run: Callable[..., tuple[Iterable[bytes], str, Any]] = Context().run
        body, status, headers = run(run_wsgi_app, self._app, _environ(request), buffered=True)
        response = requests.Response()
        code, _, response.reason = status.partition(" ")
        response.status_code = int(code)
        response.headers.update(headers)
        response._content = b"".join(body)  # the one way to make a response that was not read from a socket
        response.url, response.request = str(request.url), request
        return response

    def close(self) -> None:
        """Nothing is held."""


def _environ(request: requests.PreparedRequest) -> WSGIEnvironment:
    url = urlsplit(str(request.url))
    body = request.body or b""
    assert isinstance(body, bytes)
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),  # PEP 3333
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.hostname,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": url.netloc,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        if key != "CONTENT_LENGTH":
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return environ


def in_process(app: Flask) -> HttpPort:
    """The port of the pages of `app`, answered by `app`."""
    session = requests.Session()
    session.mount(HERE, WsgiAdapter(app))
    return HttpPort(HERE, session)
