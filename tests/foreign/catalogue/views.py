from flask import Blueprint, abort, jsonify, request
from psycopg.types.json import Jsonb

from . import connection

bp = Blueprint("works", __name__, url_prefix="/api/works")

WORKS = """
    SELECT id::text, title, medium::text, details,
           coalesce((SELECT json_agg(p.id ORDER BY p.title) FROM works p WHERE p.part_of = w.id), '[]') AS parts,
           coalesce((SELECT json_object_agg(c.number, c.shelf) FROM copies c WHERE c.work_id = w.id), '{}') AS copies
    FROM works w
"""


def one(id):
    return connection().execute(f"{WORKS} WHERE id = %s", (id,)).fetchone() or abort(404)


@bp.get("")
def index():
    return jsonify(connection().execute(f"{WORKS} ORDER BY title, id LIMIT 50").fetchall())


@bp.post("")
def add():
    wanted = {"medium": "book", "part_of": None, "details": {}, **request.get_json()}
    with connection().transaction():
        row = connection().execute(
            "INSERT INTO works (title, medium, part_of, details) VALUES (%s, %s, %s, %s) RETURNING id",
            (wanted["title"], wanted["medium"], wanted["part_of"], Jsonb(wanted["details"])),
        ).fetchone()  # fmt: skip
        work = one(row["id"])
    return jsonify(work), 201


@bp.get("/<uuid:id>")
def show(id):
    return jsonify(one(id))


@bp.get("/titled/<title>")
def titled(title):
    return jsonify(connection().execute(f"{WORKS} WHERE title = %s", (title,)).fetchall())


@bp.patch("/<uuid:id>")
def change(id):
    with connection().transaction():
        work = one(id) | request.get_json()
        connection().execute(
            "UPDATE works SET title = %s, details = %s WHERE id = %s", (work["title"], Jsonb(work["details"]), id)
        )
    return jsonify(work)


@bp.post("/<uuid:id>/copies")
def add_copy(id):
    with connection().transaction():
        connection().execute("SELECT FROM works WHERE id = %s FOR UPDATE", (id,))  # one number at a time
        number = len(one(id)["copies"]) + 1
        shelf = request.get_json()["shelf"]
        connection().execute("INSERT INTO copies VALUES (%s, %s, %s)", (id, number, shelf))
    return jsonify(number=number), 201


@bp.get("/<uuid:id>/history")
def history(id):
    rows = connection().execute('SELECT title FROM "WorkHistory" WHERE work_id = %s ORDER BY id', (id,))
    return jsonify([row["title"] for row in rows])
