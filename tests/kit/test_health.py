"""What an orchestrator's health check says of a server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


class Server(HTTPServer):
    status = 200


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert self.path == "/readyz"
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def health(bind: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "strangler.health"], env=os.environ | {"BIND": bind}, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip


def test_it_follows_readiness(server: Server) -> None:
    bind = f"0.0.0.0:{server.server_port}"
    assert health(bind).returncode == 0
    server.status = 503
    done = health(bind)
    assert done.returncode == 1
    assert "503" in done.stdout


def test_a_server_that_is_not_there_is_not_ready(server: Server) -> None:
    server.shutdown()
    server.server_close()
    done = health(f"0.0.0.0:{server.server_port}")
    assert done.returncode == 1
    assert "no answer at 0.0.0.0:" in done.stdout
