"""The JSON Schema of ``policy.yaml``, for editors: made from the types that read it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from recproxy.policy.file import PolicyFile
from recproxy.policy.numbers import NumberPattern

__all__ = ["json_schema"]

_DURATION: Final = r"^P(?:[0-9]+W)?(?:[0-9]+D)?(?:T(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+S)?)?$"


def json_schema() -> dict[str, Any]:
    """The schema, of draft 2020-12.

    It describes what is written: dates and durations as texts, and a list of one as its only item, which
    the reader takes too. Rules across keys are the linter's.
    """
    made = msgspec.json.schema(PolicyFile)
    # A pattern is written as one text, and YAML takes a bare +3130555010 for a number.
    made["$defs"][NumberPattern.__name__] = {"type": ["string", "integer"]}
    adapted: dict[str, Any] = _adapted({"$schema": "https://json-schema.org/draft/2020-12/schema", **made})
    return adapted


def _adapted(node: Any) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(node, list):
        return [_adapted(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _adapted(value) for key, value in node.items()}
    if found.get("format") == "duration":
        return {"type": "string", "pattern": _DURATION, **_said(found)}
    if found.get("type") == "array":
        return {"anyOf": [found, found["items"]], **_said(found)} if found.get("items") else found
    return found


def _said(node: dict[str, Any]) -> dict[str, Any]:
    return {"description": node["description"]} if "description" in node else {}
