"""/api/users: register, profiles, edit, delete."""

from __future__ import annotations

from flask import Blueprint, Response, g, request
from psycopg.errors import UniqueViolation
from sqlalchemy import Select, delete, func, select
from sqlalchemy.exc import IntegrityError

from forum import schemas
from forum.application import db, part
from forum.events import emit
from forum.idempotency import ANONYMOUS, idempotent
from forum.passwords import Passwords
from forum.payload import answer, body, no_content, query
from forum.problems import Problem, forbidden, invalid, not_found, unauthorized
from forum.throttle import Throttle
from forum.tokens import authenticated, identity
from monolith.models import User, users_idempotency
from monolith.sessions import end_others

blueprint = Blueprint("users", __name__, url_prefix="/api/users")


def _hash_password() -> None:
    """Before the transaction writes: hashing is slow on purpose, and a switch waits for who has written."""
    g.password_hash = part(Passwords).hash(body(schemas.Registration).password)


@blueprint.post("")
@idempotent(users_idempotency, prepare=_hash_password)
def register() -> Response:
    new = body(schemas.Registration)
    user = User(
        username=new.username,
        display_name=new.display_name or new.username,
        email=new.email,
        bio=new.bio,
        password_hash=g.password_hash,
    )
    db().add(user)
    _flush()
    return answer(schemas.Me.model_validate(user), 201, f"/api/users/{user.id}")


@blueprint.get("")
def listing() -> Response:
    """Profiles by `ids`, those that exist; or the one of `username`."""
    asked = query(schemas.UsersQuery)
    if (asked.ids is None) == (asked.username is None):
        raise invalid("ids", "ask for either ids (1,2,3) or username")
    users = db().scalars(_wanted(asked)).all()
    return answer(schemas.Items[schemas.User](items=[schemas.User.model_validate(user) for user in users]))


def _wanted(asked: schemas.UsersQuery) -> Select[User]:
    if asked.username is not None:
        return select(User).where(func.lower(User.username) == asked.username.lower())
    ids = {id for id in asked.ids or () if schemas.possible(id)}
    return select(User).where(User.id.in_(ids)).order_by(User.id)


@blueprint.get("/<id:user_id>")
def profile(user_id: int) -> Response:
    user = db().get(User, user_id)
    if user is None:
        raise not_found("user")
    return answer(schemas.User.model_validate(user))


@blueprint.get("/me")
@authenticated
def me() -> Response:
    user = db().get(User, identity().id)
    if user is None:
        raise unauthorized("This account is gone.")
    return answer(schemas.Me.model_validate(user))


def _check_password() -> None:
    """Before the transaction writes, as above. Whoever changes e-mail or password knows the current password."""
    g.proven = g.password_hash = None
    change = body(schemas.ProfileChange)
    user = db().get(User, identity().id)
    if not change.needs_password or user is None or user.id != (request.view_args or {})["user_id"]:
        return
    if "current_password" not in change.model_fields_set:
        raise invalid("current_password", "is needed to change the e-mail address or the password")
    throttle, passwords = part(Throttle), part(Passwords)
    throttle.check(user.username)
    if not passwords.verify(user.password_hash, change.current_password):
        throttle.failed(user.username)
        raise _wrong_password()
    g.proven = user.password_hash
    g.password_hash = passwords.hash(change.password) if change.password else None


def _wrong_password() -> Problem:
    detail = "This is not the current password."
    return Problem(403, detail, errors=[{"field": "current_password", "message": detail}])


@blueprint.patch("/<id:user_id>")
@authenticated
@idempotent(users_idempotency, prepare=_check_password)
def edit(user_id: int) -> Response:
    """A new password ends the user's other sessions."""
    change = body(schemas.ProfileChange)
    user = db().get(User, user_id, with_for_update=True)
    if user is None:
        raise not_found("user")
    if user.id != identity().id:
        raise forbidden("Only its owner may edit a profile.")
    if change.needs_password and user.password_hash != g.proven:
        raise _wrong_password()  # changed since it was verified
    changes = {name: value for name, value in change.changes().items() if name in ("display_name", "bio", "email")}
    if g.password_hash:
        changes["password_hash"] = g.password_hash
        end_others()
    if changes:
        for field, value in {**changes, "updated_at": func.now()}.items():
            setattr(user, field, value)
        _flush()
        emit(db(), "user.updated", {"user_id": user_id})
        db().refresh(user)
    return answer(schemas.Me.model_validate(user))


@blueprint.delete("/<id:user_id>")
@authenticated
@idempotent(users_idempotency)
def remove(user_id: int) -> Response:
    """The user's topics and messages stay and lose their author, by the event, wherever they are.

    What was answered to the user goes too, for it holds their name and address; not yet what this request will be.
    """
    user = db().get(User, user_id, with_for_update=True)
    if user is None:
        raise not_found("user")
    if user.id != identity().id and not identity().is_moderator:
        raise forbidden("Only its owner or a moderator may delete an account.")
    db().delete(user)
    db().flush()
    kept = users_idempotency.c
    registered = (kept.scope == ANONYMOUS) & (kept.body["id"].astext == str(user_id))
    theirs = kept.status.is_not(None) & ((kept.scope == str(user_id)) | registered)
    db().execute(delete(users_idempotency).where(theirs))
    emit(db(), "user.deleted", {"user_id": user_id})
    return no_content()


def _flush() -> None:
    """Send the changes; a name or address that somebody else has is refused."""
    try:
        db().flush()
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        taken = "email" if error.orig.diag.constraint_name == "users_email_key" else "username"
        detail = f"This {taken} is taken."
        raise Problem(409, detail, errors=[{"field": taken, "message": detail}]) from None
