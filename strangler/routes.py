"""Which path goes where, told to Traefik through its Redis provider.

Nothing rests on when Traefik hears of it: any path leads to the owner. Routes only save the hop.
Keys: Traefik's manual, "KV Configuration Reference".

Traefik asks for the names of all keys first (SCAN, ten at a time) and then for their values (MGET). Of names that are
made meanwhile it finds but some, and a router whose service it has not found is dropped: a 503. Values it sees all at
once. So no name is made when it is needed: all that any stage has are there from the beginning, and what has nothing to
say is empty, which to Traefik is as good as not there. No name is ever removed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import redis as redis_client

from strangler.config import Config, Site
from strangler.errors import AwayError, StranglerError

HEALTH_INTERVAL = "500ms"
HEALTH_TIMEOUT = "10s"
"""Longer than an answer takes when every core is busy. A server that drains or is gone says so at once; what this finds
is one that hangs, and if all are taken for that at the same time, Traefik refuses every request to the site."""


def table(config: Config, to: dict[str, str], default: str) -> dict[str, str]:
    """Path prefix -> site, for modules routed `to` a site and everything else to `default`."""
    routes = {
        route: to[module.name] for module in config.modules.values() for route in module.routes if module.name in to
    }
    return {"/": default, **routes}


def keys(
    config: Config,
    routes: dict[str, str],
    root: str = "traefik",
    sites: Collection[str] | None = None,
    spare: str | None = None,
) -> dict[str, str]:
    """The whole configuration as Traefik reads it from a key-value store.

    Each of the `sites` (all, when not given) gets an entrance on the entry point of its name, by which the sites reach
    each other.
    `spare` serves what no module has while the default is not healthy.
    """
    found: dict[str, str] = {}

    def balance(name: str, servers: list[str], asked: str | None) -> None:
        balancer = f"{root}/http/services/{name}/loadbalancer"
        for number, server in enumerate(servers):
            found[f"{balancer}/servers/{number}/url"] = server
        if asked:
            found[f"{balancer}/healthcheck/path"] = asked
            found[f"{balancer}/healthcheck/interval"] = HEALTH_INTERVAL
            found[f"{balancer}/healthcheck/timeout"] = HEALTH_TIMEOUT

    def router(name: str, rule: str, service: str, entry_point: str) -> None:
        at = f"{root}/http/routers/{name}"
        found[f"{at}/rule"] = rule
        found[f"{at}/service"] = service
        found[f"{at}/entrypoints/0"] = entry_point

    for prefix, destination in routes.items():
        if prefix == "/" and spare:
            servers = config.sites[destination].servers
            if len(servers) == 1:
                # An address that stands for many is looked after by whoever is behind it, and one of them that drains
                # is no reason to give up the rest: it is asked whether anybody answers. Beside the site's own service,
                # for what nobody can stand in for must not be given up with it.
                destination = "preferred"
                balance(destination, servers, "/livez")
            found[f"{root}/http/services/default/failover/service"] = destination
            found[f"{root}/http/services/default/failover/fallback"] = spare
            destination = "default"
        label = "default" if prefix == "/" else prefix.strip("/").replace("/", "-").replace(".", "-")
        router(f"public-{label}", f"PathPrefix(`{prefix}`)", destination, "public")
    for name, site in config.sites.items():
        if sites is not None and name not in sites:
            continue
        if name not in routes.values() and not _is_here(site):
            continue
        # Asked only where somebody else can serve instead: where nobody can, giving up a site that is merely slow to
        # answer would fail what only had to wait.
        balance(name, site.servers, "/readyz" if len(site.servers) > 1 else None)
        router(f"internal-{name}", "PathPrefix(`/`)", name, name)
    return found


def names(config: Config, root: str = "traefik") -> set[str]:
    """Every key that some stage has in this place, wherever its routes lead."""
    found: set[str] = set()
    for stage in config.stages.values():
        if all(_is_here(config.sites[site]) for site in (stage.default, stage.spare or stage.default)):
            everything = table(config, dict.fromkeys(config.modules, stage.default), stage.default)
            found |= keys(config, everything, root, spare=stage.spare).keys()
    return found


def _is_here(site: Site) -> bool:
    """Whether it has servers in this place, and has them already."""
    try:
        return bool(site.servers)
    except StranglerError:
        return False


def root(config: Config) -> str:
    """The key in the store under which everything of the gateway's lies."""
    return config.gateway.root if config.gateway else "traefik"


