"""One user's connections: a request, timed, judged good or failed, and written down; never repeated behind our back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from geventhttpclient import HTTPClient
from geventhttpclient.client import HTTPClientPool
from geventhttpclient.url import URL
from locust.contrib.fasthttp import FastHttpSession

from loadtest.addresses import Addresses
from loadtest.freshness import Sight
from loadtest.live import Live
from loadtest.pace import Pace
from loadtest.samples import Sample

Expected = Collection[int] | Callable[[], Collection[int]]


class PlainPool(HTTPClientPool):  # type: ignore[misc,unused-ignore]
    """geventhttpclient repeats a GET or DELETE whose connection broke, as the RFC allows, `size + 1` times.

    Here every broken connection is a failed request, so that is switched off. (It still looks, before it sends,
    whether an idle connection has been closed meanwhile, as every client does.)
    """

    def get_client(self, url: str | URL) -> HTTPClient:
        client = super().get_client(url)
        client._connection_pool.size = -1
        return client

    def forget(self, urls: Collection[str]) -> None:
        """Close the connections to addresses that are not among `urls` any more."""
        stay = {(url.host, url.port) for url in map(URL, urls)}
        for key in [key for key in self.clients if key not in stay]:
            self.clients.pop(key).close()


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: no answer, `error` says why. `body` is the JSON, or None."""

    status: int
    body: Any
    error: str | None
    replayed: bool
    retry_after: float | None
    failed: bool
    sight: Sight

    @property
    def unknown(self) -> bool:
        """Whether the request may or may not have been carried out: worth asking again with the same key.

        A refusal that nobody of the forum has signed is a gateway's: it had no route, whatever came of an earlier try.
        """
        unsigned = self.failed and self.sight.served_by is None
        return self.status == 0 or self.status >= 500 or self.status in (408, 425, 429) or unsigned


class Wire:
    """The way out of one user."""

    def __init__(self, session: FastHttpSession, pool: PlainPool, addresses: Addresses, live: Live, pace: Pace) -> None:
        self._session = session
        self._pool = pool
        self._addresses = addresses
        self._generation = addresses.generation
        self._live = live
        self._pace = pace
        self.visitor = 0
        self.always: dict[str, str] = {}  # headers of every request
        self.user: int | None = None
        self.token: str | None = None

    def close(self) -> None:
        self._pool.close()

    def ask(
        self, operation: str, path: str, *, expect: Expected = (200,), send: dict[str, Any] | None = None,
        key: str | None = None, waiting_since: float | None = None, anonymous: bool = False,
        at_once: bool = False,
    ) -> Answer:  # fmt: skip
        """`operation` names the sample ("GET /api/topics/{id}"); any status outside `expect` is a failed request
        (asked after the answer where it is a function: what is right may have changed on the way).

        `waiting_since` (time.time()) is when the first try of the same write began. `at_once`: right
        after what was asked before, not when it is this user's turn.
        """
        if self._generation != self._addresses.generation:
            self._generation = self._addresses.generation
            self._pool.forget(self._addresses.urls)
        address = self._addresses.pick()
        headers = {"Accept": "application/json", **self.always}
        data = None
        if send is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(send)
        if key is not None:
            headers["Idempotency-Key"] = key
        if self.token and not anonymous:
            headers["Authorization"] = f"Bearer {self.token}"

        self._pace.wait(at_once)
        sent, began = time.monotonic(), time.time()
        with self._session.request(
            operation.partition(" ")[0], address + path, name=operation, data=data, headers=headers, catch_response=True
        ) as response:
            latency = time.monotonic() - sent
            status = int(response.status_code or 0)
            body, error = _read(response)
            right = expect() if callable(expect) else expect
            if status == 0 or (status in right and error):
                status, error = 0, error or repr(getattr(response, "error", "no answer"))
            failed = status not in right
            if failed:
                response.failure(error or f"{status} {_detail(body)}")
            else:
                response.success()
            served_by = response.headers.get("X-Served-By") if response.headers else None
            replayed = bool(response.headers) and response.headers.get("Idempotency-Replayed") == "true"
            retry_after = _seconds(response.headers.get("Retry-After") if response.headers else None)

        waited = max(latency, began + latency - waiting_since) if waiting_since else latency
        sample = Sample(began, latency, waited, status, operation, failed, self._live.site(served_by), self.visitor)
        self._live.add(sample)
        why = (error or f"{status} {_detail(body)}") if failed else None
        if why is not None:
            self._live.fail(sample, why, served_by, address)
        return Answer(status, body, why, replayed, retry_after, failed,
                      Sight(sent, operation, served_by, address, self.user))  # fmt: skip


def _read(response: Any) -> tuple[Any, str | None]:
    """The body as JSON, and what is wrong with it."""
    try:
        content = response.content
    except Exception as error:  # the connection broke in the middle of the body
        return None, repr(error)
    if not content:
        return None, None if response.status_code in (0, 204) else "an empty answer"
    try:
        return json.loads(content), None
    except ValueError:
        return None, f"not JSON: {content[:80]!r}"


def _detail(body: Any) -> str:
    return str(body.get("detail") or body.get("title") or "")[:200] if isinstance(body, dict) else ""


def _seconds(retry_after: str | None) -> float | None:
    try:
        return float(retry_after) if retry_after else None
    except ValueError:
        return None
