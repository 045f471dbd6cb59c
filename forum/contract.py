"""The API's contract, operation by operation: what a client may send, and every answer that it may get.

Monolith and services keep the same one; `forum.openapi` writes it down as an OpenAPI document. A new endpoint:

1. its schemas in `forum/schemas.py`, and in `EXAMPLES` a value for each field whose name is new;
2. its `Operation` in `OPERATIONS`: what follows from how it is asked (400, 401, 413, 415, 422, 503) need not be said,
   every other refusal goes to `refusals`, with its reason;
3. its views, in the monolith and in the service.

`tests/forum/test_openapi.py` fails for a view without an operation, and where `authenticated` and `idempotent` differ
from the view's decorators; every test of `tests/contract` fails at an answer that its operation does not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from forum import schemas
from forum.payload import MAX_BODY
from forum.schemas import Input, Output, Query

VERSION = "1"
IDEMPOTENCY_KEY = "Idempotency-Key"

Module = Literal["users", "topics", "messages"]
MODULES: dict[Module, str] = {
    "users": "Accounts and sessions.",
    "topics": "What is talked about.",
    "messages": "What people said.",
}


@dataclass(frozen=True)
class Operation:
    module: Module
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    """With the names of ids in braces: /api/topics/{topic_id}."""
    id: str
    summary: str
    description: str = ""
    query: type[Query] | None = None
    body: type[Input] | None = None
    status: int = 200
    """Of success."""
    answer: type[Output] | None = None
    """None: no content."""
    location: bool = False
    """Whether success says, in the header Location, where the new thing is."""
    authenticated: bool = False
    personal: bool = False
    """Whether it says more to who sends a token, which need not be sent."""
    idempotent: bool = False
    refusals: Mapping[int, str] = field(default_factory=dict)

    @property
    def tagged(self) -> bool:
        """Whether its answers have an ETag."""
        return self.method == "GET" and self.module in ("topics", "messages")

    def refused(self) -> dict[int, str]:
        """Every status of 400 and above that it may answer with, and why."""
        reasons: dict[int, list[str]] = {}

        def add(reason: str, *statuses: int) -> None:
            for status in statuses:
                reasons.setdefault(status, []).append(reason)

        if self.body:
            add("The body is not well-formed JSON.", 400)
            add(f"The body has more than {MAX_BODY} bytes.", 413)
            add("The body is not application/json.", 415)
            add("The body is not valid.", 422)
        if self.query:
            add("A parameter is not valid.", 422)
        if self.idempotent:
            add("The Idempotency-Key is not 1 to 200 printable ASCII characters.", 400)
            add("The Idempotency-Key was used for another request.", 422)
        if self.authenticated:
            add("There is no access token, or it is not valid, or its account is gone.", 401)
        if self.personal:
            add("There is an access token, and it is not valid.", 401)
        for status, reason in self.refusals.items():
            add(reason, status)
        add("Not right now: nothing was done, and the same may be sent again.", 503)
        return {status: " Or: ".join(reasons[status]) for status in sorted(reasons)}


NO_USER = {404: "There is no such user."}
NO_TOPIC = {404: "There is no such topic."}
NO_MESSAGE = {404: "There is no such message."}
THROTTLED = {429: "There were too many wrong passwords."}
TAKEN = {409: "The username or the e-mail address is taken."}

OPERATIONS = (
    Operation(
        "users", "POST", "/api/users", "register", "Register",
        body=schemas.Registration, status=201, answer=schemas.Me, location=True, idempotent=True, refusals=TAKEN,
    ),
    Operation(
        "users", "GET", "/api/users", "listUsers", "Profiles by ids or by username",
        "Ask for either. Who does not exist is left out.",
        query=schemas.UsersQuery, answer=schemas.Items[schemas.User],
    ),
    Operation(
        "users", "GET", "/api/users/{user_id}", "readUser", "A public profile",
        answer=schemas.User, refusals=NO_USER,
    ),
    Operation(
        "users", "GET", "/api/users/me", "readMe", "My own profile",
        answer=schemas.Me, authenticated=True,
    ),
    Operation(
        "users", "PATCH", "/api/users/{user_id}", "editUser", "Edit my profile",
        "The current password is needed for another e-mail address or password. A new password ends other sessions.",
        body=schemas.ProfileChange, answer=schemas.Me, authenticated=True, idempotent=True,
        refusals={
            403: "The profile is somebody else's, or the current password is wrong.", **NO_USER, **TAKEN, **THROTTLED,
        },
    ),
    Operation(
        "users", "DELETE", "/api/users/{user_id}", "deleteUser", "Delete an account",
        "What its owner wrote stays and loses its author.",
        status=204, authenticated=True, idempotent=True,
        refusals={403: "The account is somebody else's, and you are no moderator.", **NO_USER},
    ),
    Operation(
        "users", "POST", "/api/sessions", "logIn", "Log in",
        body=schemas.Credentials, status=201, answer=schemas.Tokens,
        refusals={401: "Wrong username or password.", **THROTTLED},
    ),
    Operation(
        "users", "POST", "/api/sessions/refresh", "refresh", "Get new tokens for a refresh token",
        "A refresh token is good once. One that was used before ends the whole session.",
        body=schemas.Refresh, answer=schemas.Tokens,
        refusals={401: "The refresh token is not valid, or was used before, or its account is gone."},
    ),
    Operation(
        "users", "DELETE", "/api/sessions/current", "logOut", "Log out",
        "Its refresh tokens end; an access token is good until it expires.",
        status=204, authenticated=True,
    ),
    Operation(
        "users", "GET", "/.well-known/jwks.json", "readKeys", "The keys to verify access tokens with",
        answer=schemas.KeySet,
    ),
    Operation(
        "topics", "POST", "/api/topics", "openTopic", "Open a topic",
        body=schemas.NewTopic, status=201, answer=schemas.Topic, location=True, authenticated=True, idempotent=True,
    ),
    Operation(
        "topics", "GET", "/api/topics", "listTopics", "All topics, page by page, or some by their ids",
        "By activity, pinned ones first; the newest first; or the most viewed. Whatever else is asked, with ids those.",
        query=schemas.TopicsQuery, answer=schemas.Page[schemas.Topic], personal=True,
    ),
    Operation(
        "topics", "GET", "/api/topics/search", "searchTopics", "Topics by words of their titles, the latest first",
        query=schemas.SearchQuery, answer=schemas.Page[schemas.Topic], personal=True,
    ),
    Operation(
        "topics", "GET", "/api/topics/{topic_id}", "readTopic", "A topic",
        query=schemas.TopicQuery, answer=schemas.Topic, personal=True, refusals=NO_TOPIC,
    ),
    Operation(
        "topics", "PUT", "/api/topics/{topic_id}/read", "markRead", "Say how far I have read a topic",
        "Never back: of two, the later counts.",
        body=schemas.Reading, status=204, authenticated=True, idempotent=True, refusals=NO_TOPIC,
    ),
    Operation(
        "topics", "PUT", "/api/topics/read", "markAllRead", "Say that I have read all topics",
        f"As far as they went until then; of the {schemas.ALL:,} that were active last.",
        body=schemas.AllRead, status=204, authenticated=True, idempotent=True,
    ),
    Operation(
        "topics", "PATCH", "/api/topics/{topic_id}", "editTopic", "Edit, lock or pin a topic",
        body=schemas.TopicChange, answer=schemas.Topic, authenticated=True, idempotent=True,
        refusals={403: "The topic is somebody else's, or only moderators may do that.", **NO_TOPIC},
    ),
    Operation(
        "topics", "DELETE", "/api/topics/{topic_id}", "deleteTopic", "Delete a topic and its messages",
        status=204, authenticated=True, idempotent=True,
        refusals={403: "The topic is somebody else's, and you are no moderator.", **NO_TOPIC},
    ),
    Operation(
        "messages", "POST", "/api/messages", "postMessage", "Post a message, or reply to one",
        body=schemas.NewMessage, status=201, answer=schemas.Message, location=True, authenticated=True,
        idempotent=True, refusals={**NO_TOPIC, 409: "The topic is locked."},
    ),
    Operation(
        "messages", "GET", "/api/messages", "listMessages", "The messages of a topic, oldest first, page by page",
        "A topic that does not exist has none.",
        query=schemas.MessagesQuery, answer=schemas.Page[schemas.Message],
    ),
    Operation(
        "messages", "GET", "/api/messages/search", "searchMessages", "Messages by their words, the latest first",
        query=schemas.SearchQuery, answer=schemas.Page[schemas.Message],
    ),
    Operation(
        "messages", "GET", "/api/messages/{message_id}", "readMessage", "A message",
        answer=schemas.Message, refusals=NO_MESSAGE,
    ),
    Operation(
        "messages", "PATCH", "/api/messages/{message_id}", "editMessage", "Edit my message",
        body=schemas.MessageChange, answer=schemas.Message, authenticated=True, idempotent=True,
        refusals={403: "The message is somebody else's.", **NO_MESSAGE},
    ),
    Operation(
        "messages", "DELETE", "/api/messages/{message_id}", "deleteMessage", "Delete a message",
        status=204, authenticated=True, idempotent=True,
        refusals={403: "The message is somebody else's, and you are no moderator.", **NO_MESSAGE},
    ),
)  # fmt: skip

CONVENTIONS = {
    "Tokens": (
        "Register, log in, and send the access token with each request that needs one: Authorization: Bearer TOKEN. It "
        "is good for as many seconds as expires_in says; then the refresh token gets new ones."
    ),
    "Repeating": (
        "A write that got no answer may be sent again without being done twice, if both times it carries the same "
        "Idempotency-Key: the second answer is the first, with Idempotency-Replayed: true. Keys are kept for days."
    ),
    "Pages": (
        "Lists come page by page. Send the next of one page as the cursor of the following, until next is null. "
        "Cursors are opaque, and cost the same however far they reach."
    ),
    "Limits": (
        f"A body has at most {MAX_BODY} bytes, a page at most {schemas.MAX_PAGE} items. Fields that are not named here "
        "are refused in bodies and ignored in queries. No text may contain NUL. Answers may have more fields one day."
    ),
    "Asking again": (
        "Answers to reads of topics and messages have an ETag. Sent as If-None-Match with the same question it gets a "
        "304 as long as nothing was written, and for a minute at most."
    ),
    "Errors": (
        "Every refusal is application/problem+json (RFC 9457): detail for a person, errors by field for a program. "
        "With 503 and 429 nothing was done: send it again after the seconds in Retry-After."
    ),
    "Who answers": "The header X-Served-By says who: users/v2@host. It may change at any time; the contract does not.",
}
"""What holds for every operation. Plain text."""

EXAMPLES: dict[str, Any] = {
    "Problem": {
        "type": "about:blank", "title": "Unprocessable Content", "status": 422, "detail": "title: must not be blank",
        "errors": [{"field": "title", "message": "must not be blank"}],
    },
    "access_token": "eyJhbGciOiJFZERTQSIsImtpZCI6Im9uZSJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl",
    "alg": "EdDSA",
    "bio": "Counts.",
    "body": "In my garden, for one.",
    "created_at": "2026-11-21T08:00:00Z",
    "crv": "Ed25519",
    "current_password": "correct horse battery",
    "cursor": "WyJuZXdlc3QiLDQyXQ",
    "display_name": "Ada L.",
    "edited": False,
    "email": "ada@example.org",
    "excerpt": "Where do they grow?",
    "expires_in": 900,
    "field": "title",
    "id": 7,
    "ids": [7, 8],
    "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    "kty": "OKP",
    "last_activity_at": "2026-11-21T09:30:00Z",
    "limit": schemas.PAGE,
    "locked": False,
    "message": "must not be blank",
    "message_id": 7,
    "message_count": 12,
    "next": "WyJuZXdlc3QiLDQyXQ",
    "password": "correct horse battery",
    "last": True,
    "peek": True,
    "pinned": False,
    "q": "fig tree",
    "readers": 1,
    "refresh_token": "pTQ2Gvy9u8nYd0nCkR4VxgIuZ6b1sM3aJw5eHfLoXtE",
    "reply_to": None,
    "role": "member",
    "sort": "activity",
    "title": "Where do figs grow?",
    "token_type": "Bearer",
    "topic_id": 7,
    "until": "2026-11-21T09:30:00Z",
    "updated_at": "2026-11-21T08:00:00Z",
    "use": "sig",
    "username": "ada",
    "views": 345,
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}  # fmt: skip
"""A value for each field, by its name; and for a schema that is not just the sum of its fields."""
