"""Facade: what it adds to a request that is served where it arrives: two gunicorns, one with it, asked in turns."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from flask import Flask, jsonify
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

from strangler.flask import Strangler
from tests.bench.result import Options, Result
from tests.bench.shop import claim, clusters, shop
from tests.servers import free_port, wait_for

BOUND_MS = 0.3
PAIRS = 3000
WARM_UP = 300


def application(facade: bool) -> Flask:
    """A view that does one SELECT; with the facade before it, or without."""
    app = Flask(__name__)
    engine = create_engine(os.environ["BENCH_DSN"].replace("postgresql:", "postgresql+psycopg:"))
    session = scoped_session(sessionmaker(engine))
    app.teardown_appcontext(lambda _: session.remove())

    @app.get("/items/<int:number>")
    def read(number: int) -> Any:
        row = session.execute(text("SELECT name FROM items WHERE id = :id"), {"id": number}).one()
        return jsonify(name=row[0])

    if facade:
        Strangler().init_app(app, site="monolith", session=session)
    return app


def measure(options: Options) -> list[Result]:
    with clusters() as pair, shop(pair) as one, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        one.run("monolith", "INSERT INTO items (name) VALUES ('pen')")
        with one.move() as move:
            claim(move)
        toml = Path(folder) / "strangler.toml"
        sites = "".join(f'[sites.{site}]\ndsn = "{dsn}"\n' for site, dsn in one.dsn.items())
        toml.write_text(
            f'{sites}[modules.stock]\nsource = "monolith"\ntarget = "stock"\n'
            'tables = ["public.items", "public.places"]\nroutes = ["/items"]\n'
        )
        environment = {"BENCH_DSN": one.dsn["monolith"], "STRANGLER_CONFIG": str(toml), "STRANGLER_SECRET": "s" * 32}
        plain, kit = (stack.enter_context(_serving(facade, environment)) for facade in (False, True))
        for _ in range(WARM_UP):
            _ask(plain)
            _ask(kit)
        options.say(f"{PAIRS} requests to each")
        pairs = []
        for number in range(PAIRS):
            if number % 2:
                with_it, without = _ask(kit), _ask(plain)
            else:
                without, with_it = _ask(plain), _ask(kit)
            pairs.append((without, with_it))
    more = median(with_it - without for without, with_it in pairs)
    before, after = (median(times) for times in zip(*pairs, strict=True))
    return [
        Result(
            "facade: a request served locally",
            f"{more:+.2f} ms ({before:.2f} -> {after:.2f}, medians of {PAIRS} pairs)",
            f"at most {BOUND_MS} ms", more <= BOUND_MS, {"ms": more, "without_ms": before, "with_ms": after},
        )
    ]  # fmt: skip


@contextmanager
def _serving(facade: bool, environment: dict[str, str]) -> Iterator[http.client.HTTPConnection]:
    port = free_port()
    settings = {"BIND": f"127.0.0.1:{port}", "THREADS": "1", "DRAIN_SECONDS": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "python:strangler.gunicorn", "--log-level", "warning",
         f"tests.bench.facade:application({facade})"],
        env=os.environ | environment | settings,
    )  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        wait_for(lambda: _answers(connection), "gunicorn", 30)
        yield connection
    finally:
        connection.close()
        process.terminate()
        process.wait(30)


def _answers(connection: http.client.HTTPConnection) -> bool:
    try:
        _ask(connection)
    except OSError:
        connection.close()
        return False
    return True


def _ask(connection: http.client.HTTPConnection) -> float:
    """How long the answer took, in ms."""
    began = time.perf_counter()
    connection.request("GET", "/items/1")
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - began) * 1000
    assert answer.status == 200, body
    return took
