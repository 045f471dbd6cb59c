"""What `strangler init` makes of routes and tables, without any database."""

from __future__ import annotations

import pytest
from flask import Blueprint, Flask

from strangler.analyze.catalogue import Catalogue
from strangler.propose import Proposal, alike, propose, words


def app_with(*rules: str) -> Flask:
    """An application with these routes; `shop:/items` is in the blueprint `shop`."""
    app = Flask("somebody")
    blueprints: dict[str, Blueprint] = {}
    for number, rule in enumerate(rules):
        name, _, path = rule.rpartition(":/")
        place: Flask | Blueprint = blueprints.setdefault(name, Blueprint(name, "somebody")) if name else app
        place.add_url_rule("/" + path if name else rule, f"view{number}", lambda **_: "")
    for blueprint in blueprints.values():
        app.register_blueprint(blueprint)
    return app


def proposed(rules: list[str], tables: list[str], keys: dict[str, str] | None = None) -> Proposal:
    kinds = {table if "." in table else f"public.{table}": "r" for table in tables}
    pairs = [(child, parent) for child, parents in (keys or {}).items() for parent in parents.split()]
    foreign_keys = [{"table": f"public.{child}", "referenced": f"public.{parent}"} for child, parent in pairs]
    return propose(app_with(*rules), Catalogue({}, frozenset(), ["public"], kinds, foreign_keys=foreign_keys))


def modules(found: Proposal) -> dict[str, tuple[list[str], list[str]]]:
    return {
        group.name: (group.prefixes, [name.removeprefix("public.") for name in group.tables]) for group in found.modules
    }


def test_first_segments_that_say_something_are_modules() -> None:
    found = proposed(["/", "/api/v1/orders/<int:id>", "/people", "/static/x"], ["orders", "person"])
    assert modules(found) == {"orders": (["/api/v1/orders"], ["orders"]), "people": (["/people"], ["person"])}
    assert set(found.routes_left) == {"/", "/static"}


def test_blueprints_gather_routes_unless_they_gather_everything() -> None:
    rules = ["sale:/orders", "sale:/invoices/<id>", "stock:/items", "main:/about"]
    tables = ["orders", "invoices", "items"]
    assert modules(proposed(rules, tables)) == {
        "sale": (["/invoices", "/orders"], ["invoices", "orders"]), "stock": (["/items"], ["items"])
    }  # fmt: skip
    alone = proposed(["shop:/orders", "shop:/items"], tables)
    assert set(modules(alone)) == {"orders", "items"}
    formal = proposed(["api:/orders", "api:/items", "v2:/v2/items"], tables)
    assert modules(formal)["items"] == (["/items", "/v2/items"], ["items"])


def test_tables_are_known_by_name_whatever_its_spelling() -> None:
    found = proposed(
        ["/order-items/<id>", "/movies", "/boxes"],
        ["OrderItem", "movie", "movie_genre", "shop_boxes", "audit"],
    )
    assert modules(found) == {
        "boxes": (["/boxes"], ["shop_boxes"]),
        "movies": (["/movies"], ["movie", "movie_genre"]),
        "order_items": (["/order-items"], ["OrderItem"]),
    }
    assert found.tables_left == {"public.audit": "no route is called like it"}


def test_foreign_keys_tell_of_what_names_do_not() -> None:
    found = proposed(
        ["/orders", "/items"],
        ["orders", "items", "line", "line_note", "unit", "basket", "far"],
        {"line": "orders", "line_note": "line", "items": "unit items", "basket": "orders items"},
    )
    assert modules(found) == {
        "items": (["/items"], ["items", "unit"]),
        "orders": (["/orders"], ["line", "line_note", "orders"]),
    }
    assert found.tables_left == {
        "public.basket": "foreign keys tie it to items and orders",
        "public.far": "no route is called like it",
    }


def test_a_table_that_two_modules_are_called_like_goes_by_its_foreign_key_or_is_left() -> None:
    rules = ["/posts/<id>/comments", "/photos/<id>/comments"]
    assert proposed(rules, ["posts", "photos", "comments"]).tables_left == {
        "public.comments": "may be of photos or posts"
    }
    with_key = proposed(rules, ["posts", "photos", "comments"], {"comments": "posts"})
    assert modules(with_key)["posts"][1] == ["comments", "posts"]


def test_odd_names_are_taken_or_left_with_a_reason() -> None:
    found = proposed(
        ["/a b/<id>", "/<lang>/x", "/книги", "/monolith", "/3d-models/<id>.stl"],
        ['public.Книга', 'sales.monolith', "public.3d_models", "public.a.b", "alembic_version"],
    )  # fmt: skip
    assert modules(found) == {
        "d_models": (["/3d-models"], ["3d_models"]),
        "monolith_2": (["/monolith"], ["sales.monolith"]),
    }
    assert found.everywhere == ["public.alembic_version"]
    assert "dot" in found.tables_left["public.a.b"]
    assert set(found.routes_left) == {"/a b/<id>", "/<lang>/x", "/книги"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("copies", "copy", True), ("WorkHistory", "work_histories", True), ("buses", "bus", True),
        ("movies", "movie", True), ("children", "child", True), ("shelves", "shelf", True), ("user", "users", True),
        ("as", "a", False), ("order", "orderer", False), ("", "", True), ("order items", "order", False),
    ],
)  # fmt: skip
def test_singular_and_plural(one: str, other: str, same: bool) -> None:
    assert alike(words(one), words(other)) == same
