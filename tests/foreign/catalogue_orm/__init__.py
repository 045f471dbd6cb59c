"""The catalogue as a service once more, by somebody who likes plain SQLAlchemy: a sessionmaker, a session a view.

Its tables are those of catalogue/schema.sql.
"""

import os

from flask import Flask, abort, jsonify, request
from sqlalchemy import MetaData, Table, create_engine, select, text
from sqlalchemy.orm import Session as OneSession
from sqlalchemy.orm import sessionmaker

Session = sessionmaker()


def create_app(database_url=None):
    app = Flask(__name__)
    url = database_url or os.environ.get("DATABASE_URL", "postgresql:///catalogue")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), pool_size=8, max_overflow=8)
    Session.configure(bind=engine)
    app.extensions["engine"] = engine
    metadata = MetaData()
    works, copies = (Table(name, metadata, autoload_with=engine) for name in ("works", "copies"))

    def one(session: OneSession, id, lock=False):
        found = select(works).where(works.c.id == id)
        row = session.execute(found.with_for_update() if lock else found).mappings().first() or abort(404)
        parts = session.scalars(select(works.c.id).where(works.c.part_of == id).order_by(works.c.title))
        shelves = session.execute(select(copies.c.number, copies.c.shelf).where(copies.c.work_id == id))
        return {
            "id": str(row["id"]), "title": row["title"], "medium": row["medium"], "details": row["details"],
            "parts": [str(part) for part in parts], "copies": {str(number): shelf for number, shelf in shelves},
        }  # fmt: skip

    @app.get("/api/works")
    def index():
        with Session() as session:
            ids = session.scalars(select(works.c.id).order_by(works.c.title, works.c.id).limit(50)).all()
            return jsonify([one(session, id) for id in ids])

    @app.post("/api/works")
    def add():
        with Session.begin() as session:
            id = session.scalar(works.insert().values(request.get_json()).returning(works.c.id))
            return jsonify(one(session, id)), 201

    @app.get("/api/works/<uuid:id>")
    def show(id):
        with Session() as session:
            return jsonify(one(session, id))

    @app.get("/api/works/titled/<title>")
    def titled(title):
        with Session() as session:
            ids = session.scalars(select(works.c.id).where(works.c.title == title)).all()
            return jsonify([one(session, id) for id in ids])

    @app.patch("/api/works/<uuid:id>")
    def change(id):
        with Session.begin() as session:
            session.execute(works.update().where(works.c.id == id).values(request.get_json()))
            return jsonify(one(session, id))

    @app.post("/api/works/<uuid:id>/copies")
    def add_copy(id):
        with Session.begin() as session:
            number = len(one(session, id, lock=True)["copies"]) + 1
            session.execute(copies.insert().values(work_id=id, number=number, shelf=request.get_json()["shelf"]))
            return jsonify(number=number), 201

    @app.get("/api/works/<uuid:id>/history")
    def history(id):
        with Session() as session:
            rows = session.scalars(text('SELECT title FROM "WorkHistory" WHERE work_id = :id ORDER BY id'), {"id": id})
            return jsonify(list(rows))

    return app
