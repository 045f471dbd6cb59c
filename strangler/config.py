"""`strangler.toml`: which tables and routes make a module, and where its source and target are.

Values may name environment variables as `${NAME}`, each of which may also come as NAME_FILE, the path of a file. They
are looked up when the value is used, so that an application needs only the addresses and the command line only the
connections.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from strangler.errors import StranglerError

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
Route = Annotated[str, StringConstraints(pattern=r"^/[^\s`]*$")]
Table = Annotated[str, StringConstraints(pattern=r"^[^.]+\.[^.]+$")]

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def variable(name: str) -> str | None:
    """NAME from the environment, or what is in the file that NAME_FILE names (Docker and Kubernetes secrets).

    None when neither is set. Raises StranglerError when the file cannot be read.
    """
    path = os.environ.get(f"{name}_FILE")
    if name in os.environ or not path:
        return os.environ.get(name)
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StranglerError(f"{name}_FILE: cannot read {path}: {getattr(error, 'strerror', error)}") from None


def _expand(value: str, where: str) -> str:
    def lookup(match: re.Match[str]) -> str:
        found = variable(match[1])
        if found is None:
            raise StranglerError(f"{where} needs the environment variable {match[1]}, which is not set")
        return found

    return _VARIABLE.sub(lookup, value)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Site(_Model):
    """A place that can own a module: a database and the application in front of it."""

    name: str = ""
    raw_dsn: str = Field("", alias="dsn")
    raw_url: str = Field("", alias="url")
    raw_servers: str = Field("", alias="servers")

    def _value(self, field: str, raw: str) -> str:
        if not raw:
            raise StranglerError(f"[sites.{self.name}] has no {field}; add it to strangler.toml")
        return _expand(raw, f"[sites.{self.name}] {field}")

    @property
    def dsn(self) -> str:
        """The kit's connection string; also the one by which the other database subscribes."""
        return self._value("dsn", self.raw_dsn)

    @property
    def url(self) -> str:
        """Where the other site's facade reaches this one's HTTP."""
        return self._value("url", self.raw_url).rstrip("/")

    @property
    def servers(self) -> list[str]:
        """What the gateway balances over: addresses separated by commas; `url` when not given."""
        return _expand(self.raw_servers, f"[sites.{self.name}] servers").split(",") if self.raw_servers else [self.url]


class Module(_Model):
    name: str = ""
    source: Name
    target: Name
    tables: list[Table] = Field(min_length=1)
    routes: list[Route] = Field(min_length=1)

    def other(self, site: str) -> str:
        return self.target if site == self.source else self.source


class Stage(_Model):
    """One step of the whole migration: which modules are at their targets, and where every other path goes."""

    name: str = ""
    moved: list[Name] = []
    default: Name
    spare: Name | None = None
    """Takes the default's place while that is not healthy, so that the one can be stopped before the routes change."""
    cancel: bool = False
    """Whether moves are cancelled when it is reached, so that no replication is left."""


class Gateway(_Model):
    raw_redis: str = Field(alias="redis")
    root: str = "traefik"

    @property
    def redis(self) -> str:
        return _expand(self.raw_redis, "[gateway] redis")


class Analyze(_Model):
    everywhere: list[Table] = []
    """Tables that every database has for itself, such as an outbox; they tie no modules together."""


class Config(_Model):
    sites: dict[Name, Site]
    modules: dict[Name, Module]
    stages: dict[str, Stage] = {}
    gateway: Gateway | None = None
    analyze: Analyze = Analyze()

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: dict[str, dict[str, dict[str, object]]]) -> object:
        for kind in ("sites", "modules", "stages"):
            for name, entry in data.get(kind, {}).items():
                entry["name"] = name
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        seen: dict[str, str] = {}
        for module in self.modules.values():
            for site in (module.source, module.target):
                if site not in self.sites:
                    raise ValueError(f"[modules.{module.name}] names the site {site}, but there is no [sites.{site}]")
            if module.source == module.target:
                raise ValueError(f"[modules.{module.name}] has the same source and target")
            for thing in (*module.tables, *module.routes):
                if thing in seen:
                    raise ValueError(f"{thing} belongs to both {seen[thing]} and {module.name}")
                seen[thing] = module.name
        for stage in self.stages.values():
            unknown = {stage.default, stage.spare or stage.default} - set(self.sites)
            unknown |= set(stage.moved) - set(self.modules)
            if unknown:
                raise ValueError(f"[stages.{stage.name}] names {min(unknown)}, which is not in strangler.toml")
        return self

    def module(self, name: str) -> Module:
        try:
            return self.modules[name]
        except KeyError:
            known = ", ".join(sorted(self.modules))
            raise StranglerError(f"unknown module {name!r}; strangler.toml has: {known}") from None

    def stage(self, word: str) -> Stage:
        """The stage of that name, or of that number or the rest of its name: `2`, `users` or `2-users`."""
        for name, stage in self.stages.items():
            if word in (name, *name.split("-", 1)):
                return stage
        raise StranglerError(f"unknown stage {word!r}; strangler.toml has: {', '.join(self.stages) or 'none'}")

    def module_of(self, path: str) -> Module | None:
        """The module whose longest route is a prefix, by whole segments, of a request's path."""
        best: tuple[int, Module] | None = None
        for module in self.modules.values():
            for route in module.routes:
                stem = route.rstrip("/")
                if (path == stem or path.startswith(stem + "/")) and (best is None or len(stem) > best[0]):
                    best = (len(stem), module)
        return best[1] if best else None


def load(path: str | Path | None = None) -> Config:
    """Read the configuration from `path`, $STRANGLER_CONFIG or ./strangler.toml.

    Raises StranglerError when there is no such file, it is not TOML, or it does not say what it must.
    """
    file = Path(path or os.environ.get("STRANGLER_CONFIG", "strangler.toml"))
    try:
        data = tomllib.loads(file.read_text())
    except OSError as error:
        raise StranglerError(f"cannot read {file}: {error.strerror}; name the file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StranglerError(f"{file} is not TOML: {error}") from None
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StranglerError(f"{file}: {where + ': ' if where else ''}{first['msg']}") from None
