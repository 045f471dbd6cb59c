"""A lending library as somebody else might have written it: one Flask application, one database.

flask --app library init-db
flask --app library run
"""

import os
from pathlib import Path

from flask import Flask, jsonify
from sqlalchemy.exc import IntegrityError

from .models import db


def create_app(database_url=None):
    from . import catalogue, lending

    app = Flask(__name__)
    url = database_url or os.environ.get("DATABASE_URL", "postgresql:///library")
    app.config["SQLALCHEMY_DATABASE_URI"] = url.replace("postgresql://", "postgresql+psycopg://")
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_pre_ping": True}
    db.init_app(app)
    app.register_blueprint(catalogue.bp)
    app.register_blueprint(lending.bp)

    @app.get("/")
    def home():
        return "The library is open."

    @app.errorhandler(IntegrityError)
    def conflict(error):
        return jsonify(error=str(error.orig).splitlines()[0]), 409

    @app.cli.command("init-db")
    def init_db():
        db.session.execute(db.text((Path(__file__).parent / "schema.sql").read_text()))
        db.session.commit()

    return app
