"""/api/sessions and the key set: log in, refresh, log out.

A refresh token is used once and replaced (RFC 9700, 4.14.2). The old one stays good for a short while, for the client
that did not get the answer; used later, it was stolen from somebody, and the whole family is revoked.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID, uuid4

from flask import Blueprint, Response, jsonify
from sqlalchemy import Text, func, select, update

from forum import schemas
from forum.application import db, part, resources
from forum.client_address import client_address
from forum.passwords import Passwords
from forum.payload import answer, body, no_content
from forum.problems import unauthorized
from forum.settings import IssuerSettings
from forum.throttle import Throttle
from forum.tokens import Identity, Issuer, authenticated, identity
from services.users.models import Session, User

blueprint = Blueprint("sessions", __name__)


@blueprint.post("/api/sessions")
def log_in() -> Response:
    given = body(schemas.Credentials)
    passwords, throttle, address = part(Passwords), part(Throttle), client_address()
    throttle.check(given.username, address)
    user = db().scalar(select(User).where(func.lower(User.username) == given.username.lower()))
    proven = user.password_hash if user else None
    if not passwords.verify(proven, given.password) or user is None:
        throttle.failed(given.username, address)
        raise unauthorized("Wrong username or password.")
    outdated = passwords.hash(given.password) if passwords.outdated(user.password_hash) else None
    # Verifying takes long: the password may have been changed meanwhile, which ends all sessions but one.
    now = select(User.password_hash).where(User.id == user.id).with_for_update(read=True, key_share=True)
    if db().scalar(now) != proven:
        raise unauthorized("Wrong username or password.")
    if outdated:
        user.password_hash = outdated
    return _issue(user, uuid4(), 201)


@blueprint.post("/api/sessions/refresh")
def refresh() -> Response:
    token = Session.token_hash == _hash(body(schemas.Refresh).refresh_token)
    # The user first, then the session, as whoever ends a user's sessions does: then nobody adds one meanwhile.
    theirs = select(User).join(Session, Session.user_id == User.id).where(token)
    user = db().scalar(theirs.with_for_update(read=True, key_share=True, of=User))
    session = db().scalar(select(Session).where(token).with_for_update())
    now = datetime.now(UTC)
    if user is None or session is None or session.revoked_at is not None or session.expires_at <= now:
        raise unauthorized("The refresh token is not valid. Log in again.")
    if session.rotated_at is None:
        session.rotated_at = now
    elif now - session.rotated_at > timedelta(seconds=_settings().refresh_grace_seconds):
        _revoke(session.family)
        db().commit()
        raise unauthorized("The refresh token was used before. Log in again.")
    return _issue(user, session.family, 200)


@blueprint.delete("/api/sessions/current")
@authenticated
def log_out() -> Response:
    try:
        _revoke(UUID(identity().session))
    except ValueError:
        raise unauthorized("The token is not valid.") from None
    db().commit()
    return no_content()


@blueprint.get("/.well-known/jwks.json")
def jwks() -> Response:
    return jsonify(part(Issuer).jwks)


def _issue(user: User, family: UUID, status: int) -> Response:
    """A new pair of tokens; the access token only after the refresh token is in the database."""
    refresh_token = secrets.token_urlsafe(32)
    expires_at = datetime.now(UTC) + timedelta(days=_settings().refresh_days)
    db().add(Session(user_id=user.id, token_hash=_hash(refresh_token), family=family, expires_at=expires_at))
    db().commit()
    tokens = schemas.Tokens(
        access_token=part(Issuer).issue(Identity(user.id, user.username, user.role, str(family))),
        expires_in=part(Issuer).seconds,
        refresh_token=refresh_token,
        user=schemas.Me.model_validate(user),
    )
    response = answer(tokens, status)
    response.headers["Cache-Control"] = "no-store"
    return response


def end_others() -> None:
    """End every session of this request's user but the one it belongs to. The user's row must be locked.

    Access tokens that are out already stay good for the rest of their short life.
    """
    others = (Session.user_id == identity().id) & (Session.family.cast(Text) != identity().session)
    db().execute(update(Session).where(others & Session.revoked_at.is_(None)).values(revoked_at=func.now()))


def _revoke(family: UUID) -> None:
    live = (Session.family == family) & Session.revoked_at.is_(None)
    db().execute(update(Session).where(live).values(revoked_at=func.now()))


def _hash(token: str) -> str:
    """Tokens are random, so a plain digest keeps them: there is nothing to guess."""
    return hashlib.sha256(token.encode()).hexdigest()


def _settings() -> IssuerSettings:
    return cast(IssuerSettings, resources().settings)
