from flask import Blueprint, jsonify, request

from .models import Loan, Member, db

bp = Blueprint("lending", __name__, url_prefix="/api")


@bp.post("/members")
def join():
    member = Member(name=request.get_json()["name"])
    db.session.add(member)
    db.session.commit()
    return jsonify(id=member.id, name=member.name), 201


@bp.get("/members/<int:id>/loans")
def loans(id):
    found = Loan.query.filter_by(member_id=id).order_by(Loan.lent_at)
    return jsonify([{"work": str(loan.work_id), "number": loan.number} for loan in found])


@bp.post("/loans")
def lend():
    wanted = request.get_json()
    db.session.add(Loan(member_id=wanted["member"], work_id=wanted["work"], number=wanted["number"]))
    db.session.commit()
    return "", 204
