"""Reading the forum back after the load, as anyone could: over its API, page by page, several at a time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import requests

from loadtest.addresses import Addresses
from loadtest.errors import LoadtestError

AT_ONCE = 6
TRIES = 6
PAGE = 100
_T = TypeVar("_T")
_R = TypeVar("_R")


class Reader:
    """GETs that must succeed: what cannot be read cannot be checked."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._local = threading.local()
        self.requests = 0

    def get(self, path: str) -> dict[str, Any] | None:
        """The JSON at `path`, None for 404; LoadtestError when it cannot be had."""
        why = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(min(2.0, 0.2 * 2**attempt))
                self._addresses.refresh()
            url = self._addresses.pick() + path
            self.requests += 1
            try:
                answer = self._session().get(url, timeout=(5, 30), allow_redirects=False)
                if answer.status_code == 404:
                    return None
                if answer.status_code == 200:
                    body: dict[str, Any] = answer.json()
                    return body
                why = f"status {answer.status_code}"
            except (requests.RequestException, json.JSONDecodeError) as error:
                why = str(error)
        raise LoadtestError(f"the check cannot read {path} at {' or '.join(self._addresses.urls)}: {why[:200]}")

    def pages(self, path: str) -> Iterator[list[dict[str, Any]]]:
        """The pages of a list. `path` has a query already; a list of what is not there is empty."""
        cursor, seen = None, set()
        while (page := self.get(f"{path}&limit={PAGE}" + (f"&cursor={cursor}" if cursor else ""))) is not None:
            yield page["items"]
            cursor = page["next"]
            if cursor is None:
                return
            if cursor in seen:
                raise LoadtestError(f"{path} never ends: the cursor {cursor} came twice")
            seen.add(cursor)

    def each(self, work: Callable[[_T], _R], items: Iterable[_T]) -> dict[_T, _R]:
        """`work` on all of `items`, several at once."""
        wanted = list(items)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(wanted, pool.map(work, wanted), strict=True))

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False  # no proxy stands between us and this machine
            session.headers["Accept"] = "application/json"
        return session
