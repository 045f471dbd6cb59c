"""The contract as a document: what it says is what the code keeps, and what it does not say does not happen."""

from __future__ import annotations

from functools import cached_property

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, settings
from schemathesis.checks import CHECKS

from forum.contract import EXAMPLES, IDEMPOTENCY_KEY, OPERATIONS, Operation
from forum.openapi import document
from tests.contract.client import Account, Client, ok, register, status
from tests.contract.conftest import Forum
from tests.contract.described import SCHEMA

IDS = "user_id", "topic_id", "message_id"
LONGEST = 4000
"""Bytes of an address: of more than about that HTTP servers say 414 before an application is asked."""
ACCEPTED = CHECKS.get_one("positive_data_acceptance")


def test_the_whole_contract_is_served(anybody: Client) -> None:
    assert ok(anybody.get("/openapi.json")) == document()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_a_bad_token_is_refused_just_where_one_counts(author: Account, operation: Operation) -> None:
    path = operation.path.format(user_id=author.id, topic_id=author.topic()["id"], message_id=1)
    answer = Client(author.url, "no token").request(operation.method, path, params={"q": "figs"})
    assert (status(answer) == 401) == (operation.authenticated or operation.personal)


@pytest.fixture(scope="module")
def visitor(forum: Forum) -> Account:
    return register(forum.url)


class Own:
    """What the visitor has, made when it is needed."""

    def __init__(self, visitor: Account) -> None:
        self.user_id = visitor.id
        self._visitor = visitor

    @cached_property
    def topic_id(self) -> int:
        return int(self._visitor.topic()["id"])

    @cached_property
    def message_id(self) -> int:
        return int(self._visitor.message(self.topic_id)["id"])


@pytest.fixture
def own(visitor: Account) -> Own:
    return Own(visitor)


@SCHEMA.parametrize()
# `own` is made once for an operation, as it should be; how long an answer takes on a busy machine decides nothing.
@settings(suppress_health_check=list(HealthCheck), deadline=None)
def test_no_answer_surprises(case: schemathesis.Case, visitor: Account, own: Own) -> None:
    """Valid requests are accepted, invalid ones refused, and every answer is one that the contract names."""
    for values in (case.path_parameters, case.query, case.body):
        if isinstance(values, dict):
            values.update({name: getattr(own, name) for name in IDS if values.get(name) == EXAMPLES["id"]})
    if case.method == "DELETE" and case.formatted_path == f"/api/users/{own.user_id}":
        return  # there would be no visitor for what follows
    sent = case.as_transport_kwargs(base_url=visitor.url)
    address = requests.Request(sent["method"], sent["url"], params=sent.get("params")).prepare().url
    assume(len(str(address)) <= LONGEST)
    # What no schema says: which cursor goes with which order; either parameter, but not both; a key used once.
    unsaid = case.method == "GET" or IDEMPOTENCY_KEY in case.headers
    headers = {"Authorization": f"Bearer {visitor.token}"}
    case.call_and_validate(base_url=visitor.url, headers=headers, excluded_checks=[ACCEPTED] if unsaid else [])
