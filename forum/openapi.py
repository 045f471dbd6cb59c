"""The contract as an OpenAPI 3.1 document, with the schemas that pydantic makes of the code's own models.

Each application with operations serves, at /openapi.json, the document of its own: the monolith the whole, a service
its part. services/web has none and serves the whole, for those behind the gateway.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Literal

from flask import Flask, Response
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from forum import schemas
from forum.contract import CONVENTIONS, EXAMPLES, IDEMPOTENCY_KEY, MODULES, OPERATIONS, VERSION, Operation
from forum.problems import MIMETYPE

PREFIXES = ("/api/", "/.well-known/")
"""Where the API is. All else is pages and health."""
COMPONENT = "#/components/schemas/{model}"
JSON = "application/json"

Document = dict[str, Any]
_Of = dict[Any, Document]
"""A reference to the schema of each model."""


class UndescribedError(Exception):
    """An application has a route, or a schema a field, that `forum.contract` does not know."""


class _Generator(GenerateJsonSchema):
    """Plainer names (TopicPage for Page[Topic]), and no titles that only repeat a field's name."""

    def normalize_name(self, name: str) -> str:
        return super().normalize_name(re.sub(r"^(\w+)\[(\w+)\]$", r"\2\1", name))

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def operations_of(app: Flask) -> list[Operation]:
    """The operations of the contract for which `app` has views, as it keeps them. Raises UndescribedError."""
    views = {}
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(PREFIXES):
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                views[method, path] = app.view_functions[rule.endpoint]
    known = [operation for operation in OPERATIONS if (operation.method, operation.path) in views]
    if missing := views.keys() - {(operation.method, operation.path) for operation in known}:
        raise UndescribedError(f"no Operation in forum/contract.py for {sorted(missing)}")
    return [
        replace(
            operation,
            authenticated="authenticated" in vars(views[operation.method, operation.path]),
            idempotent="idempotent" in vars(views[operation.method, operation.path]),
        )
        for operation in known
    ]


def document(operations: Iterable[Operation] = OPERATIONS) -> Document:
    """The OpenAPI document of `operations`. Raises UndescribedError when a field has no example."""
    operations = list(operations)
    bodies = {operation.body for operation in operations if operation.body}
    answers = {operation.answer for operation in operations if operation.answer} | {schemas.Problem}
    modes: tuple[tuple[set[Any], Literal["validation", "serialization"]], ...] = (
        (bodies, "validation"),
        (answers, "serialization"),
    )
    models = sorted(((model, mode) for group, mode in modes for model in group), key=lambda pair: pair[0].__name__)
    references, definitions = models_json_schema(models, ref_template=COMPONENT, schema_generator=_Generator)
    components = definitions["$defs"]
    for name, component in components.items():
        del component["title"]
        component["examples"] = [_example({"$ref": f"/{name}"}, components)]
    of_model: _Of = {model: reference for (model, _), reference in references.items()}
    paths: Document = {}
    for operation in operations:
        described = _operation(operation, of_model, components)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    modules = dict.fromkeys(operation.module for operation in operations)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Forum",
            "version": VERSION,
            "summary": "Users, topics and messages.",
            "description": "\n\n".join(f"## {title}\n\n{text}" for title, text in CONVENTIONS.items()),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": module, "description": MODULES[module]} for module in modules],
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": {
                "ServedBy": {"description": "Who answered.", "required": True, "schema": {"type": "string"}},
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(operation: Operation, of_model: _Of, components: Document) -> Document:
    described: Document = {"operationId": operation.id, "tags": [operation.module], "summary": operation.summary}
    if operation.description:
        described["description"] = operation.description
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(JSON, of_model[operation.body], components)}
    success: Document = {"description": HTTPStatus(operation.status).phrase, "headers": _headers(operation)}
    if operation.answer:
        success["content"] = _content(JSON, of_model[operation.answer], components)
    described["responses"] = {str(operation.status): success}
    if operation.tagged:
        described["responses"]["304"] = {"description": "You have it.", "headers": _headers(operation)}
    for status, reason in operation.refused().items():
        described["responses"][str(status)] = {
            "description": reason,
            "headers": _headers(operation, status),
            "content": {MIMETYPE: {"schema": of_model[schemas.Problem]}},
        }
    if operation.authenticated:
        described["security"] = [{"token": []}]
    elif operation.personal:
        described["security"] = [{}, {"token": []}]
    return described


