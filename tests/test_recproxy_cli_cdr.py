# ruff: noqa: E501 - tables stand here as they are printed
"""``recproxy cdr``: lists and exports records, and names what is none."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import recproxy
from recorded import Shelf, make_shelf

from recproxy.cdr import CallDetail, Form, Journal, RecordingResult, call_id_hash
from storage import OsFiles

AT = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
FIRST = CallDetail(
    call_ref="a" * 16,
    node="rig",
    started=AT,
    answered=AT + timedelta(seconds=2),
    ended=AT + timedelta(seconds=62),
    duration_s=62.0,
    talk_s=60.0,
    direction="inbound",
    trunk_in="carrier",
    trunk_out="pbx",
    caller="+3161•••••78",
    callee="+3130•••••00",
    caller_call_id_sha256=call_id_hash("abc@192.0.2.1"),
    outcome="answered",
    code=200,
    ended_by="callee",
    decision="record",
    purpose="training",
    recording="f" * 32,
    recording_result=RecordingResult.OK,
)
SECOND = replace(
    FIRST,
    call_ref="b" * 16,
    started=AT + timedelta(days=1),
    answered=None,
    ended=AT + timedelta(days=1, seconds=9),
    duration_s=9.0,
    talk_s=0.0,
    trunk_in="pbx",
    trunk_out="carrier",
    outcome="failed",
    code=486,
    recording="",
    recording_result=RecordingResult.NONE,
    caller_call_id_sha256="",
)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = make_shelf(tmp_path / "shelf")
    made.config.write_text(made.config.read_text() + "cdr: {directory: cdr, format: both}\n")
    files = OsFiles(made.root / "cdr")
    files.prepare()
    for one in (FIRST, SECOND):
        for form in Form:
            Journal(files).append(form, one.day, [one])
    return made


def test_calls_are_listed_in_the_order_in_which_they_ended(shelf: Shelf) -> None:
    done = recproxy("cdr", "list", "-c", shelf.config)
    assert done.code == 0
    assert done.out.splitlines() == [
        "started               length  direction  from     to       caller        callee        status  by      recording",
        "2026-12-01T09:30:00Z    1:02  inbound    carrier  pbx      +3161•••••78  +3130•••••00  200     callee  ok ffffffffffff",
        "2026-12-02T09:30:00Z    0:09  inbound    pbx      carrier  +3161•••••78  +3130•••••00  486     callee  none",
    ]


@pytest.mark.parametrize(
    ("words", "refs"),
    [
        ((), "ab"),
        (("--from", "2026-12-02"), "b"),
        (("--to", "2026-12-02"), "a"),
        (("--result", "ok"), "a"),
        (("--trunk", "pbx"), "ab"),
        (("--trunk", "other"), ""),
        (("--call-id", "abc@192.0.2.1"), "a"),
        (("--limit", "1"), "b"),
    ],
)
def test_the_list_can_be_narrowed_down(shelf: Shelf, words: tuple[str, ...], refs: str) -> None:
    shown = json.loads(recproxy("cdr", "list", "--json", *words, "-c", shelf.config).out)
    assert "".join(one["call_ref"][0] for one in shown["calls"]) == refs
    assert shown["more"] is ("--limit" in words)


def test_an_export_is_a_new_file_of_its_owner(shelf: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "calls.csv"
    words = ("cdr", "export", "--format", "csv", "-o", out, "-c", shelf.config)
    assert recproxy(*words).code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(io.StringIO(out.read_text(), newline="")))
    assert [row["recording_result"] for row in rows] == ["ok", "none"]
    again = recproxy(*words)
    assert (again.code, again.err.splitlines()[0]) == (1, f"recproxy: error: {out} exists")
    assert recproxy("cdr", "export", "-c", shelf.config).raw == FIRST.json_line() + SECOND.json_line()


def test_what_is_no_record_is_named_and_left_out(shelf: Shelf) -> None:
    day = shelf.root / "cdr" / "2026-12-01.jsonl"
    day.write_bytes(b"{}\n" + FIRST.json_line() + b'{"v"')
    done = recproxy("cdr", "list", "-c", shelf.config)
    assert done.code == 0
    assert [line.split(": ")[:3] for line in done.err.splitlines()] == [
        ["recproxy", "warning", f"{day}:1"],
        ["recproxy", "warning", f"{day}:3"],
    ]
    assert len(done.out.splitlines()) == 3


def test_it_says_what_is_missing(shelf: Shelf, tmp_path: Path) -> None:
    bare = make_shelf(tmp_path / "bare")
    done = recproxy("cdr", "list", "-c", bare.config)
    assert (done.code, done.err.splitlines()) == (
        2,
        [
            "recproxy: error: no call detail records are written",
            "recproxy: hint: give cdr.directory in recproxy.yaml",
        ],
    )
    bare.config.write_text(bare.config.read_text() + "cdr: {directory: none}\n")
    done = recproxy("cdr", "export", "-c", bare.config)
    assert done.code == 1
    assert "is not there" in done.err
    assert recproxy("cdr", "list", "--from", "yesterday", "-c", shelf.config).code == 2
    assert recproxy("cdr", "list", "--from", "2030-01-01", "-c", shelf.config).out == "no calls\n"
