"""What an application of the kit tells Prometheus: who it is, what it was asked, and what it asked of other modules.

In prometheus_client's default registry, which the application shows where it likes; `strangler picture` reads it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from flask import current_app, has_app_context
from prometheus_client import Gauge, Histogram
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from strangler.config import Config, load
from strangler.errors import StranglerError

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
NO_ANSWER = "none"

APPLICATION = Gauge("strangler_application_info", "Who this is; always 1.", ["site", "version", "instance"])
REQUESTS = Histogram(
    "strangler_request_seconds", "Time to answer a request, in s.", ["site", "module", "status"], buckets=BUCKETS
)
CALLS = Histogram(
    "strangler_call_seconds", "Time until another module answered, in s; status `none`: it did not.",
    ["site", "module", "kind", "status"], buckets=BUCKETS,
)  # fmt: skip


class Call:
    status: int | str = NO_ANSWER


@contextmanager
def called(site: str, module: str, kind: str, began: float | None = None) -> Iterator[Call]:
    """Measure a call to `module`; set the status of what is yielded when it has answered.

    kind: call or forward. began: by time.perf_counter(), when it was sent earlier.
    """
    began, call = time.perf_counter() if began is None else began, Call()
    try:
        yield call
    finally:
        CALLS.labels(site, module, kind, call.status).observe(time.perf_counter() - began)


class MeasuredAdapter(HTTPAdapter):
    """For the requests.Session by which an application calls the other modules:

    session.mount(api_url, MeasuredAdapter())
    """

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        module = _module(urlsplit(request.url or "").path)
        site = current_app.extensions["strangler"].site if has_app_context() else ""
        with called(site, module, "call") as call:
            answer = super().send(request, *args, **options)
            call.status = answer.status_code
        return answer


def _module(path: str) -> str:
    config = _config()
    found = config.module_of(path) if config else None
    return found.name if found else ""


@cache
def _config() -> Config | None:
    try:
        return load()
    except StranglerError:
        return None
