"""Stands before a forum's API: counts what is asked, and lets modules be away."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

DROPPED = {"transfer-encoding", "connection", "content-length", "date", "server"}


class Gateway:
    """`calls`: method and path of each request. `unchanged`: the paths that were answered 304.

    `away`: prefixes of paths that nobody answers.

    `canned`: what is answered, by method, as messages/v9@elsewhere, instead of asking `target`.
    """

    def __init__(self, target: str) -> None:
        self.canned: dict[str, bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.unchanged: list[str] = []
        self.away: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(target))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, target: str) -> type[BaseHTTPRequestHandler]:
        gateway = self
        http = requests.Session()
        http.trust_env = False

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                gateway.calls.append((self.command, self.path))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path.startswith(tuple(gateway.away)):
                    return self.answer(502, {}, b"Bad Gateway")
                if canned := gateway.canned.get(self.command):
                    return self.answer(200, {"X-Served-By": "messages/v9@elsewhere"}, canned)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in DROPPED}
                got = http.request(self.command, target + self.path, headers=headers, data=body, timeout=30)
                if got.status_code == 304:
                    gateway.unchanged.append(self.path)
                return self.answer(got.status_code, dict(got.headers), got.content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in DROPPED:
                        self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
