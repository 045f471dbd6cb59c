"""What all views share: rendering, errors, and the ways from one page to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from flask import Response, current_app, g, make_response, redirect, render_template, request, url_for
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from forum import paging
from forum.pages.blueprint import pages
from forum.pages.forms import Form
from forum.pages.fragments import until, whole
from forum.pages.guests import keep
from forum.pages.port import Away, Module, PortError, Refused
from forum.pages.visitor import visitor
from forum.schemas import possible

END = {"at": "end"}


def page(template: str, status: int = 200, **context: Any) -> Response:
    return make_response(_rendered(template, context), status)


def page_of(given: tuple[object, ...], template: str, status: int, context: Callable[[], dict[str, Any]]) -> Response:
    """As `page`, but kept for other guests: it follows from its address and `given`. context: if it has to be made."""
    good_until = until()
    response = make_response(whole(template, given, lambda: _rendered(template, context())), status)
    keep(response, given, good_until)
    return response


def _rendered(template: str, context: dict[str, Any]) -> bytes:
    return render_template(f"pages/{template}", visitor=visitor(), served=served(), **context).encode()


def served() -> dict[str, str]:
    """Who served which part of this answer (`topics/v1@topics-1`); "" for a module that did not answer."""
    kit = current_app.extensions["strangler"]
    found = {"pages": f"{kit.site}/{kit.version}@{kit.instance}", **g.get("served", {})}
    return {part: found[part] for part in ("pages", *get_args(Module)) if part in found}


def again(template: str, form: Form, error: PortError, **context: Any) -> Response:
    """The form once more, with what the visitor typed and what was wrong."""
    response = page(template, form.refuse(error), form=form, **context)
    if isinstance(error, Refused) and error.retry_after:
        response.headers["Retry-After"] = error.retry_after
    return response


def previews() -> bool:
    """Whether the visitor wants to see first what the form will become."""
    return bool(request.form.get("preview"))


def to_login() -> Response:
    """Log in first, then come back here."""
    return go(url_for("pages.login", next=request.full_path.removesuffix("?")))


def go(location: str) -> Response:
    """303: whatever was posted, what follows is a GET."""
    return make_response(redirect(location, 303))


def local(path: str) -> str:
    """`path` if it stays on this site, else the first page: nobody is sent elsewhere by a link to our log-in."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if plain and path.isprintable() else url_for("pages.index")


def position() -> dict[str, str]:
    """Which page of a list this address stands for, to come back to it."""
    if not request.args:
        return {}
    if at_the_end():
        return END
    return {name: request.args[name] for name in ("cursor", "from") if request.args.get(name)}


def at_the_end() -> bool:
    """Whether it is a topic's last page, whichever that is now."""
    return request.args.get("at") == END["at"]


def cursor() -> str | None:
    """The cursor of this address; `from` is the page of a topic that begins with that message."""
    if request.args.get("cursor"):
        return request.args["cursor"]
    first = request.args.get("from", type=int)
    if first is None or first < 1 or not possible(first):
        return None
    return paging.encode("oldest", (first - 1,))


def topic_url(topic_id: int, message_id: int | None = None, where: Mapping[str, str] | None = None) -> str:
    """A topic at the page `where` (see `position`) and, on it, the message."""
    values: dict[str, Any] = {"topic_id": topic_id, **(where or {})}
    return url_for("pages.topic", _anchor=None if message_id is None else f"m{message_id}", **values)


def post_url(topic_id: int) -> str:
    """Where the form for a message goes, with the way back."""
    values: dict[str, Any] = {"topic_id": topic_id, **position()}
    return url_for("pages.post_message", **values)


ERRORS = {
    404: ("Not here", "There is no such page."),
    405: ("Not here", "That cannot be done at this address."),
    413: ("Too long", "That is too much text for one form. Go back to find it again."),
    500: ("Our fault", "Something went wrong here. It has been logged."),
}


def error_page(error: HTTPException) -> Response:
    status = error.code or 500
    title, text = ERRORS.get(status, (error.name, str(error.description)))
    return page("error.html", status, title=title, text=text)


@pages.errorhandler(CSRFError)
def on_forged_form(_: CSRFError) -> Response:
    text = "This form is no longer good. Please go back, reload the page and send it again."
    return page("error.html", 400, title="Once more, please", text=text)


pages.register_error_handler(HTTPException, error_page)


@pages.errorhandler(PortError)
def on_port_error(error: PortError) -> Response:
    """The one thing that a page is about could not be had."""
    if error.status == 401:
        return to_login()
    title = "Not right now" if isinstance(error, Away) else "Not here" if error.status == 404 else "That did not work"
    response = page("error.html", error.status, title=title, text=f"{error}".rstrip(".") + ".")
    if isinstance(error, Away):
        response.headers["Retry-After"] = "2"
    return response
