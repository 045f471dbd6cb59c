"""One contract: every view has its operation, and what monolith and services keep is the same."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from click.testing import CliRunner
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from werkzeug.serving import make_server

from forum import openapi
from forum.contract import EXAMPLES, OPERATIONS
from forum.settings import PagesSettings, StoreSettings, TopicsSettings, load
from monolith.cli import main
from services.messages import app as messages
from services.topics import app as topics
from services.users import app as users
from services.web import app as web
from tests.contract.client import PROBLEM, Client, ok
from tests.contract.described import SCHEMA

SERVICES: dict[str, Callable[[], Flask]] = {
    "users": lambda: users.create_app(load(users.Settings)),
    "topics": lambda: topics.create_app(load(TopicsSettings)),
    "messages": lambda: messages.create_app(load(StoreSettings)),
}


@pytest.fixture
def services(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Flask]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return {name: create_app() for name, create_app in SERVICES.items()}


def served(app: Flask) -> openapi.Document:
    response = app.test_client().get("/openapi.json")
    assert response.mimetype == "application/json"
    document: openapi.Document = response.get_json()
    return document


def test_it_is_valid_openapi() -> None:
    validate(openapi.document())


def test_the_monolith_keeps_the_whole(app: Flask) -> None:
    assert served(app) == openapi.document()


def test_each_service_keeps_its_part_and_together_they_keep_the_whole(services: dict[str, Flask]) -> None:
    whole, parts = openapi.document(), {name: served(app) for name, app in services.items()}
    assert all([tag["name"] for tag in part["tags"]] == [name] for name, part in parts.items())
    assert [path for part in parts.values() for path in part["paths"]] == list(whole["paths"])
    for part in parts.values():
        assert part["paths"].items() <= whole["paths"].items()
        assert part["components"]["schemas"].items() <= whole["components"]["schemas"].items()


def test_where_no_module_is_the_whole_is_shown(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert served(web.create_app(load(PagesSettings))) == openapi.document()


def test_it_is_printed() -> None:
    assert json.loads(CliRunner().invoke(main, ["openapi"]).output) == openapi.document()


def test_operations_have_names_of_their_own() -> None:
    assert len({operation.id for operation in OPERATIONS}) == len(OPERATIONS)


def test_the_examples_are_valid() -> None:
    document = openapi.document()
    for name, component in document["components"]["schemas"].items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(component["examples"][0])


# --- negative controls ----------------------------------------------------------------------------------------------


def test_a_view_without_an_operation_is_found(services: dict[str, Flask]) -> None:
    services["topics"].add_url_rule("/api/books", "books", lambda: "")
    with pytest.raises(openapi.UndescribedError, match="'GET', '/api/books'"):
        openapi.operations_of(services["topics"])


def test_a_view_that_lost_a_decorator_is_found(services: dict[str, Flask]) -> None:
    app = services["topics"]
    app.view_functions["topics.create"] = inspect.unwrap(app.view_functions["topics.create"])
    assert served(app)["paths"]["/api/topics"]["post"] != openapi.document()["paths"]["/api/topics"]["post"]


GOOD: dict[str, Any] = openapi.document()["components"]["schemas"]["Topic"]["examples"][0]
REFUSED = {"Content-Type": PROBLEM}


@pytest.fixture
def disguised(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Client]]:
    """A client of the monolith whose topics are answered with what is given."""
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def disguise(*given: Any) -> Client:
        for view in ("topics.read", "topics.listing"):
            monkeypatch.setitem(app.view_functions, view, lambda **_: app.make_response(given))
        return Client(f"http://127.0.0.1:{server.port}")

    yield disguise
    server.shutdown()
    thread.join()


def test_what_the_contract_names_passes(disguised: Callable[..., Client]) -> None:
    """The control of the controls below."""
    assert ok(disguised(GOOD, 200).get("/api/topics/1")) == GOOD


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("", 204), "Undocumented status code"),
        (
            ({**EXAMPLES["Problem"], "status": 409}, 409, REFUSED),
            "Undocumented status code",
        ),
        (("I'm a teapot.", 200), "Undocumented Content-Type"),
        (({**GOOD, "secret": 1}, 200), "violates schema"),
        (({name: GOOD[name] for name in GOOD if name != "views"}, 200), "violates schema"),
        (({**GOOD, "locked": "no"}, 200), "violates schema"),
        (({**EXAMPLES["Problem"], "status": 404, "detail": 1}, 404, REFUSED), "violates schema"),
    ],
    ids=["status", "refusal", "content type", "a field more", "a field less", "another type", "not such a problem"],
)
def test_what_the_contract_does_not_name_fails(
    disguised: Callable[..., Client], given: tuple[Any, ...], why: str
) -> None:
    client = disguised(*given)
    with pytest.raises(FailureGroup, match=why):
        client.get("/api/topics/1")


def test_an_invalid_request_that_is_accepted_fails(disguised: Callable[..., Client]) -> None:
    client = disguised({"items": [], "next": None}, 200)

    @given(SCHEMA["/api/topics"]["GET"].as_strategy(GenerationMode.NEGATIVE))
    @settings(
        max_examples=10, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        deadline=None,
    )  # fmt: skip
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=client.url)

    with pytest.raises(FailureGroup, match="should have been rejected"):
        ask()
