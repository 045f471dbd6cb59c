"""Any path leads to the owner (DESIGN, section 3): two small applications, one at each site, on raw psycopg."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
import requests
from flask import Flask, Response, abort, g, jsonify, request
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, make_server

from strangler import flask as facade
from strangler import handover
from strangler.config import Config
from strangler.fence import SQLSTATE, is_fenced
from strangler.flask import Strangler
from strangler.forward import EPOCH_HEADER, HEADER, Forwarder
from tests.kit.conftest import Shop
from tests.servers import free_port


def application(config: Config, site: str, before_write: Callable[[], None]) -> Flask:
    app = Flask(site)

    def session() -> psycopg.Connection[Any]:
        if "db" not in g:
            g.db = psycopg.connect(config.sites[site].dsn)
        return g.db  # type: ignore[no-any-return]

    @app.teardown_appcontext
    def close(_: BaseException | None) -> None:
        if "db" in g:
            g.db.close()

    Strangler().init_app(app, site=site, session=session, config=config)

    @app.get("/items/<int:number>")
    def read(number: int) -> Any:
        row = session().execute("SELECT name FROM items WHERE id = %s", (number,)).fetchone()
        return (jsonify(name=row[0]), 200) if row else (jsonify(title="Not Found"), 404)

    @app.post("/items")
    def write() -> Any:
        name = request.get_json()["name"]
        before_write()
        row = session().execute("INSERT INTO items (name) VALUES (%s) RETURNING id", (name,)).fetchone()
        session().commit()
        assert row is not None
        return Response(str(row[0]), 201, {"X-Echo": request.headers.get("X-Mine", "")})

    return app


def elsewhere(config: Config) -> Flask:
    """An application of a third site, which has nothing to do with the module, but has a path below its routes."""
    app = Flask("elsewhere")
    strangler = Strangler()
    strangler.init_app(app, site="elsewhere", session=lambda: None, config=config)

    @app.get("/items/own")
    def own() -> str:
        return "my own"

    return app


@dataclass
class Town:
    shop: Shop
    url: dict[str, str]
    config: Config
    before_write: Callable[[], None] = field(default=lambda: None)
    servers: dict[str, BaseWSGIServer] = field(default_factory=dict)

    def stop(self, site: str) -> None:
        self.servers[site].shutdown()
        self.servers[site].server_close()

    def served_by(self, site: str, number: int = 1) -> str:
        answer = requests.get(f"{self.url[site]}/items/{number}", timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.headers["X-Served-By"].partition("/")[0]

    def post(self, site: str, name: str, **headers: str) -> requests.Response:
        return requests.post(f"{self.url[site]}/items", json={"name": name}, headers=headers, timeout=30)


@pytest.fixture
def town(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    monkeypatch.setenv("STRANGLER_SECRET", "s" * 32)
    monkeypatch.setattr(facade, "WAIT_SECONDS", 3.0)
    ports = {site: free_port() for site in (*shop.dsn, "elsewhere")}
    url = {site: f"http://127.0.0.1:{port}" for site, port in ports.items()}
    data = shop.config.model_dump(by_alias=True)
    for site in url:
        data["sites"].setdefault(site, {})["url"] = url[site]
    one = Town(shop, url, Config.model_validate(data))
    applications = {site: application(one.config, site, lambda: one.before_write()) for site in shop.dsn}
    applications["elsewhere"] = elsewhere(one.config)
    for site, app in applications.items():
        one.servers[site] = make_server("127.0.0.1", ports[site], app, threaded=True)
        threading.Thread(target=one.servers[site].serve_forever, daemon=True).start()
    yield one
    for site in one.servers:
        one.stop(site)


def test_before_any_move_the_source_serves_whoever_is_asked(town: Town) -> None:
    assert town.served_by("monolith") == town.served_by("stock") == "monolith"


def test_both_sites_lead_to_the_owner_through_switch_reverse_and_cancel(town: Town) -> None:
    move = town.shop.move()
    move.create()
    for verb, owner in (("create", "monolith"), ("switch", "stock"), ("reverse", "monolith"), ("cancel", "monolith")):
        getattr(move, verb)()
        for site in town.url:  # elsewhere, too: where a gateway may believe to find one of the two for a moment
            assert town.served_by(site) == owner
            answer = town.post(site, f"{verb}-{site}", **{"X-Mine": "kept"})
            assert (answer.status_code, answer.headers["X-Echo"]) == (201, "kept")
            assert ("Via" in answer.headers) == (site != owner)
            assert town.shop.run(owner, "SELECT name FROM items WHERE id = %s", (answer.text,)) == [(f"{verb}-{site}",)]


def test_a_site_that_has_nothing_to_do_with_the_module_serves_what_it_has_itself(town: Town) -> None:
    assert requests.get(f"{town.url['elsewhere']}/items/own", timeout=30).text == "my own"
    assert requests.get(f"{town.url['elsewhere']}/nothing", timeout=30).status_code == 404


def test_it_passes_nothing_on_that_was_handed_to_it(town: Town) -> None:
    """Whoever did so waits and asks again, as long as it may."""
    forwarded = {HEADER: Forwarder("s" * 32)._serializer.dumps(["stock", 0])}
    answer = requests.get(f"{town.url['elsewhere']}/items/1", headers=forwarded, timeout=30)
    assert (answer.status_code, answer.headers[EPOCH_HEADER]) == (421, "0")


def test_it_says_so_when_neither_site_answers(town: Town) -> None:
    for site in ("monolith", "stock"):
        town.stop(site)
    answer = requests.get(f"{town.url['elsewhere']}/items/1", timeout=30)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_it_asks_the_other_site_when_nobody_is_behind_the_first(town: Town) -> None:
    town.stop("stock")
    assert town.served_by("elsewhere") == "monolith"


def test_who_does_not_know_the_sites_knows_no_such_path(town: Town) -> None:
    data = town.config.model_dump(by_alias=True)
    data["sites"]["monolith"]["url"] = "${NOBODY_HAS_SET_THIS}"
    client = elsewhere(Config.model_validate(data)).test_client()
    assert client.get("/items/1").status_code == 404


def test_what_was_acknowledged_is_read_back_at_once_on_either_path(town: Town) -> None:
    move = town.shop.move()
    move.create()
    for number in range(6):
        (move.switch if number % 2 == 0 else move.reverse)()
        for site, other in (("monolith", "stock"), ("stock", "monolith")):
            answer = town.post(site, f"n{number}-{site}")
            assert answer.status_code == 201
            seen = requests.get(f"{town.url[other]}/items/{answer.text}", timeout=30)
            assert seen.json() == {"name": f"n{number}-{site}"}


def test_a_request_that_began_before_the_switch_goes_over_to_the_new_owner(town: Town) -> None:
    move = town.shop.move()
    move.create()
    once = iter([move.switch])

    def switch_now() -> None:
        for verb in once:
            verb()

    town.before_write = switch_now
    answer = town.post("monolith", "in flight")
    assert answer.status_code == 201
    assert answer.headers["X-Served-By"].startswith("stock/")
    assert town.shop.run("stock", "SELECT id FROM items WHERE name = 'in flight'") == [(int(answer.text),)]


def test_a_site_that_is_told_of_a_newer_epoch_waits_for_its_row(town: Town) -> None:
    move = town.shop.move()
    move.create()
    town.shop.run("stock", "ALTER SUBSCRIPTION strangler_stock_forward DISABLE")
    # the switch as the source commits it, while the row cannot travel
    switch = handover._prepare(move, "switch", move.source, move.target, frozenset())
    move.raise_fences(move.source)
    assert switch(1, 300)["epoch"] == 2
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(town.post("monolith", "patient")))
    thread.start()
    refused = town.post("stock", "too late")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    thread.join()
    assert answers[0].status_code == 503
    assert town.shop.run("monolith", "SELECT count(*) FROM items WHERE name IN ('patient', 'too late')") == [(0,)]
    town.shop.run("stock", "ALTER SUBSCRIPTION strangler_stock_forward ENABLE")
    move.switch()
    assert town.post("monolith", "patient").status_code == 201


def test_a_forwarded_request_is_not_forwarded_again(town: Town) -> None:
    move = town.shop.move()
    move.create()
    move.switch()
    header = Forwarder("s" * 32)._serializer.dumps(["stock", 1])
    answer = town.post("monolith", "loop", **{HEADER: header})
    assert (answer.status_code, answer.headers[EPOCH_HEADER]) == (421, "2")


@pytest.mark.parametrize("header", ["", "rubbish", "[]", '["stock", 99999].forged'])
def test_nobody_outside_can_make_a_site_wait_or_refuse(town: Town, header: str) -> None:
    assert town.post("stock", "fine", **{HEADER: header}).status_code == 201


def test_owner_away_is_a_bounded_503_and_nothing_half_done(town: Town) -> None:
    move = town.shop.move()
    move.create()
    move.switch()
    town.config.sites["stock"].__dict__["raw_url"] = f"http://127.0.0.1:{free_port()}"  # nobody listens there
    answer = town.post("monolith", "nobody home")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert town.shop.run("stock", "SELECT count(*) FROM items WHERE name = 'nobody home'") == [(0,)]


def test_without_the_facade_a_stale_path_fails(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the fence alone keeps the data right, but the request fails and the read is stale."""
    monkeypatch.setattr(Strangler, "_enter", lambda *_: None)
    move = town.shop.move()
    move.create()
    move.switch()
    assert town.post("monolith", "lost way").status_code == 500
    town.shop.run("stock", "UPDATE items SET name = 'new' WHERE id = 1")
    assert town.served_by("monolith") == "monolith"


