"""The HTTP API does what its OpenAPI document says, whatever is sent to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from api_stage import Stage, headers, stage
from hypothesis import HealthCheck, settings
from recorded import Take, make_shelf, record
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from recproxy.api.access import ROLES
from recproxy.api.application import openapi

SCHEMA = schemathesis.openapi.from_dict(openapi("1.0"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    shelf = make_shelf(tmp_path_factory.mktemp("api") / "rig")
    record(shelf, Take(1, index=True), Take(2, end="leave"))
    with stage(shelf) as made:
        yield made
        assert made.failures == []


@SCHEMA.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_document_says(case: Any, served: Stage) -> None:
    roles = ROLES.get(case.operation.definition.raw["operationId"], frozenset())
    by = min((role.value for role in roles), default="")
    answer = case.call(base_url=f"http://127.0.0.1:{served.port}", headers=headers(by))
    case.validate_response(answer, checks=CHECKS)


def test_all_of_it_is_tried() -> None:
    assert len(list(SCHEMA.get_all_operations())) == len(ROLES) + 2
