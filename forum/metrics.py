"""/metrics: requests by method, endpoint and status, how long they took, and what else the application has to tell."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request, request_started
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.registry import Collector

REQUESTS = Counter("forum_http_requests_total", "Requests answered.", ["site", "method", "endpoint", "status"])
SECONDS = Histogram("forum_http_request_seconds", "Time to answer a request.", ["site", "method", "endpoint"])

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def answered(site: str, method: str, endpoint: str, status: int, seconds: float) -> None:
    """endpoint: the route's template. seconds: how long it took."""
    REQUESTS.labels(site, method, endpoint, status).inc()
    SECONDS.labels(site, method, endpoint).observe(seconds)


def init_app(app: Flask) -> None:
    site = app.name.removesuffix(".app")

    def start(_: Flask, **__: object) -> None:
        g.started = time.perf_counter()

    def count(response: Response) -> Response:
        # Labels must be few: the route's template, never the path; no method that a client made up.
        endpoint = request.url_rule.rule if request.url_rule else "unmatched"
        method = request.method if request.method in METHODS else "other"
        answered(site, method, endpoint, response.status_code, time.perf_counter() - g.started)
        return response

    request_started.connect(start, app, weak=False)
    app.after_request(count)
    # The process's own, which all its applications share, and the application's, asked when somebody wants to know.
    registry = app.extensions["forum.metrics"] = CollectorRegistry()

    def show() -> Response:
        # As prometheus_client's own server: `?name[]=...` asks for these only, and costs no look at anything else.
        names = request.args.getlist("name[]")
        both = [one.restricted_registry(names) if names else one for one in (REGISTRY, registry)]
        return Response(b"".join(map(generate_latest, both)), content_type=CONTENT_TYPE_LATEST)

    app.add_url_rule("/metrics", "metrics", show)


def add(app: Flask, collector: Collector) -> None:
    """Have /metrics show what `collector` collects."""
    registry: CollectorRegistry = app.extensions["forum.metrics"]
    registry.register(collector)