def test_health_tells_version_and_what_is_owned(town: Town) -> None:
    move = town.shop.move()
    move.create()
    move.switch()
    town.served_by("stock")
    assert requests.get(f"{town.url['stock']}/livez", timeout=5).json()["owns"] == {"stock": 2}
    ready = requests.get(f"{town.url['monolith']}/readyz", timeout=5)
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")
    assert ready.headers["X-Served-By"].startswith("monolith/v1@")


def test_health_stands_before_what_an_application_asks_of_everybody() -> None:
    app = Flask("guarded")
    app.before_request(lambda: ("who are you?", 401))
    app.add_url_rule("/alive", "livez", lambda: "its own")
    Strangler().init_app(app, site="guarded")
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/livez", "/readyz", "/alive")] == [200, 200, 401]


def test_the_fence_is_known_by_any_driver_and_behind_the_errors_of_a_view() -> None:
    class Psycopg2(Exception):  # noqa: N818
        pgcode = SQLSTATE

    wrapped = DBAPIError("INSERT", {}, Psycopg2())
    assert is_fenced(wrapped)

    def view() -> None:
        try:
            raise wrapped
        except DBAPIError:
            abort(500)

    with pytest.raises(HTTPException) as raised:
        view()
    assert is_fenced(raised.value)
    assert not is_fenced(KeyError("anything"))


def test_an_owner_that_takes_its_time_is_waited_for() -> None:
    """urllib3.Timeout begins with a total, which would end every request after the time to connect."""
    timeout = Forwarder("s" * 32, connect_seconds=1, read_seconds=30)._pool.connection_pool_kw["timeout"]
    assert (timeout.total, timeout.connect_timeout, timeout.read_timeout) == (None, 1, 30)