def in_use(store: Mapping[str, str], root: str = "traefik") -> dict[str, list[str]]:
    """The servers of each service that some router leads to, by its name; not of a mirror, which answers nobody."""
    at = f"{root}/http/services/"
    leads: dict[str, set[str]] = defaultdict(set)
    servers: dict[str, list[str]] = defaultdict(list)
    waiting = []
    for key, value in store.items():
        service, _, what = key.removeprefix(at).partition("/")
        if key.startswith(f"{root}/http/routers/") and key.endswith("/service"):
            waiting.append(value)
        elif key.startswith(at) and what.startswith("loadbalancer/servers/"):
            servers[service].append(value)
        elif key.startswith(at) and (
            what in ("failover/service", "failover/fallback", "mirroring/service")
            or (what.startswith("weighted/services/") and what.endswith("/name"))
        ):
            leads[service].add(value)
    found: dict[str, list[str]] = {}
    while waiting:
        service = waiting.pop().partition("@")[0]
        if service not in found:
            found[service] = sorted(servers[service])
            waiting += leads[service]
    return {service: urls for service, urls in found.items() if urls}


def stored(client: Any, root: str = "traefik") -> dict[str, str]:
    """All that the store holds of the gateway's. Raises AwayError when Redis cannot be reached."""
    return {key: value for key, value in _kept(client, root).items() if value}


def _kept(client: Any, root: str) -> dict[str, str]:
    """The same, and what is empty."""
    try:
        keys = sorted(key.decode() for key in client.scan_iter(match=f"{root}/*", count=1000))
        values = client.mget(keys) if keys else []
    except redis_client.RedisError as error:
        raise AwayError(f"cannot reach the gateway's Redis: {error}; is it running?") from None
    return {key: value.decode() for key, value in zip(keys, values, strict=True) if value is not None}


def outdated(client: Any, found: dict[str, str], root: str = "traefik") -> tuple[dict[str, str], set[str]]:
    """What the store lacks of `found` or has otherwise, and the keys it has too many.

    Raises AwayError when Redis cannot be reached.
    """
    present = stored(client, root)
    return {key: value for key, value in found.items() if present.get(key) != value}, set(present) - set(found)


def offer(client: Any, found: dict[str, str], root: str = "traefik", names: Collection[str] = ()) -> None:
    """Make the store hold `found`, beside what else it holds, and know the `names` that will be needed.

    Raises AwayError when Redis cannot be reached.
    """
    kept = _kept(client, root)
    _set(client, changes(kept, kept | found, names))


def publish(client: Any, found: dict[str, str], root: str = "traefik", names: Collection[str] = ()) -> None:
    """Make the store hold `found` and nothing else, all at once, and know the `names` that will be needed.

    Raises AwayError when Redis cannot be reached.
    """
    _set(client, changes(_kept(client, root), found, names))


def changes(kept: dict[str, str], found: dict[str, str], names: Collection[str]) -> dict[str, str]:
    """What to set in a store that has `kept`, empty keys included, so that it holds `found` and knows the `names`."""
    wanted = dict.fromkeys({*kept, *names}, "") | found
    return {key: value for key, value in wanted.items() if kept.get(key) != value}


def _set(client: Any, changed: dict[str, str]) -> None:
    try:
        if changed:
            client.mset(changed)
    except redis_client.RedisError as error:
        raise AwayError(f"cannot reach the gateway's Redis: {error}; is it running?") from None


def connect(config: Config) -> Any:
    """A client for the gateway's Redis. Raises StranglerError when no gateway is configured."""
    if config.gateway is None:
        raise StranglerError("strangler.toml has no [gateway]; add one with redis = ... or change the routes yourself")
    return redis_client.Redis.from_url(config.gateway.redis, socket_timeout=5, socket_connect_timeout=2)
