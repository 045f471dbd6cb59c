from flask import Blueprint, abort, jsonify, request
from sqlalchemy.exc import SQLAlchemyError

from .models import Copy, Work, db

bp = Blueprint("catalogue", __name__, url_prefix="/api/works")


@bp.errorhandler(SQLAlchemyError)
def broken(_):
    return jsonify(error="something went wrong"), 500


@bp.get("")
def index():
    return jsonify([work.to_dict() for work in Work.query.order_by(Work.title, Work.id).limit(50)])


@bp.post("")
def add():
    work = Work(**request.get_json())
    db.session.add(work)
    db.session.commit()
    return jsonify(work.to_dict()), 201


@bp.get("/<uuid:id>")
def show(id):
    return jsonify(db.get_or_404(Work, id).to_dict())


@bp.get("/titled/<title>")
def titled(title):
    return jsonify([work.to_dict() for work in Work.query.filter_by(title=title)])


@bp.patch("/<uuid:id>")
def change(id):
    work = db.get_or_404(Work, id)
    for name, value in request.get_json().items():
        setattr(work, name, value)
    db.session.commit()
    return jsonify(work.to_dict())


@bp.post("/<uuid:id>/copies")
def add_copy(id):
    work = db.session.get(Work, id, with_for_update=True) or abort(404)  # one number at a time
    copy = Copy(work_id=id, number=len(work.copies) + 1, shelf=request.get_json()["shelf"])
    db.session.add(copy)
    try:
        db.session.commit()
    except SQLAlchemyError:
        db.session.rollback()
        abort(503)
    return jsonify(number=copy.number), 201


@bp.get("/<uuid:id>/history")
def history(id):
    rows = db.session.execute(db.text('SELECT title FROM "WorkHistory" WHERE work_id = :id ORDER BY id'), {"id": id})
    return jsonify([title for (title,) in rows])
