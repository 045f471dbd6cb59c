from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects.postgresql import ENUM, JSONB, UUID

db = SQLAlchemy()


class Work(db.Model):
    __tablename__ = "works"
    id = db.Column(UUID(as_uuid=True), primary_key=True, server_default=db.FetchedValue())
    title = db.Column(db.Text, nullable=False)
    medium = db.Column(ENUM("book", "map", "recording", name="medium", create_type=False), default="book")
    part_of = db.Column(UUID(as_uuid=True), db.ForeignKey("works.id"))
    details = db.Column(JSONB, nullable=False, default=dict)
    parts = db.relationship("Work", order_by="Work.title")
    copies = db.relationship("Copy", order_by="Copy.number")

    def to_dict(self):
        return {
            "id": str(self.id), "title": self.title, "medium": self.medium, "details": self.details,
            "parts": [str(part.id) for part in self.parts],
            "copies": {str(copy.number): copy.shelf for copy in self.copies},
        }  # fmt: skip


class Copy(db.Model):
    __tablename__ = "copies"
    work_id = db.Column(UUID(as_uuid=True), db.ForeignKey("works.id"), primary_key=True)
    number = db.Column(db.Integer, primary_key=True)
    shelf = db.Column(db.Text, nullable=False)


class Member(db.Model):
    __tablename__ = "members"
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.Text, nullable=False, unique=True)


class Loan(db.Model):
    __tablename__ = "loans"
    member_id = db.Column(db.ForeignKey("members.id"), primary_key=True)
    work_id = db.Column(UUID(as_uuid=True), primary_key=True)
    number = db.Column(db.Integer, primary_key=True)
    lent_at = db.Column(db.DateTime(timezone=True), primary_key=True, server_default=db.func.now())
