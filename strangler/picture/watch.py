"""Looks at everything, each in its own time, so that one that does not answer keeps nobody waiting."""

from __future__ import annotations

import json
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from strangler import routes
from strangler.config import Config
from strangler.errors import StranglerError
from strangler.picture.assemble import assemble
from strangler.picture.history import SECONDS, History
from strangler.picture.moves import Watched
from strangler.picture.promises import promises
from strangler.picture.scrape import AwayError, Key, Series, fetch
from strangler.picture.seen import APPLICATION, APPLICATION_NAMES, GATEWAY_NAMES, Gateway, Instance, Seen

PATIENCE_SECONDS = 10.0
"""Who takes connections but has no time to answer is not away before."""

LATELY_SECONDS = 10.0
"""Applications are looked at less often than the gateway: so long they may seem to be asked when nobody comes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """Where to look, beside the configuration. None: nowhere."""

    gateway: str | None = None
    """Its metrics' address."""
    doors: frozenset[str] = frozenset({"public"})
    promises: str | None = None
    path: str = "/metrics"
    """Of the applications."""


@dataclass
class Watch:
    """`state` is the newest picture, as JSON."""

    config: Config
    sources: Sources
    state: bytes = b"{}"
    _history: History = field(default_factory=History)
    _series: dict[str, Series] = field(default_factory=dict)
    _doors: set[str] = field(default_factory=set)
    _heard: dict[str, float] = field(default_factory=dict)
    _sites: dict[str, list[Instance]] = field(default_factory=dict)
    _instances: dict[str, Instance] = field(default_factory=dict)
    _gateway: Gateway = field(default_factory=Gateway)
    _came: float = -math.inf
    _promises: dict[str, Any] | None = None
    _redis: bool | None = None
    _default: str | None = None
    _routed: dict[str, list[str]] = field(default_factory=dict)
    _services: dict[str, str] = field(default_factory=dict)
    _store: Any = None

    def __post_init__(self) -> None:
        self._modules = {name: Watched(self.config, name) for name in self.config.modules}

    def start(self) -> None:
        looks: list[tuple[float, Callable[[], None]]] = [(1, module.look) for module in self._modules.values()]
        looks += [(2, self.look_at_applications), (1, self.look_at_promises), (1, self.picture)]
        looks += [(1, self.look_at_gateway)] if self.sources.gateway else []
        looks += [(2, self.look_at_store)] if self.config.gateway else []
        for seconds, look in looks:
            threading.Thread(target=_again, args=(seconds, look), daemon=True).start()

    # --- looking ----------------------------------------------------------------------------------------------------

    def look_at_gateway(self) -> None:
        """All of its processes together."""
        parts = urlsplit(self.sources.gateway or "")
        urls = {f"http://{address}{parts.path}" for address in _addresses(parts.hostname, parts.port or 80)}
        found: dict[Key, float] = {}
        answered, slow = [], False
        for url in urls:
            try:
                found |= self._fetch(url, GATEWAY_NAMES)
                answered.append(self._series[url].window())
            except AwayError as error:
                slow = slow or error.slow
        for gone in self._doors - urls:
            self._series.pop(gone, None)
        self._doors = urls
        if answered or not slow:
            self._gateway = Gateway(bool(answered), found, tuple(window for window in answered if window))

    def _fetch(self, url: str, names: tuple[str, ...]) -> dict[Key, float]:
        """Raises AwayError; not `slow` any more when nothing has come for PATIENCE_SECONDS."""
        try:
            found = fetch(url, names)
        except AwayError as error:
            late = time.monotonic() - self._heard.get(url, 0.0) > PATIENCE_SECONDS
            raise AwayError(slow=error.slow and not late) from None
        self._heard[url] = time.monotonic()
        self._series.setdefault(url, Series()).add(found)
        return found

    def look_at_applications(self) -> None:
        """Those that the configuration names, and whoever else the gateway sends people to: they say whose they are."""
        sites, services = list(self.config.sites), dict(self._routed)
        with ThreadPoolExecutor(8) as pool:  # a name that nobody has may take its time, too
            named = dict(zip(sites, pool.map(_resolved, map(self._servers, sites)), strict=True))
            sent = dict(zip(services, pool.map(_resolved, services.values()), strict=True))
            routed = set().union(*sent.values())
            others = routed.difference(*named.values())
            found = {site: list(pool.map(self._instance, sorted(each))) for site, each in named.items()}
            for one in pool.map(self._instance, sorted(others)):
                if one.site in found:
                    found[one.site].append(one)
        site_at = {one.address: site for site, each in found.items() for one in each}
        self._services = {name: site_at[at] for name, each in sent.items() for at in each if at in site_at}
        self._sites = {site: _in_service(each, routed) for site, each in found.items()}
        self._instances = {one.address: one for each in found.values() for one in each}
        known = {self._url(one) for one in self._instances} | self._doors
        for gone in self._series.keys() - known:
            del self._series[gone]

    def _servers(self, site: str) -> list[str]:
        with suppress(StranglerError):  # it has no servers in this place
            return self.config.sites[site].servers
        return []

    def _url(self, address: str) -> str:
        return f"http://{address}{self.sources.path}"

    def _instance(self, address: str) -> Instance:
        try:
            samples = self._fetch(self._url(address), APPLICATION_NAMES)
        except AwayError as error:
            before = self._instances.get(address)
            if error.slow and before:
                return before
            # It said whose it is while it could.
            return Instance(address, up=False, site=before.site if before else None)
        info = next((dict(labels) for name, labels in samples if name == APPLICATION), {})
        window = self._series[self._url(address)].window()
        return Instance(address, True, info.get("instance"), info.get("version"), window, info.get("site"))

    def look_at_store(self) -> None:
        """The gateway's Redis: whether it answers, who serves, and where it says that all other paths go."""
        root = routes.root(self.config)
        try:
            self._store = self._store or routes.connect(self.config)
            found = routes.stored(self._store, root)
        except StranglerError:
            self._redis = False
            return
        self._redis, self._default = True, found.get(f"{root}/http/routers/public-default/service")
        self._routed = routes.in_use(found, root)

    def look_at_promises(self) -> None:
        self._promises = promises(self.sources.promises) if self.sources.promises else None

    # --- the picture ------------------------------------------------------------------------------------------------

    def seen(self) -> Seen:
        databases: dict[str, bool | None] = {}
        for module in self._modules.values():
            for site, answers in module.answers.items():
                databases[site] = bool(databases.get(site)) or answers
        return Seen(
            gateway=self._gateway, sites=self._sites, databases=databases, redis=self._redis, default=self._default,
            modules={name: module.standing for name, module in self._modules.items()}, promises=self._promises,
            doors=self.sources.doors, services=self._services,
            came_lately=time.monotonic() - self._came < LATELY_SECONDS,
        )  # fmt: skip

    def picture(self) -> None:
        now = time.time()
        found = assemble(self.config, self.seen())
        door = found["gateway"]["door"]
        if door and door["rps"]:
            self._came = time.monotonic()
        history = self._history
        history.sample(now, found["flow"])
        for name, module in self._modules.items():
            for event in module.events:
                history.event(event, self.config.module(name))
        history.stage(now, found["stage"])
        for site in found["sites"]:
            history.versions(now, site["name"], set(site["versions"]))
        history.problems(now, {_kind(line) for line in found["verdict"]["bad"]})
        found |= {"t": round(now, 2), "history": list(history.samples), "marks": history.marks(now - SECONDS)}
        self.state = json.dumps(found, default=str).encode()


def _resolved(urls: Iterable[str]) -> set[str]:
    parts = [urlsplit(url) for url in urls]
    return {address for part in parts for address in _addresses(part.hostname, part.port or 80)}


def _in_service(instances: list[Instance], routed: set[str]) -> list[Instance]:
    """Without those that have been replaced: they don't answer, and people are sent to others instead of them."""
    serve = any(one.address in routed for one in instances)
    return [one for one in instances if one.up or one.address in routed or not serve]


def _addresses(host: str | None, port: int) -> list[str]:
    """All that a name stands for, as HOST:PORT."""
    with suppress(OSError):
        known = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
        return sorted({f"{where[0]}:{port}" for *_, where in known})
    return []


def _kind(line: str) -> str:
    """A count that grows is one and the same problem."""
    return line.rstrip("0123456789,").removesuffix(": ")


def _again(seconds: float, look: Callable[[], None]) -> None:
    while True:
        began = time.monotonic()
        try:
            look()
        except Exception:
            log.exception("%s", getattr(look, "__qualname__", look))
        time.sleep(max(0.2, seconds - (time.monotonic() - began)))
