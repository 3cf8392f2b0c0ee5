"""Requests made up from the server's own OpenAPI: never a 5xx, and every response is as documented there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from served import serving

import bcdseg

OPERATIONS = [("POST", "/predict"), ("POST", "/mask"), ("POST", "/dicom-seg"), ("GET", "/model"), ("GET", "/ready")]


@pytest.fixture(scope="module")
def schema(small_model: bcdseg.Model) -> Iterator[schemathesis.BaseSchema]:
    with serving(small_model) as port:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_responses_to_made_up_requests_are_as_documented(schema: schemathesis.BaseSchema, method: str, path: str) -> None:
    @settings(max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=schema[path][method].as_strategy())
    def is_valid(case: schemathesis.Case) -> None:
        response = case.call()
        assert response.status_code < 500, response.text
        case.validate_response(response, excluded_checks=[positive_data_acceptance])  # made-up bytes aren't a scan

    is_valid()
