"""The Flask side of the kit: the facade, health, drain and who-served-it, as one extension.

    strangler = Strangler()
    strangler.init_app(app, site="users", session=db.session)

The facade makes any path lead to the owner. For each request under a module's routes it first looks at the ownership
row: at the owner the view runs, elsewhere the whole request is handed to the
owner. A view that meets the fence, because its request began before a switch, is rolled back and handed over likewise.
For that a view must write in one transaction, raise when the database refuses (the fence's error, or one of its own),
and do nothing outside the database before it has committed.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, request, request_started

from strangler import drain
from strangler.config import Config, Module, load, variable
from strangler.errors import StranglerError
from strangler.fence import SERIALIZATION_FAILURE, is_fenced, sqlstate
from strangler.forward import EPOCH_HEADER, MISDIRECTED, Forwarder, UnreachableError
from strangler.measured import APPLICATION, REQUESTS, called
from strangler.ownership import Ownership, OwnershipReader, is_idle

WAIT_SECONDS = 10.0
"""How long a request waits for an ownership row on its way, or for the owner to be reachable, before it gets a 503."""
POLL_SECONDS = 0.002, 0.05
"""First and longest pause between two looks at a row that is on its way."""
REDISPATCHES = 5
HEALTH = {"strangler_livez", "strangler_readyz"}
"""Endpoints. An application may have a `livez` of its own."""
READS = {"GET", "HEAD"}
UNMEASURED = {*HEALTH, "metrics"}
"""Nobody's requests but the machinery's."""


class Strangler:
    """One for each application.

    `session` is the scoped_session (`db.session` of Flask-SQLAlchemy) or the sessionmaker that the views use, or a
    callable that gives the request's Session or psycopg connection; None for an application that owns nothing.
    `reading` is a callable too, for what the views of GET and HEAD read by, where that is another.
    """

    def __init__(self) -> None:
        self.version = os.environ.get("VERSION", "v1")
        self.instance = os.environ.get("INSTANCE") or socket.gethostname()
        self.seen: dict[str, Ownership] = {}
        self._config = Config(sites={}, modules={})
        self._reader = OwnershipReader()

    def init_app(
        self, app: Flask, site: str, session: Any = None, config: Config | None = None, reading: Any = None
    ) -> None:
        """Install the facade in `app`. Raises StranglerError when configuration or secret is missing."""
        self.site = site
        self._session = _for_a_request(app, session)
        self._reading = reading
        self._shared = self._session is session and hasattr(session, "registry")  # a scoped_session of the views'
        self.modules: dict[str, Module] = {}
        if session is not None:
            self._config = config or load()
            self.modules = {m.name: m for m in self._config.modules.values() if site in (m.source, m.target)}
            secret = variable("STRANGLER_SECRET")
            if not secret:
                raise StranglerError("STRANGLER_SECRET is not set; every site needs the same long random string")
            self._forwarder = Forwarder(secret)
        app.extensions["strangler"] = self
        # First of all: at a site that does not own the module nothing else may look at the request.
        app.before_request_funcs.setdefault(None, []).insert(0, self._before)
        app.after_request(self._sign)
        app.after_request(self._measure)
        request_started.connect(self._begin, app, weak=False)
        APPLICATION.labels(site, self.version, self.instance).set(1)
        app.add_url_rule("/livez", "strangler_livez", self._livez)
        app.add_url_rule("/readyz", "strangler_readyz", self._readyz)
        # Before all error handlers of the application: they know nothing of the fence.
        self._handle = app.handle_user_exception
        app.handle_user_exception = self._on_error  # type: ignore[assignment, method-assign]

    def owns(self, module: str) -> bool:
        """Whether this site owns `module`, as the current transaction sees it."""
        return self.ownership(module).owner == self.site

    def ownership(self, module: str) -> Ownership:
        """The module's ownership row, read in the current transaction."""
        known = self.modules.get(module)
        if known is None:
            return Ownership("", 0)
        self.seen[module] = self._reader.read(self.session, known)
        return self.seen[module]

    def owned(self, session: Any) -> set[str]:
        """The modules that this site owns, by one look in the current transaction of `session`, which may be any."""
        found = self._reader.read_all(session, self.modules.values())
        self.seen.update(found)
        return {name for name, own in found.items() if own.owner == self.site}

    def module_of(self, path: str) -> str | None:
        """The module of this site that a request's path leads to."""
        found = self._config.module_of(path)
        return found.name if found and found.name in self.modules else None

    def answered(self, module: str, status: int, seconds: float) -> None:
        """Measure a request that took so long; "" for the module when it was for none."""
        REQUESTS.labels(self.site, module, status).observe(seconds)

    @property
    def signature(self) -> str:
        """Who answers here: X-Served-By."""
        return f"{self.site}/{self.version}@{self.instance}"

    @property
    def session(self) -> Any:
        """The request's session or connection."""
        given = self._reading if self._reading and request and request.method in READS else self._session
        return given() if callable(given) else given

    def _look(self, module: str) -> Ownership:
        """The ownership row. With a scoped_session in the very transaction in which the view goes on.

        Otherwise no transaction is left open that was not before: in one `with Session.begin()` would fail and
        psycopg's `with connection.transaction()` not commit. What a view reads in its own can only be newer than the
        row; but nobody can tell then how long a request goes on that has seen it (`cancel` waits some seconds).
        """
        session = self.session
        idle = is_idle(session)
        own = self.ownership(module)
        if idle and not self._shared:
            session.commit()
        return own

    # --- the facade -------------------------------------------------------------------------------------------------

    def _before(self) -> Any:
        if request.endpoint in HEALTH:  # nothing of the application's, such as a login, stands before these
            return current_app.view_functions[request.endpoint]()
        module = self._config.module_of(request.path)
        if module is None:
            return None
        if module.name not in self.modules:
            return None if request.url_rule else self._pass_on(module)
        request.get_data(cache=True)  # so that the body can still be sent on after the view has read it
        g.strangler_module = module
        return self._enter(module)

    def _pass_on(self, module: Module) -> Response | None:
        """For a request that is altogether wrong here: to the owner, too, which its other site knows.

        A gateway that has looked up a server's address just before it was given to another's asks us for that one's.
        """
        if self._forwarder.told(request, module.name) is not None:
            return self._misdirected(f"{self.site} has no {module.name}", 0)
        sites = module.target, module.source
        try:
            _ = [self._config.sites[site].url for site in sites]
        except StranglerError:
            return None  # nobody has said where they are: then it is not here, and that is all
        for pause in _pauses():
            refused = None
            for site in sites:
                answer = self._ask(module, site, 0)
                if answer is None or answer.status_code == MISDIRECTED:
                    continue
                if answer.status_code != 503:
                    return answer
                refused = answer  # perhaps by a gateway before a site that has nobody
            if refused is not None:
                return refused
            time.sleep(pause)
        return self._unavailable(f"the owner of {module.name} cannot be reached")

    def _enter(self, module: Module) -> Response | None:
        """None when this site owns the module, else the answer to give."""
        forwarded = self._forwarder.told(request, module.name)
        told = forwarded or 0
        for pause in _pauses():
            own = g.strangler_ownership = self._look(module.name)
            if own.owner == self.site and own.epoch >= told:
                return None
            self.session.rollback()
            if own.epoch >= told:
                if forwarded is not None:
                    return self._misdirected(f"{module.name} is owned by {own.owner}", own.epoch)
                answer = self._ask(module, own.owner, own.epoch)
                if answer is not None:
                    if answer.status_code != MISDIRECTED:
                        return answer
                    told = max(told, int(answer.headers.get(EPOCH_HEADER, 0)))
            time.sleep(pause)
        return self._unavailable(f"the owner of {module.name} ({own.owner}) cannot be reached")

    def _ask(self, module: Module, site: str, epoch: int) -> Response | None:
        """What `site` answers to this request; None when it has certainly not had it."""
        try:
            with called(self.site, module.name, "forward") as call:
                answer = self._forwarder.send(request, self._config.sites[site].url, module.name, epoch)
                call.status = answer.status_code
        except UnreachableError as error:
            return self._unavailable(f"{site} gave no answer") if error.sent else None
        if answer.status_code != MISDIRECTED:
            answer.headers.add("Via", f"1.1 {self.instance}")
        return answer

    def _on_error(self, error: Exception) -> Any:
        """The fence, met by a request that began before a switch: roll back and go where the owner is now.

        Any other error is the application's.
        """
        module: Module | None = g.get("strangler_module")
        before: Ownership | None = g.get("strangler_ownership")
        if module is None or before is None:
            return self._handle(error)
        for _ in range(REDISPATCHES):
            if not is_fenced(error) and sqlstate(error) != SERIALIZATION_FAILURE:
                break
            self.session.rollback()
            # Under REPEATABLE READ the fence shows as a serialization failure; one without a switch is the
            # application's own to repeat.
            if not is_fenced(error) and self._look(module.name) == before:
                break
            answer = self._enter(module)
            if answer is not None:
                return answer
            try:
                return current_app.dispatch_request()
            except Exception as again:
                error = again
        return self._handle(error)

    def _misdirected(self, detail: str, epoch: int) -> Response:
        answer = _problem(MISDIRECTED, "Misdirected Request", detail)
        answer.headers[EPOCH_HEADER] = str(epoch)
        return answer

    def _unavailable(self, detail: str) -> Response:
        answer = _problem(503, "Service Unavailable", detail)
        answer.headers["Retry-After"] = "1"
        return answer

    # --- health and who served --------------------------------------------------------------------------------------

    def _sign(self, response: Response) -> Response:
        response.headers.setdefault("X-Served-By", self.signature)
        return response

    @staticmethod
    def _begin(_app: Flask, **_: object) -> None:
        g.strangler_began = time.perf_counter()

    def _measure(self, response: Response) -> Response:
        if request.endpoint not in UNMEASURED:
            module = g.get("strangler_module")
            taken = time.perf_counter() - g.strangler_began
            self.answered(module.name if module else "", response.status_code, taken)
        return response

    def _state(self) -> dict[str, object]:
        owned = {name: own.epoch for name, own in self.seen.items() if own.owner == self.site}
        return {"site": self.site, "version": self.version, "instance": self.instance, "owns": owned}

    def _livez(self) -> Response:
        """This process works. Asks no database."""
        return jsonify(status="ok", **self._state())

    def _readyz(self) -> tuple[Response, int]:
        """This process should get traffic: it is not draining, and it has reached its database once.

        Only once, because a slow database would otherwise take every replica out of the gateway at the same time.
        """
        if drain.draining():
            return jsonify(status="draining", **self._state()), 503
        try:
            for name in self.modules:
                if name not in self.seen:
                    self._look(name)
        except Exception as error:
            current_app.logger.warning("not ready: %s", error)
            return jsonify(status="database not reached yet", **self._state()), 503
        return jsonify(status="ok", **self._state()), 200


def _for_a_request(app: Flask, session: Any) -> Any:
    """`session`; of a sessionmaker, which makes a new one at every call, one for each request."""
    try:
        from sqlalchemy.orm import scoped_session, sessionmaker
    except ImportError:
        return session
    if not isinstance(session, sessionmaker):
        return session
    scoped = scoped_session(session)
    app.teardown_appcontext(lambda _: scoped.remove())
    return scoped


def _pauses() -> Iterator[float]:
    """Between the looks of a request that waits for an owner, in s."""
    deadline = time.monotonic() + WAIT_SECONDS
    pause, longest = POLL_SECONDS
    while True:
        yield pause
        if time.monotonic() > deadline:
            return
        pause = min(pause * 1.5, longest)


def _problem(status: int, title: str, detail: str) -> Response:
    answer = jsonify(type="about:blank", title=title, status=status, detail=detail)
    answer.status_code = status
    answer.mimetype = "application/problem+json"
    return answer
