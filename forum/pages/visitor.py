"""Who is looking: the tokens in the visitor's cookies, and how they are used, renewed and forgotten.

Reading the forum needs no token: with one it also shows what is new to the visitor. A token that has run out, or that
the API refuses, is renewed, and the visitor does not notice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

import jwt
from flask import Response, current_app, g, request

from forum.pages.port import Answer, Away, ForumPort, PortError, Refused
from forum.schemas import Me, Tokens

ACCESS, REFRESH = "forum_access", "forum_refresh"
COOKIE_SECONDS = 30 * 86_400
"""As long as a refresh token is good. The access token's cookie stays as long, because it also says who you are."""
EARLY_SECONDS = 10
"""A token is renewed this long before it ends: it has to arrive, too."""

P = ParamSpec("P")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Visitor:
    """Somebody who has logged in, as their token says.

    The token is read without verifying it: a visitor who forges their own cookie sees buttons that the API, which does
    verify, refuses to carry out.
    """

    id: int
    name: str
    role: str
    expires: float
    access: str
    refresh: str

    @property
    def is_moderator(self) -> bool:
        return self.role == "moderator"

    def wrote(self, author: object) -> bool:
        return getattr(author, "id", None) == self.id


def visitor() -> Visitor | None:
    """Who sends this request; None for a guest."""
    if "visitor" not in g:
        sent = request.cookies
        g.visitor = _read(sent[ACCESS], sent[REFRESH]) if ACCESS in sent and REFRESH in sent else None
    found: Visitor | None = g.visitor
    return found


def _read(access: str, refresh: str) -> Visitor | None:
    if not access or not refresh:
        return None
    try:
        claims = jwt.decode(access, options={"verify_signature": False})
        return Visitor(
            int(claims["sub"]), str(claims["name"]), str(claims["role"]), float(claims["exp"]), access, refresh
        )
    except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
        return None


def port() -> ForumPort:
    found: ForumPort = current_app.extensions["forum.pages"]
    return found


def ask(call: Callable[P, Answer[Value]], *args: P.args, **kwargs: P.kwargs) -> Value:
    """The value of a call to the port, noting for the foot of the page who served it. Raises PortError."""
    served: dict[str, str] = g.setdefault("served", {})
    try:
        answer = call(*args, **kwargs)
    except Refused as error:
        served[str(error.module)] = error.served_by
        raise
    except Away as error:
        served[error.module] = ""
        raise
    served[answer.module] = answer.served_by
    return answer.value


def part(call: Callable[P, Answer[Value]], *args: P.args, **kwargs: P.kwargs) -> Value | None:
    """As `ask`, for a part of a page that can do without: None while its module is away."""
    try:
        return ask(call, *args, **kwargs)
    except Away:
        return None


def read_part(call: Callable[P, Answer[Value]], *args: P.args, **kwargs: P.kwargs) -> Value | None:
    """As `part`, in the visitor's name where that shows them more: `call` takes their token by name."""
    kwargs["token"] = _token()
    try:
        return part(call, *args, **kwargs)
    except Refused as error:
        if error.status != 401:
            raise
    kwargs["token"] = ""
    return part(call, *args, **kwargs)


def _token() -> str:
    """The visitor's access token, renewed if it has run out; none for a guest, and when it cannot be renewed."""
    me = visitor()
    if me is None:
        return ""
    if me.expires >= time.time() + EARLY_SECONDS:
        return me.access
    try:
        return _renew(me).access_token
    except PortError:
        return ""


def act(call: Callable[Concatenate[str, P], Answer[Value]], *args: P.args, **kwargs: P.kwargs) -> Value:
    """As `ask`, in the visitor's name: `call` gets their access token first. Raises PortError, 401 for a guest."""
    me = visitor()
    if me is None:
        raise Refused(None, 401, "Please log in first.")
    renewed = me.expires < time.time() + EARLY_SECONDS
    token = _renew(me).access_token if renewed else me.access
    try:
        return ask(call, token, *args, **kwargs)
    except Refused as error:
        if error.status != 401 or renewed:
            raise
    return ask(call, _renew(me).access_token, *args, **kwargs)


def own_profile() -> Me:
    """The visitor's profile, by one call: a renewal answers it too. Raises PortError."""
    me = visitor()
    if me is None:
        raise Refused(None, 401, "Please log in first.")
    if me.expires >= time.time() + EARLY_SECONDS:
        try:
            return ask(port().me, me.access)
        except Refused as error:
            if error.status != 401:
                raise
    return _renew(me).user


def _renew(me: Visitor) -> Tokens:
    try:
        tokens = ask(port().refresh, me.refresh)
    except Refused as error:
        log_out()
        raise Refused(None, 401, "You have been logged out. Please log in again.") from error
    log_in(tokens)
    return tokens


def log_in(tokens: Tokens) -> None:
    """Remember `tokens`: from here on, and in the visitor's cookies from the answer on."""
    g.tokens = tokens
    g.visitor = _read(tokens.access_token, tokens.refresh_token)


def log_out() -> None:
    """Forget the visitor's tokens."""
    g.tokens = None
    g.visitor = None


def keep_tokens(response: Response) -> Response:
    """Put what `log_in` and `log_out` decided into the answer's cookies."""
    if "tokens" not in g:
        return response
    for name in (ACCESS, REFRESH):
        if g.tokens is None:
            response.delete_cookie(name, httponly=True, samesite="Lax", secure=request.is_secure)
        else:
            value = g.tokens.access_token if name == ACCESS else g.tokens.refresh_token
            response.set_cookie(
                name, value, max_age=COOKIE_SECONDS, httponly=True, samesite="Lax", secure=request.is_secure
            )
    return response
