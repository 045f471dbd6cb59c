"""Where the public enters: one URL, or a file that is read again when it changes, as DNS would be."""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.errors import LoadtestError


def permitted(url: str, allow_hosts: tuple[str, ...]) -> str:
    """`url` without a trailing slash; LoadtestError unless its host is this machine or was allowed by name."""
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        raise LoadtestError(f"not an address of a forum: {url!r}; expected something like http://127.0.0.1:8000")
    if not (_loopback(host) or host in allow_hosts):
        raise LoadtestError(f"{host} is not this machine; load goes there only with --allow-host {host}")
    return url.rstrip("/")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Addresses:
    """The addresses in force; `generation` grows with each change, so that users can drop old connections."""

    def __init__(self, file: Path | None, url: str | None, allow_hosts: tuple[str, ...] = ()) -> None:
        self._file = file
        self._allow = allow_hosts
        self._stamp: tuple[int, int, int] | None = None
        self.generation = 0
        self.urls: tuple[str, ...] = ()
        if url is not None:
            self.urls = (permitted(url, allow_hosts),)
        elif file is not None:
            self.refresh()
            if not self.urls:
                raise LoadtestError(f"{file} names no address under 'public'; start the stack first")
        else:
            raise LoadtestError("no address: give --addresses FILE or --url URL")

    def refresh(self) -> bool:
        """Read the file again if it changed; whether other addresses are in force now.

        A file that is away or half written changes nothing: the old addresses stay, as a DNS cache would.
        """
        if self._file is None:
            return False
        try:
            stat = self._file.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if stamp == self._stamp:
                return False
            public = json.loads(self._file.read_text())["public"]
        except FileNotFoundError:
            if self.urls:
                return False
            raise LoadtestError(f"no such file: {self._file}; start the stack first, or give --url") from None
        except (ValueError, KeyError, TypeError):
            if self.urls:
                return False
            raise LoadtestError(f'{self._file} is not {{"public": ["http://...", ...]}}') from None
        self._stamp = stamp
        return self.use(public)

    def use(self, public: Iterable[object]) -> bool:
        """These from now on; whether they are others than before. LoadtestError unless each is permitted."""
        urls = tuple(permitted(str(url), self._allow) for url in public)
        if not urls or urls == self.urls:
            return False
        self.urls = urls
        self.generation += 1
        return True

    def pick(self) -> str:
        return random.choice(self.urls)  # noqa: S311
