"""The list of audit events is what the code writes, no more and no less, and so is its schema file."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded import Take, make_shelf, record

import recproxy
import storage
from storage import OsFiles, read_events
from storage.audit.events import EVENTS, schema

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z")
SCHEMA = Path(__file__).resolve().parents[1] / "docs" / "audit-events.schema.json"
WRITERS = {"append", "audit", "_audit", "AuditNote", "_write", "_tell", "_say", "sealed_answer"}


def _written() -> Iterator[str]:
    """Names of events that are handed to something that writes the chain, wherever in the code."""
    for package in (recproxy, storage):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            tree = ast.parse(path.read_text())
            # An event chosen before it is written stands in an assignment to ``audit_event``.
            for node in ast.walk(tree):
                values: list[ast.expr] = []
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    values = node.args if name in WRITERS else []
                elif isinstance(node, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id == "audit_event" for target in node.targets
                ):
                    values = [node.value]
                for value in values:
                    yield from _events_in(value)


def _events_in(node: ast.expr) -> Iterator[str]:
    """Event names an expression may be: not those inside a nested call."""
    match node:
        case ast.Constant(value=str() as text) if _NAME.match(text):
            yield text
        case ast.IfExp():
            yield from _events_in(node.body)
            yield from _events_in(node.orelse)
        case ast.Subscript():
            yield from _events_in(node.value)
        case ast.Dict():
            for value in node.values:
                yield from _events_in(value)
        case _:
            pass


def test_the_list_is_what_the_code_writes() -> None:
    assert set(_written()) == set(EVENTS)


def test_the_schema_file_is_the_list() -> None:
    if not SCHEMA.parent.exists():
        pytest.skip("runs where the documents are")
    text = json.dumps(schema(), indent=2) + "\n"
    assert SCHEMA.read_text() == text, "write storage.audit.events.schema() to docs/audit-events.schema.json"


def check(line: dict[str, Any]) -> None:
    """Hold one line against the schema; of JSON Schema what the file uses."""
    found = schema()
    assert set(found["required"]) <= set(line)
    for name, value in line.items():
        rule = found["properties"].get(name)
        if rule is None:
            assert re.match(next(iter(found["patternProperties"])), name), name
            assert isinstance(value, str | int | float | bool)
            continue
        if "pattern" in rule:
            assert re.match(rule["pattern"], value), (name, value)
        assert value in rule.get("enum", [value])
        assert value == rule.get("const", value)


def test_each_line_of_a_chain_fits_the_schema(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    record(shelf, Take(1), Take(2, end="abort"), Take(3, end="discard"))
    lines = list(read_events(OsFiles(shelf.data)))
    assert {line["event"] for line in lines} >= {"rec.started", "rec.sealed", "rec.discarded"}
    for line in lines:
        check(dict(line))
    for name, wrong in (("seq", "x"), ("event", "rec.invented"), ("prev", "12"), ("Caller", "x")):
        spoiled = {**lines[0], name: wrong}
        if name == "seq":
            del spoiled["seq"]
        with pytest.raises(AssertionError):
            check(spoiled)
