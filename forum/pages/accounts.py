"""Registering, logging in and out, profiles."""

from __future__ import annotations

from flask import Response, flash, request, url_for

from forum.pages.blueprint import pages
from forum.pages.forms import Form
from forum.pages.port import PortError, Refused
from forum.pages.views import again, go, local, page, to_login
from forum.pages.visitor import act, ask, log_in, log_out, own_profile, port, visitor
from forum.schemas import Credentials, ProfileChange, Registration


@pages.get("/users/<page_id:user_id>")
def profile(user_id: int) -> Response:
    return page("profile.html", user=ask(port().user, user_id))


@pages.get("/register")
def register() -> Response:
    return page("register.html", form=Form())


@pages.post("/register")
def create_account() -> Response:
    form = Form.sent("username", "email", "display_name", "password")
    try:
        account = form.read(
            Registration, username=form["username"], email=form["email"], password=form["password"],
            display_name=form["display_name"] or None,
        )  # fmt: skip
        ask(port().register, account, form.key)
    except PortError as error:
        return again("register.html", form, error)
    try:
        log_in(ask(port().log_in, Credentials(username=account.username, password=account.password)))
    except PortError:
        flash("Welcome! Your account is ready; please log in.")
        return go(url_for("pages.login"))
    flash(f"Welcome, {account.username}!")
    return go(url_for("pages.index"))


@pages.get("/login")
def login() -> Response:
    return page("login.html", form=Form(next=request.args.get("next", "")))


@pages.post("/login")
def start_session() -> Response:
    form = Form.sent("username", "password", "next")
    try:
        wanted = form.read(Credentials, username=form["username"], password=form["password"])
        log_in(ask(port().log_in, wanted))
    except PortError as error:
        return again("login.html", form, error)
    return go(local(form["next"]))


@pages.post("/logout")
def end_session() -> Response:
    """The tokens are forgotten here in any case; the session ends at the other side too, if that can be reached."""
    me = visitor()
    try:
        if me is not None:
            act(port().log_out)
    except PortError:
        flash("You are logged out on this device. The session itself could not be ended right now.")
    else:
        flash("You are logged out.")
    log_out()
    return go(url_for("pages.index"))


@pages.get("/settings")
def settings() -> Response:
    if not visitor():
        return to_login()
    me = own_profile()
    return page("settings.html", form=Form(display_name=me.display_name, bio=me.bio))


@pages.post("/settings")
def change_settings() -> Response:
    form = Form.sent("display_name", "bio")
    me = visitor()
    if me is None:
        return to_login()
    try:
        change = form.read(ProfileChange, **form.values)
        act(port().change_profile, me.id, change, form.key)
    except PortError as error:
        return again("settings.html", form, error)
    flash("Your profile is saved.")
    return go(url_for("pages.profile", user_id=me.id))


@pages.get("/settings/email")
def email() -> Response:
    if not visitor():
        return to_login()
    return page("email.html", form=Form(email=own_profile().email))


@pages.post("/settings/email")
def change_email() -> Response:
    return _change_secret("email", "Your e-mail address is changed.")


@pages.get("/settings/password")
def password() -> Response:
    return page("password.html", form=Form()) if visitor() else to_login()


@pages.post("/settings/password")
def change_password() -> Response:
    return _change_secret("password", "Your password is changed. Wherever else you were logged in, you no longer are.")


def _change_secret(field: str, done: str) -> Response:
    """What only the current password changes."""
    form = Form.sent(field, "current_password")
    me = visitor()
    if me is None:
        return to_login()
    try:
        act(port().change_profile, me.id, form.read(ProfileChange, **form.values), form.key)
    except PortError as error:
        return again(f"{field}.html", form, error)
    flash(done)
    return go(url_for("pages.settings"))


@pages.get("/settings/delete")
def ask_delete_account() -> Response:
    if not visitor():
        return to_login()
    return page("delete.html", what="account", form=Form(), back=url_for("pages.settings"))


@pages.post("/settings/delete")
def delete_account() -> Response:
    """By who knows the password: a device that was left logged in is not enough."""
    form = Form.sent("password")
    me = visitor()
    if me is None:
        return to_login()
    try:
        _prove(me.name, form)
        act(port().delete_user, me.id, form.key)
    except PortError as error:
        return again("delete.html", form, error, what="account", back=url_for("pages.settings"))
    log_out()
    flash("Your account is deleted. Your posts stay, without your name.")
    return go(url_for("pages.index"))


def _prove(username: str, form: Form) -> None:
    """Raises PortError when the form's password is not the user's."""
    try:
        ask(port().log_in, form.read(Credentials, username=username, password=form["password"]))
    except Refused as error:
        if error.status != 401:
            raise
        raise Refused(None, 403, "", {"password": "This is not your password."}) from None
