"""The catalogue as a service: the library's /api/works on a database of its own, with nothing but psycopg.

flask --app catalogue init-db
flask --app catalogue run
"""

import os
from pathlib import Path

from flask import Flask, current_app, g
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool


def connection():
    """The request's connection."""
    if "connection" not in g:
        g.connection = current_app.extensions["pool"].getconn()
    return g.connection


def create_app(database_url=None):
    from . import views

    app = Flask(__name__)
    url = database_url or os.environ.get("DATABASE_URL", "postgresql:///catalogue")
    app.extensions["pool"] = ConnectionPool(
        url, min_size=0, max_size=16, kwargs={"row_factory": dict_row}, check=ConnectionPool.check_connection, open=True
    )
    app.register_blueprint(views.bp)

    @app.teardown_appcontext
    def give_back(_):
        if "connection" in g:
            app.extensions["pool"].putconn(g.pop("connection"))

    @app.cli.command("init-db")
    def init_db():
        connection().execute((Path(__file__).parent / "schema.sql").read_text())
        connection().commit()

    return app
