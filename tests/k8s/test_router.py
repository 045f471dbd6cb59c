"""The router's own configuration, run by a real Traefik: requests find a site that is ready, and none is sent twice."""

from __future__ import annotations

import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError

import pytest

from local import gateway
from tests.k8s import manifests
from tests.servers import free_port

SITES = ("monolith", "users", "topics", "messages", "web")
ENTRANCES = ("api", *SITES, "admin")


class Site:
    """An application that is there or not, on a port that stays."""

    def __init__(self, name: str) -> None:
        self.name, self.port, self.seen = name, free_port(), list[tuple[str, str, str | None]]()
        self.server: ThreadingHTTPServer | None = None

    def up(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                if self.path != "/readyz":
                    site.seen.append((self.command, self.path, self.headers.get("Strangler-Forwarded")))
                if self.path == "/dies":
                    self.connection.close()
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(site.name)))
                self.end_headers()
                self.wfile.write(site.name.encode())

            do_GET = do_POST = _answer  # noqa: N815 (what http.server calls)

            def log_message(self, format: str, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def down(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


class Router:
    def __init__(self, folder: Path, sites: dict[str, Site]) -> None:
        data = next(
            found["data"]
            for found in manifests.of_kind(manifests.stage("0-monolith"), "ConfigMap")
            if "routes.yaml" in found["data"]
        )
        self.ports = {name: free_port() for name in ENTRANCES}
        settings, routes = data["traefik.yaml"], data["routes.yaml"]
        for number, name in enumerate(ENTRANCES[:-1]):
            settings = settings.replace(f'":800{number}"', f'"127.0.0.1:{self.ports[name]}"')
        settings = settings.replace('":8080"', f'"127.0.0.1:{self.ports["admin"]}"')
        settings = settings.replace("/etc/router/routes.yaml", str(folder / "routes.yaml"))
        for name, site in sites.items():
            routes = routes.replace(f"http://{name}:8000", f"http://127.0.0.1:{site.port}")
        assert not re.search(r'":80\d\d"|http://\w+:8000', settings + routes)
        (folder / "routes.yaml").write_text(routes)
        (folder / "traefik.yaml").write_text(settings)
        self.process = subprocess.Popen([str(gateway.program()), f"--configFile={folder / 'traefik.yaml'}"])

    def ask(self, entrance: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.ports[entrance]}{path}"
        data = b"{}" if method == "POST" else None
        try:
            request = urllib.request.Request(url, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, ""

    def until(self, entrance: str, path: str, site: str, seconds: float = 15) -> None:
        """Wait until `site` answers; everybody who asks meanwhile gets an answer from somebody."""
        deadline = time.monotonic() + seconds
        while True:
            status, body = self.ask(entrance, path)
            assert status == 200, f"{entrance}{path} answered {status}"
            if body == site:
                return
            assert time.monotonic() < deadline, f"{entrance}{path} is still answered by {body}"
            time.sleep(0.05)


@pytest.fixture
def sites() -> Iterator[dict[str, Site]]:
    found = {name: Site(name) for name in SITES}
    yield found
    for site in found.values():
        site.down()


@pytest.fixture
def router(tmp_path: Path, sites: dict[str, Site]) -> Iterator[Router]:
    sites["monolith"].up()
    one = Router(tmp_path, sites)
    deadline = time.monotonic() + 20
    while True:
        try:
            if one.ask("admin", "/ping")[0] == 200:
                break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    time.sleep(4)  # the readiness probe's initialDelaySeconds, which is what is tried here
    yield one
    one.process.terminate()
    one.process.wait(20)


def test_a_service_is_found_when_it_is_ready_and_replaced_while_it_is_not(
    router: Router, sites: dict[str, Site]
) -> None:
    assert router.ask("users", "/api/users")[1] == "monolith"
    assert router.ask("api", "/api/sessions")[1] == "monolith"
    sites["users"].up()
    router.until("users", "/api/users", "users")
    router.until("api", "/api/sessions", "users")
    assert router.ask("api", "/api/topics")[1] == "monolith"
    sites["users"].down()
    router.until("users", "/api/users", "monolith")


def test_the_monolith_goes_and_comes_back_without_a_failed_request(router: Router, sites: dict[str, Site]) -> None:
    for name in SITES[1:]:
        sites[name].up()
    router.until("web", "/", "web")
    router.until("messages", "/api/messages", "messages")
    assert router.ask("monolith", "/")[1] == "monolith"
    sites["monolith"].down()
    for path, site in (("/", "web"), ("/api/messages", "messages"), ("/.well-known/jwks.json", "users")):
        router.until("monolith", path, site)
    sites["monolith"].up()
    router.until("monolith", "/", "monolith")


def test_a_request_that_was_sent_is_not_sent_again(router: Router, sites: dict[str, Site]) -> None:
    assert router.ask("monolith", "/dies", "POST")[0] == 502
    assert [seen[:2] for seen in sites["monolith"].seen] == [("POST", "/dies")]


def test_the_public_cannot_speak_as_a_site(router: Router, sites: dict[str, Site]) -> None:
    router.ask("monolith", "/x", **{"Strangler-Forwarded": "forged"})
    router.ask("api", "/y", **{"Strangler-Forwarded": "kept"})
    assert [seen[2] for seen in sites["monolith"].seen] == [None, "kept"]
