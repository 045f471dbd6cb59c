"""The contract, as schemathesis reads it: what checks that an answer is one that the contract names."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
import schemathesis
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.schemas import OpenApiSchema

from forum.openapi import PREFIXES, document

CONFORMANCE = [
    CHECKS.get_one(name)
    for name in (
        "status_code_conformance", "content_type_conformance", "response_headers_conformance",
        "response_schema_conformance",
    )
]  # fmt: skip


def strict() -> dict[str, Any]:
    """The document, but an answer may not even have fields that it does not name."""
    described = document()
    for schema in described["components"]["schemas"].values():
        schema["additionalProperties"] = False
    return described


def load(described: dict[str, Any]) -> OpenApiSchema:
    """With few examples, always the same: this runs at every stage. NUL: no pattern says it beside another."""
    config = SchemathesisConfig()
    config.projects.default.generation.update(
        max_examples=5, deterministic=True, no_shrink=True, allow_x00=False, database="none"
    )
    return schemathesis.openapi.from_dict(described, config=config)


SCHEMA = load(strict())


def check(answer: requests.Response) -> None:
    """Fails for an answer that the contract does not name. Where it has no operation, only a refusal will do."""
    request = answer.request
    method = "GET" if request.method == "HEAD" else str(request.method)
    path = urlsplit(str(request.url)).path
    operation = SCHEMA.find_operation_by_path(method, path)
    if operation is None:
        known = path.startswith(PREFIXES) and answer.status_code not in (404, 405)
        assert not known, f"{method} {path} answers {answer.status_code} and is not in the contract"
        return
    checks = CONFORMANCE[:1] + CONFORMANCE[2:3] if request.method == "HEAD" else CONFORMANCE
    case = operation.Case(path_parameters={parameter.name: 1 for parameter in operation.path_parameters})
    case.validate_response(answer, checks=checks)