def _parameters(operation: Operation) -> list[Document]:
    found: list[Document] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}, "example": 7}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    if operation.query:
        query = operation.query.model_json_schema(schema_generator=_Generator)
        found += [
            _parameter(name, field, name in query.get("required", ())) for name, field in query["properties"].items()
        ]
    if operation.tagged:
        found.append(
            {
                "name": "If-None-Match", "in": "header", "description": "The ETag of an earlier answer.",
                "schema": {"type": "string"}, "example": 'W/"5f2b"',
            }
        )  # fmt: skip
    if operation.idempotent:
        found.append(
            {
                "name": IDEMPOTENCY_KEY, "in": "header",
                "description": "A name for this write, never used before. Sent again with it, it is not done again.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]([ -~]*[!-~])?$"},
                "example": "8d2c1f6e-6d0e-4b57-9a55-0b8e6a2f4c11",
            }
        )  # fmt: skip
    return found


def _parameter(name: str, schema: JsonSchemaValue, required: bool) -> Document:
    """A field of a Query model: what can be left out is None there, but no text says null."""
    description = schema.pop("description", None)
    if schema.get("default", ...) is None:
        del schema["default"]
        schema = next(option for option in schema["anyOf"] if option != {"type": "null"})
    parameter: Document = {"name": name, "in": "query", "required": required, "schema": schema}
    if description:
        parameter["description"] = description
    if schema.get("type") == "array":
        parameter |= {"style": "form", "explode": False}
    return {**parameter, "example": _of_field(name)}


def _headers(operation: Operation, status: int | None = None) -> Document:
    """Of an answer: success, or a refusal with `status`."""

    def header(description: str, required: bool = True, **schema: Any) -> Document:
        return {"description": description, "required": required, "schema": {"type": "string", **schema}}

    headers: Document = {"X-Served-By": {"$ref": "#/components/headers/ServedBy"}}
    if status is None and operation.tagged:
        headers["ETag"] = header("For If-None-Match.", False)
    if status is None and operation.location:
        headers["Location"] = header("Where it is.", format="uri-reference")
    if status is None and operation.idempotent:
        headers["Idempotency-Replayed"] = header("The answer to the first of these requests.", False, const="true")
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = header("How to: RFC 6750.")
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers["Retry-After"] = header("Seconds to wait.", pattern="^[0-9]+$")
    return headers


def _content(mimetype: str, schema: Document, components: Document) -> Document:
    return {mimetype: {"schema": schema, "example": _example(schema, components)}}


# --- examples -------------------------------------------------------------------------------------------------------


def _of_field(name: str) -> Any:
    if name not in EXAMPLES:
        raise UndescribedError(f"no example in forum/contract.py for the field {name!r}")
    return EXAMPLES[name]


def _example(schema: Document, components: Document, name: str = "") -> Any:
    """A component's own, else an object of its fields' examples, a list of one, what a field of that name may be."""
    if "$ref" in schema:
        component = schema["$ref"].rpartition("/")[2]
        return EXAMPLES.get(component) or _example(components[component], components, name)
    if "properties" in schema:
        return {field: _example(each, components, field) for field, each in schema["properties"].items()}
    for option in (schema, *schema.get("anyOf", ())):
        if "$ref" in option:
            return _example(option, components, name)
        if "$ref" in option.get("items", {}):
            return [_example(option["items"], components)]
    return _of_field(name)


def init_app(app: Flask) -> None:
    @functools.cache  # at the first request: by then all views are there
    def text() -> str:
        return json.dumps(document(operations_of(app) or OPERATIONS))

    app.add_url_rule("/openapi.json", "openapi", lambda: Response(text(), mimetype=JSON))
