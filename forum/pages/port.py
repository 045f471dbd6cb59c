"""What the pages need to know and do: the seam between the forum that people see and the modules behind it.

Branch by abstraction: the pages ask a `ForumPort` and never learn whether a module is in this process or elsewhere.
`HttpPort` asks over HTTP; the monolith answers in its own process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from forum.schemas import (
    AllRead,
    Credentials,
    Me,
    Message,
    MessageChange,
    NewMessage,
    NewTopic,
    Page,
    ProfileChange,
    Reading,
    Registration,
    Tokens,
    Topic,
    TopicChange,
    User,
)

Value = TypeVar("Value", covariant=True)
Module = Literal["users", "topics", "messages"]
Sort = Literal["activity", "newest", "views"]


@dataclass(frozen=True)
class Answer(Generic[Value]):
    """What a module said, and which process of which site said it (`topics/v1@topics-1`)."""

    value: Value
    module: Module
    served_by: str


class PortError(Exception):
    """A call that gave no value. `status` is the HTTP status that a page about it should have."""

    status: int


@dataclass(eq=False)
class Refused(PortError):  # noqa: N818  it is an answer, if not the one hoped for
    """The module said no (4xx). `detail` is for people; `errors` says it by field.

    module: None when the pages themselves said no, before anybody was asked.
    """

    module: Module | None
    status: int
    detail: str
    errors: dict[str, str] = field(default_factory=dict)
    served_by: str = ""
    retry_after: str = ""
    """Seconds, when it says no only for now (429)."""

    def __str__(self) -> str:
        return self.detail


@dataclass(eq=False)
class Away(PortError):  # noqa: N818
    """The module did not answer, or could not. A write may or may not have been done: repeat it with the same key."""

    module: Module
    status: int = 503

    def __str__(self) -> str:
        return f"{self.module} cannot be reached right now"


Question = Callable[[], tuple[Callable[..., Answer[Any]], ...]]
"""Asks for all parts of a page, each time anew; each of them gives what it is or raises PortError."""
TopicsQuestion = Callable[[], tuple[Callable[..., Answer[Page[Topic]]]]]
TopicQuestion = Callable[[], tuple[Callable[..., Answer[Topic]], Callable[[], Answer[Page[Message]]]]]


class ForumPort(Protocol):
    """Each call is one request to one module; nothing here asks once per row.

    token: an access token. key: an Idempotency-Key, so that a form sent twice is done once.
    Raises PortError.
    """

    def look(self, module: Module) -> Answer[object]:
        """Who serves the module now."""
        ...

    def topics(self, sort: Sort, cursor: str | None, token: str = "") -> Answer[Page[Topic]]:
        """token: of the one whose reading the topics are to show; they can be had without."""
        ...

    def topics_page(self, sort: Sort, cursor: str | None, guest: bool) -> TopicsQuestion:
        """`topics`, to be called with a token only. guest: nobody's token will be given."""
        ...

    def topics_by_ids(self, ids: Iterable[int]) -> Answer[Page[Topic]]: ...

    def search_topics(self, words: str, cursor: str | None) -> Answer[Page[Topic]]: ...

    def search_messages(self, words: str, cursor: str | None) -> Answer[Page[Message]]: ...

    def topic(self, topic_id: int, peek: bool = False, token: str = "") -> Answer[Topic]:
        """peek: do not count it as a view. token: as in `topics`."""
        ...

    def mark_read(self, token: str, topic_id: int, reading: Reading) -> Answer[None]: ...

    def mark_all_read(self, token: str, until: AllRead, key: str) -> Answer[None]: ...

    def messages(self, topic_id: int, cursor: str | None, last: bool = False) -> Answer[Page[Message]]: ...

    def topic_page(self, topic_id: int, peek: bool, cursor: str | None, last: bool, guest: bool) -> TopicQuestion:
        """`topic`, to be called with a token only, and `messages`: begun already where most of it is to wait.

        guest: nobody's token will be given.
        """
        ...

    def message(self, message_id: int) -> Answer[Message]: ...

    def user(self, user_id: int) -> Answer[User]: ...

    def me(self, token: str) -> Answer[Me]: ...

    def register(self, account: Registration, key: str) -> Answer[Me]: ...

    def change_profile(self, token: str, user_id: int, change: ProfileChange, key: str) -> Answer[Me]: ...

    def delete_user(self, token: str, user_id: int, key: str) -> Answer[None]: ...

    def log_in(self, credentials: Credentials) -> Answer[Tokens]: ...

    def refresh(self, refresh_token: str) -> Answer[Tokens]: ...

    def log_out(self, token: str) -> Answer[None]: ...

    def create_topic(self, token: str, topic: NewTopic, key: str) -> Answer[Topic]: ...

    def change_topic(self, token: str, topic_id: int, change: TopicChange, key: str) -> Answer[Topic]: ...

    def delete_topic(self, token: str, topic_id: int, key: str) -> Answer[None]: ...

    def post_message(self, token: str, message: NewMessage, key: str) -> Answer[Message]: ...

    def change_message(self, token: str, message_id: int, change: MessageChange, key: str) -> Answer[Message]: ...

    def delete_message(self, token: str, message_id: int, key: str) -> Answer[None]: ...
