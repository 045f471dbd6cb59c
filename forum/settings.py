"""Configuration from the environment (12-factor). Every variable VAR may also come as VAR_FILE, the path of a file.

Each application makes a class of the parts it needs and loads it:

    class Settings(StoreSettings, IssuerSettings): ...
    settings = load(Settings)
"""

from __future__ import annotations

import os
import sys
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

BOOT_FAILED = 4
"""Exit status of an application with bad settings: gunicorn gives up on it instead of starting the worker again."""


class SettingsError(Exception):
    """A variable is missing or invalid. The message is one line that names it."""


class _Files(PydanticBaseSettingsSource):
    """Reads VAR from the file that VAR_FILE names (Docker and Kubernetes secrets)."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        variable = f"{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}: cannot read {path}: {getattr(error, 'strerror', error)}") from error

    def __call__(self) -> dict[str, Any]:
        read = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in read.items() if value is not None}


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value

    return AfterValidator(check)


HttpUrl = Annotated[str, _url("http", "https"), AfterValidator(lambda value: value.rstrip("/"))]
RedisUrl = Annotated[str, _url("redis", "rediss", "unix")]


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_listed)]
"""10.0.0.0/8,fd00::/8"""


class Environment(BaseSettings):
    """Settings that come from variables and files."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _Files(settings_cls)


class Settings(Environment):
    """What every process of the forum needs."""

    forum_api_url: HttpUrl
    """Where every path under /api is served, by whoever serves it now: the gateway."""
    redis_url: RedisUrl
    strangler_secret: SecretStr = Field(min_length=16)
    """Shared by all sites; keys the fingerprints of idempotent requests."""
    trusted_proxies: Networks = ()
    """From where X-Forwarded-For is believed: the gateway's addresses, and those of the sites."""


class DatabaseSettings(Environment):
    """What a command needs that only speaks to the database."""

    database_url: SecretStr
    """postgresql://user:password@host:port/database, of the role that owns the tables."""


class ViewsSettings(Environment):
    """For a command that can do without Redis."""

    redis_url: RedisUrl | None = None


class StoreSettings(Settings, DatabaseSettings):
    """For a process with a database."""

    threads: int = Field(8, ge=1, le=256)
    """Requests at a time in one process: the size of its connection pool."""
    keep_days: float = Field(7, gt=0)
    """How long idempotency keys, handled events and published events are kept."""


class TopicsSettings(StoreSettings):
    """For the topics service."""

    show_edited: bool = False
    """Version 2 (k8s/strategies): its topics say whether they were edited."""


class IssuerSettings(Settings):
    """For the one who issues tokens and keeps passwords."""

    token_private_key: SecretStr
    """Ed25519, PEM (PKCS #8); line ends may be written as \\n."""
    access_seconds: int = Field(900, ge=1)
    refresh_days: float = Field(30, gt=0)
    refresh_grace_seconds: float = Field(30, ge=0)
    """How long a rotated refresh token is still good, for clients that did not get the answer."""
    # OWASP Password Storage Cheat Sheet, the minimum for Argon2id.
    argon2_memory_kib: int = Field(19456, ge=8)
    argon2_time: int = Field(2, ge=1)
    argon2_parallelism: int = Field(1, ge=1)
    login_failures_per_account: int = Field(10, ge=1)
    """Wrong passwords in a window, after which none is tried (OWASP ASVS 5: well under 100 an hour)."""
    login_failures_per_address: int = Field(300, ge=1)
    """Many people may share an address."""
    login_window_seconds: int = Field(900, ge=1)


class PagesSettings(Settings):
    """For the one who serves the pages."""

    secret_key: SecretStr = Field(min_length=16)
    """Signs the pages' session cookie and CSRF tokens."""


Kind = TypeVar("Kind", bound=Environment)


def read(kind: type[Kind]) -> Kind:
    """The settings from the environment. Raises SettingsError."""
    try:
        return cast(Kind, cast(Any, kind)())  # the fields come from the environment
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(problem) for problem in error.errors())) from None


def _complaint(problem: Any) -> str:
    variable = str(problem["loc"][0]).upper() if problem["loc"] else "settings"
    if problem["type"] == "missing":
        return f"{variable} is not set; set it or {variable}_FILE"
    return f"{variable}: {problem['msg']}"


def load(kind: type[Kind]) -> Kind:
    """The settings from the environment; without them the process ends with one line that names the variable."""
    try:
        return read(kind)
    except SettingsError as error:
        give_up(error)


def give_up(error: Exception) -> NoReturn:
    """End a process that cannot start, with one line."""
    print(error, file=sys.stderr)
    raise SystemExit(BOOT_FAILED) from None
