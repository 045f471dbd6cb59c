"""The API contract: what goes in (strict: unknown fields and wrong types are refused) and what comes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
)

MAX_ID = 2**63 - 1
"""bigint: a larger id cannot exist, and PostgreSQL would refuse the number itself."""
PAGE, MAX_PAGE = 20, 100
ALL = 1000
"""Topics that count as all: those that were active last."""
MAX_READERS = 1000
MAX_IDS = 2 * MAX_PAGE
"""A page of replies names two authors a row."""


def _storable(value: str) -> str:
    """PostgreSQL's text has no NUL, and a lone surrogate has no UTF-8."""
    if "\0" in value:
        raise ValueError("must not contain NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return value


def _visible(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _email(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", value):
        raise ValueError("must be an e-mail address")
    return value


Text = Annotated[str, AfterValidator(_storable)]
Visible = Annotated[Text, AfterValidator(_visible), Field(json_schema_extra={"pattern": r"\S"})]
Username = Annotated[str, StringConstraints(min_length=3, max_length=32, pattern=r"^[A-Za-z0-9_.-]+$")]
DisplayName = Annotated[Visible, Field(min_length=1, max_length=100)]
Email = Annotated[Text, Field(max_length=254, json_schema_extra={"format": "email"}), AfterValidator(_email)]
Bio = Annotated[Text, Field(max_length=2000)]
Password = Annotated[Text, Field(min_length=10, max_length=200)]
Title = Annotated[Visible, Field(min_length=1, max_length=200)]
Body = Annotated[Visible, Field(min_length=1, max_length=20_000)]
Id = Annotated[int, Field(ge=1)]
"""Any size: an id beyond bigint is an id that does not exist (`exists`), not an invalid one."""


def possible(*ids: int | None) -> bool:
    """Whether rows with these ids can exist at all. Ask before the database is asked."""
    return all(id is None or id <= MAX_ID for id in ids)


# --- in -------------------------------------------------------------------------------------------------------------


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, use_attribute_docstrings=True)


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class Change(Input):
    """What is not sent stays as it is."""

    # The defaults stand for "not sent", so clients needn't know them; an explicit null is refused, because no column
    # takes it.
    model_config = ConfigDict(json_schema_extra=_without_defaults)

    def changes(self) -> dict[str, Any]:
        """The fields that the client sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Registration(Input):
    username: Username
    email: Email
    password: Password
    display_name: DisplayName | None = None
    """The username, unless given."""
    bio: Bio = ""


def _with_proof(schema: dict[str, Any]) -> None:
    _without_defaults(schema)
    schema["dependentRequired"] = {"email": ["current_password"], "password": ["current_password"]}


class ProfileChange(Change):
    model_config = ConfigDict(json_schema_extra=_with_proof)

    display_name: DisplayName = ""
    bio: Bio = ""
    email: Email = ""
    password: Password = ""
    current_password: Annotated[Text, Field(max_length=200)] = ""
    """Needed to change the e-mail address or the password."""

    @property
    def needs_password(self) -> bool:
        return not self.model_fields_set.isdisjoint({"email", "password"})


class Credentials(Input):
    username: Annotated[Text, Field(max_length=200)]
    password: Annotated[Text, Field(max_length=200)]


class Refresh(Input):
    refresh_token: Annotated[Text, Field(max_length=200)]


class NewTopic(Input):
    title: Title


class TopicChange(Change):
    title: Title = ""
    locked: bool = False
    """For moderators. A locked topic takes no new messages."""
    pinned: bool = False
    """For moderators. Pinned topics come first in the order of activity."""


def _moment(value: object) -> datetime:
    """Strict: of all that stands for a time, RFC 3339 text. Nobody has read the future, but clocks may differ."""
    if not isinstance(value, str) or "T" not in value:
        raise ValueError("must be a time: 2026-01-31T12:00:00Z")
    try:
        return min(_MOMENT.validate_python(value).astimezone(UTC), datetime.now(UTC) + timedelta(minutes=1))
    except OverflowError:
        raise ValueError("is out of range") from None


_MOMENT: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


Moment = Annotated[datetime, BeforeValidator(_moment)]


class Reading(Input):
    """How far a reader got in a topic: the last message they saw, and when that was written."""

    message_id: Annotated[int, Field(ge=1, le=MAX_ID)]
    until: Moment


class AllRead(Input):
    """Up to when everything counts as read."""

    until: Moment


class NewMessage(Input):
    topic_id: Id
    body: Body
    reply_to: Id | None = None
    """A message of the same topic."""


class MessageChange(Input):
    body: Body


class Query(BaseModel):
    """Query parameters: numbers come as text; what is not known is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


class PageQuery(Query):
    limit: int = Field(PAGE, ge=1, le=MAX_PAGE)
    """Items on a page."""
    cursor: Annotated[Text, Field(max_length=200)] | None = None
    """The `next` of the page before, from the same list in the same order."""


def _ids(value: object) -> object:
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Ids = Annotated[tuple[Id, ...], BeforeValidator(_ids), Field(max_length=MAX_IDS)]
"""1,2,3"""


class TopicsQuery(PageQuery):
    """A page in the order `sort`: pinned topics before the active ones; or, whatever else is asked, those of `ids`."""

    sort: Literal["activity", "newest", "views"] = "activity"
    ids: Ids | None = None


class MessagesQuery(PageQuery):
    topic_id: Id
    last: bool = False
    """The last page instead of the first; without meaning beside a cursor."""


class SearchQuery(PageQuery):
    q: Annotated[Visible, Field(max_length=200)]
    """As people type it: words, "a phrase", or, -without."""


class TopicQuery(Query):
    peek: bool = False
    """Looked at by a program, not by a reader: not counted as a view."""
    readers: int = Field(1, ge=1, le=MAX_READERS)
    """For how many readers this is asked; without meaning beside `peek`."""


class UsersQuery(Query):
    """Either `ids` (1,2,3) or `username`."""

    ids: Ids | None = None
    username: Annotated[Text, Field(max_length=200)] | None = None


# --- out ------------------------------------------------------------------------------------------------------------


def _utc(value: datetime) -> datetime:
    """As a service of any time zone reads it from its database, everyone writes it the same: ...Z."""
    return value.astimezone(UTC)


Timestamp = Annotated[datetime, AfterValidator(_utc)]


class Output(BaseModel):
    model_config = ConfigDict(
        from_attributes=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True,
        frozen=True,  # what was once found may be shown many times
    )  # fmt: skip

    @cached_property
    def as_json(self) -> str:
        return self.model_dump_json()

    @property
    def complete(self) -> bool:
        """Whether it says all that there is to say, no name of an author left out; else it is not for keeping."""
        return True


class Author(Output):
    id: int
    username: str | None = None
    """null when the name is not known right now."""
    display_name: str | None = None
    """null when the name is not known right now."""

    @property
    def complete(self) -> bool:
        return self.username is not None


class User(Output):
    """The public profile."""

    id: int
    username: str
    display_name: str
    bio: str
    role: str
    created_at: Timestamp


class Me(User):
    """The profile as its owner sees it."""

    email: str


class Tokens(Output):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int
    """Seconds."""
    refresh_token: str
    user: Me


class Read(Output):
    """How far the one who asks has read a topic."""

    message_id: int
    """0: they have not opened it, and said of all that they had read them."""
    until: Timestamp


class Topic(Output):
    id: int
    title: str
    locked: bool
    pinned: bool
    author: Author | None
    """null when the author was deleted."""
    message_count: int
    last_activity_at: Timestamp
    created_at: Timestamp
    updated_at: Timestamp
    views: int | None = None
    """As it was some seconds ago; null when it cannot be known right now."""
    read: Read | None = None
    """null when the one who asks has not read it, or is a guest."""
    edited: bool | None = Field(default=None, exclude_if=lambda edited: edited is None)
    """Whether its title or lock was ever changed. Only some versions say so; others leave it out."""

    @property
    def complete(self) -> bool:
        return self.author is None or self.author.complete


EXCERPT = 240
"""Characters."""


class Quote(Output):
    """The message that another one replies to, and how it begins."""

    author: Author | None
    """null when the author was deleted."""
    excerpt: str

    @property
    def complete(self) -> bool:
        return self.author is None or self.author.complete


class Message(Output):
    id: int
    topic_id: int
    author: Author | None
    """null when the author was deleted."""
    reply_to: int | None
    """The message of the same topic that this one answers; null when there is none (any more)."""
    quote: Quote | None = None
    """What `reply_to` says."""
    body: str
    created_at: Timestamp
    updated_at: Timestamp

    @property
    def complete(self) -> bool:
        return (self.author is None or self.author.complete) and (self.quote is None or self.quote.complete)


class Key(Output):
    """A public key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    """The key's RFC 7638 thumbprint; tokens name it in their header."""
    use: Literal["sig"]
    alg: Literal["EdDSA"]


class KeySet(Output):
    keys: list[Key]


class FieldError(Output):
    field: str
    """Which field or parameter; in nested ones a path with dots; empty for the whole body."""
    message: str


class Problem(Output):
    """RFC 9457. Every refusal is answered so."""

    type: Literal["about:blank"]
    title: str
    """The name of the status."""
    status: int
    detail: str
    """For a person: what is wrong."""
    errors: list[FieldError] | None = Field(default=None, exclude_if=lambda errors: errors is None)
    """For a program: what is wrong where. Only when fields or parameters are to blame."""


Item = TypeVar("Item", bound=Output)


class Items(Output, Generic[Item]):
    items: Sequence[Item]


class Page(Output, Generic[Item]):
    items: Sequence[Item]
    next: str | None
    """The cursor of the next page; null on the last."""

    def __hash__(self) -> int:
        """To look up what has been made of this very page: its items are too many to be looked at each time."""
        return id(self)

    @cached_property
    def complete(self) -> bool:
        return all(item.complete for item in self.items)
