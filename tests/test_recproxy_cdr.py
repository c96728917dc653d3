"""Call detail records: what they say, and that a call leaves exactly one whole line."""

from __future__ import annotations

import csv
import io
import json
import queue
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from faulty_files import Crash, Fault, FaultPlan, FaultyFiles
from hypothesis import given
from hypothesis import strategies as st
from simulated_files import Loss, SimulatedFiles

from recproxy.call.commands import Note
from recproxy.call.events import (
    CalleeAnswered,
    CallFacts,
    Codec,
    InviteReceived,
    LegEnded,
    LegName,
    MediaDirection,
    Sdp,
    StreamFacts,
)
from recproxy.cdr import (
    COLUMNS,
    CallDetail,
    CallDetails,
    DetailUpkeep,
    DetailWriter,
    Flaw,
    Form,
    Journal,
    Parties,
    RecordingResult,
    call_id_hash,
    days,
    open_parties,
    read_details,
)
from recproxy.eventlog import EventLog, LogConfig
from storage import AuditLog, FileFault, read_events
from storage.age import X25519Identity
from storage.tags import Direction

AT = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
DAY = date(2026, 12, 1)
CALLER, CALLEE = "+31612345678", "+31305550100"


def detail(number: int = 1, **changes: Any) -> CallDetail:
    made = CallDetail(
        call_ref=f"{number:016x}",
        node="rig",
        started=AT,
        answered=AT + timedelta(milliseconds=1500),
        ended=AT + timedelta(seconds=61, milliseconds=7),
        duration_s=61.007,
        talk_s=59.507,
        direction="inbound",
        trunk_in="carrier",
        trunk_out="pbx",
        caller="+3161•••••78",
        outcome="answered",
        code=200,
        ended_by="caller",
        decision="record",
        recording_result=RecordingResult.OK,
        caller_lost=0,
    )
    return replace(made, **changes)


# ---------------------------------------------------------------------- lines
def test_both_forms_say_the_same_and_are_read_back() -> None:
    one = detail(reason='Normal, "really"', caller_jitter_ms=1.25)
    assert CallDetail.of_json(one.json_line()) == one
    cells = next(csv.reader([one.csv_line().decode().rstrip("\r\n")]))
    assert CallDetail.of_csv(list(COLUMNS), cells) == one
    assert json.loads(one.json_line())["started"] == "2026-12-01T09:30:00.000Z"


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=60))
def test_no_text_breaks_a_line_or_begins_a_formula(text: str) -> None:
    one = detail(reason=text)
    assert CallDetail.of_json(one.json_line()).reason == text
    line = one.csv_line().decode()
    cells = next(csv.reader([line.rstrip("\r\n")]))
    assert CallDetail.of_csv(list(COLUMNS), cells).reason == text
    shown = cells[COLUMNS.index("reason")]
    assert shown[:1] not in {"=", "-", "@"}
    assert line.count("\n") == one.json_line().count(b"\n") == 1


# ------------------------------------------------------------------ collecting
class Calls:
    """Details with what they wrote."""

    def __init__(self, **changes: Any) -> None:
        self.wrote: list[tuple[CallDetail, Parties | None]] = []
        self.now = AT
        self.details = CallDetails(
            node="rig",
            onward={"carrier": "pbx"},
            write=lambda detail, parties: self.wrote.append((detail, parties)),
            now=lambda: self.now,
            **changes,
        )

    def invite(self, call: str = "c1", **changes: Any) -> None:
        facts = CallFacts("carrier", Direction.INBOUND, CALLER, CALLEE, False, False, "a@192.0.2.1", AT)
        self.details.posted(call, InviteReceived(replace(facts, **changes), None))

    def answer(self, call: str = "c1") -> None:
        codecs = (Codec(101, "TELEPHONE-EVENT", 8000), Codec(8, "PCMA", 8000))
        stream = StreamFacts(
            "audio", "RTP/AVP", "192.0.2.2", 4000, None, MediaDirection.SENDRECV, None, codecs
        )
        self.details.posted(call, CalleeAnswered(Sdp(b"", (stream,)), "b@192.0.2.1"))
        self.note("call.answered", call, setup_s=1.0)

    def note(self, event: str, call: str = "c1", **fields: Any) -> None:
        self.details.noted(call, Note(event, tuple(fields.items())))

    def end(self, call: str = "c1", **changes: Any) -> None:
        fields = {
            "outcome": "answered",
            "code": 200,
            "ended_by": "caller",
            "decision": "record",
            "purpose": "training",
            "notice": "completed",
            "choice": "not_offered",
            "recording_state": "sealed",
            "recording": "",
            "duration_s": 61.0,
            "talk_s": 60.0,
        }
        self.note("media.released", call, caller_received=3000, callee_received=2990)
        self.note("call.ended", call, **(fields | changes))

    @property
    def only(self) -> CallDetail:
        assert len(self.wrote) == 1
        return self.wrote[0][0]


SEALED: dict[str, Any] = {
    "ring_dropped": 0,
    "caller_packets": 3000,
    "caller_lost": 2,
    "caller_late": 1,
    "caller_jitter_ms": 0.4,
    "callee_packets": 2990,
    "callee_lost": 0,
    "callee_late": 0,
    "callee_jitter_ms": 0.5,
}


def test_a_recorded_call_is_written_once_its_recording_is_closed() -> None:
    calls = Calls()
    calls.invite()
    calls.answer()
    calls.note("recording.opened", recording="f" * 32)
    calls.details.posted("c1", LegEnded(LegName.CALLER, 200, "call +31612345678 cleared", by_us=False))
    calls.end(recording="f" * 32)
    assert calls.wrote == [], "the recorder has not closed it"
    calls.note("recording.sealed", recording="f" * 32, **SEALED)
    calls.note("recording.sealed", recording="f" * 32, **SEALED)
    one = calls.only
    assert (one.recording_result, one.recording) == (RecordingResult.OK, "f" * 32)
    assert (one.caller, one.callee) == ("+3161•••••78", "+3130•••••00")
    assert (one.codec, one.trunk_in, one.trunk_out) == ("PCMA", "carrier", "pbx")
    assert one.reason == "call +3161•••••78 cleared"
    assert one.caller_call_id_sha256 == call_id_hash("a@192.0.2.1")
    assert one.callee_call_id_sha256 == call_id_hash("b@192.0.2.1")
    assert (one.caller_received, one.caller_lost, one.callee_jitter_ms) == (3000, 2, 0.5)
    assert "192.0.2.1" not in one.json_line().decode()


def test_recordings_in_sequence_are_in_one_record_once_all_are_closed() -> None:
    calls = Calls()
    calls.invite()
    calls.answer()
    calls.note("recording.opened", recording="a" * 32)
    calls.note("recording.sealed", recording="a" * 32, **SEALED)
    calls.note("notice.left_off", purpose="agreements", why="put on hold")
    calls.note("recording.opened", recording="b" * 32)
    calls.end(recording=f"{'a' * 32},{'b' * 32}")
    assert calls.wrote == [], "the second is not closed"
    calls.note("recording.sealed", recording="b" * 32, **{**SEALED, "caller_jitter_ms": 0.9})
    one = calls.only
    assert (one.recording_result, one.recording) == (RecordingResult.OK, f"{'a' * 32},{'b' * 32}")
    assert (one.caller_lost, one.caller_late, one.dropped) == (4, 2, 0)
    assert (one.caller_jitter_ms, one.callee_jitter_ms) == (0.9, 0.5)


@pytest.mark.parametrize(
    ("ended", "before", "result"),
    [
        ({}, ("recording.sealed", SEALED), RecordingResult.OK),
        ({}, ("recording.sealed", {**SEALED, "ring_dropped": 1}), RecordingResult.DEGRADED),
        ({}, ("recording.sealed", {**SEALED, "callee_late": 99}), RecordingResult.DEGRADED),
        ({}, ("disk.failed", {"what": "recording ff", "why": "full"}), RecordingResult.FAILED),
        ({"recording_state": "aborted"}, ("recording.failed", {"why": "full"}), RecordingResult.FAILED),
        (
            {"recording_state": "aborted", "ended_by": "recproxy", "code": 503},
            ("recording.failed", {"why": "full"}),
            RecordingResult.BLOCKED,
        ),
        (
            {"recording_state": "off", "outcome": "failed", "ended_by": "recproxy", "code": 488},
            ("notice.failed", {"why": "no codec"}),
            RecordingResult.BLOCKED,
        ),
        (
            {"recording_state": "off", "notice": "failed"},
            ("notice.failed", {"why": "x"}),
            RecordingResult.FAILED,
        ),
        (
            {"recording_state": "off", "outcome": "failed", "ended_by": "recproxy", "code": 403},
            ("notice.failed", {"why": "no evidence"}),
            RecordingResult.BLOCKED,
        ),
        ({"recording_state": "discarded"}, ("choice.refused", {}), RecordingResult.NONE),
        ({"recording_state": "off", "decision": "no_rule"}, ("call.answered", {}), RecordingResult.NONE),
        ({"recording_state": "off", "outcome": "failed", "code": 486}, ("x.y", {}), RecordingResult.NONE),
    ],
)
def test_the_result_of_the_recording(
    ended: dict[str, Any], before: tuple[str, dict[str, Any]], result: RecordingResult
) -> None:
    calls = Calls()
    calls.invite()
    calls.note(before[0], **before[1])
    calls.end(**ended)
    assert calls.only.recording_result is result


@pytest.mark.parametrize(
    ("told", "diverted"),
    [((), ""), (("call.diverted",), "failed"), (("call.diverted", "diversion.answered"), "answered")],
)
def test_a_call_that_went_on_to_another_number_says_so(told: tuple[str, ...], diverted: str) -> None:
    calls = Calls()
    calls.invite()
    calls.answer()
    for event in told:
        calls.note(event)
    calls.end(recording_state="off")
    assert calls.only.diverted == diverted


def test_who_hangs_up_in_the_announcement_has_no_failed_recording() -> None:
    calls = Calls()
    calls.invite()
    calls.answer()
    calls.details.posted("c1", LegEnded(LegName.CALLER, 200, "", by_us=False))
    calls.note("notice.failed", why="the call ended before the announcement had")
    calls.end(recording_state="off", notice="failed")
    assert calls.only.recording_result is RecordingResult.NONE


@pytest.mark.parametrize("decision", ["emergency", "help_line", "confidential", "private"])
def test_an_exempt_call_names_nobody(decision: str) -> None:
    calls = Calls(keep_numbers=True)
    calls.invite()
    calls.end(decision=decision, recording_state="off", purpose="")
    one, parties = calls.wrote[0]
    assert (one.caller, one.callee, one.caller_call_id_sha256, parties) == ("", "", "", None)


def test_a_withheld_number_is_not_an_empty_one() -> None:
    calls = Calls(keep_numbers=True)
    calls.invite(anonymous=True)
    calls.invite("c2", caller="")
    for call in ("c1", "c2"):
        calls.end(call, recording_state="off")
    assert [one.caller for one, _ in calls.wrote] == ["anonymous", ""]
    assert calls.wrote[0][1] == Parties("", CALLEE), "not even encrypted"


def test_a_recording_that_nobody_tells_of_is_not_waited_for_without_end() -> None:
    calls = Calls()
    calls.invite()
    calls.end()
    calls.now += timedelta(minutes=3)
    calls.invite("c2")
    calls.end("c2", recording_state="off")
    assert {one.call_ref: one.recording_result for one, _ in calls.wrote} == {
        "c1": RecordingResult.FAILED,
        "c2": RecordingResult.NONE,
    }
    calls.invite("c3")
    calls.end("c3")
    calls.details.close()
    assert len(calls.wrote) == 3


# --------------------------------------------------------------------- journal
def _read(files: Any) -> list[CallDetail | Flaw]:
    return list(read_details(files))


def test_files_of_days_and_forms() -> None:
    files = SimulatedFiles()
    journal = Journal(files)
    later = detail(2, ended=AT + timedelta(days=1), started=AT + timedelta(days=1))
    for form in Form:
        journal.append(form, DAY, [detail()])
        journal.append(form, later.day, [later])
    assert files.names(".") == tuple(f"2026-12-0{day}.{form}" for day in (1, 2) for form in ("csv", "jsonl"))
    rows = list(csv.DictReader(io.StringIO(files.read("2026-12-01.csv").decode(), newline="")))
    assert [row["call_ref"] for row in rows] == [detail().call_ref]
    assert _read(files) == [detail(), later]
    assert list(read_details(files, since=AT + timedelta(hours=1))) == [later]
    assert list(read_details(files, until=AT + timedelta(hours=1))) == [detail()]


def test_records_of_csv_alone_are_read_too() -> None:
    files = SimulatedFiles()
    Journal(files).append(Form.CSV, DAY, [detail(), detail(2)])
    assert _read(files) == [detail(), detail(2)]


@pytest.mark.parametrize("form", list(Form))
def test_a_torn_line_is_named_by_a_reader_and_cut_by_the_writer(form: Form) -> None:
    files = SimulatedFiles()
    name = f"2026-12-01.{form.value}"
    Journal(files).append(form, DAY, [detail()])
    files.put(name, files.read(name) + detail(2).json_line()[:40])
    found = _read(files)
    assert found[0] == detail()
    assert isinstance(found[1], Flaw)
    assert str(found[1]).startswith(
        f"{name}:{2 if form is Form.JSONL else 3}: an unfinished line of 40 bytes"
    )
    cut = Journal(files).append(form, DAY, [detail(3)])
    assert cut is not None
    assert cut.why == "an unfinished line of 40 bytes was cut"
    assert _read(files) == [detail(), detail(3)]


def test_what_is_no_record_is_named_with_its_line() -> None:
    files = SimulatedFiles()
    files.put("2026-12-01.jsonl", detail().json_line() + b'{"v": 1}\n\xff\n' + detail(2).json_line())
    found = _read(files)
    assert [one.line for one in found if isinstance(one, Flaw)] == [2, 3]
    assert [one for one in found if isinstance(one, CallDetail)] == [detail(), detail(2)]


def test_files_may_be_renamed_emptied_or_removed_meanwhile() -> None:
    files = SimulatedFiles()
    journal = Journal(files)
    for form in Form:
        journal.append(form, DAY, [detail()])
    files.rename("2026-12-01.jsonl", "2026-12-01.jsonl.1")
    files.put("2026-12-01.csv", b"")
    for form in Form:
        assert journal.append(form, DAY, [detail(2)]) is None
    assert _read(files) == [detail(2)]
    assert files.read("2026-12-01.csv").startswith(b"call_ref,")
    assert days(files) == {DAY: ["2026-12-01.csv", "2026-12-01.jsonl", "2026-12-01.jsonl.1"]}


def _climb(fault: Fault, *, sticky: bool, form: Form) -> Iterator[tuple[SimulatedFiles, int, int]]:
    """Four batches with a fault at each operation; whole batches that were said to be written, and all."""
    rung = 0
    while True:
        files = SimulatedFiles()
        plan = FaultPlan(rung, fault, sticky=sticky)
        journal = Journal(FaultyFiles(files, plan))
        written = number = 0
        try:
            for _ in range(4):
                batch = [detail(number + one) for one in range(3)]
                for _ in range(3):
                    try:
                        journal.append(form, DAY, batch)
                    except FileFault:
                        continue
                    written = number = number + 3
                    break
                else:
                    break
        except Crash:
            pass
        if plan.fired is None:
            return
        yield files, written, number
        rung += 1


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize(
    ("fault", "sticky"),
    [(Fault.CRASH, True), (Fault.EIO, False), (Fault.EIO, True), (Fault.ENOSPC, False), (Fault.SHORT, False)],
)
def test_every_rung_leaves_each_record_once_and_no_half_line(form: Form, fault: Fault, sticky: bool) -> None:
    rungs = 0
    for files, written, _ in _climb(fault, sticky=sticky, form=form):
        rungs += 1
        for loss in Loss if fault is Fault.CRASH else (Loss.ALL_KEPT,):
            disk = files.after_power_loss(loss, random.Random(rungs))
            numbers = [int(one.call_ref, 16) for one in _read(disk) if isinstance(one, CallDetail)]
            # After a fault what follows was not said to be written; it may be there, never twice.
            assert numbers[:written] == list(range(written))
            assert numbers == list(range(len(numbers)))
            Journal(disk).append(form, DAY, [detail(99)])
            again = _read(disk)
            assert all(isinstance(one, CallDetail) for one in again)
            assert again[-1] == detail(99)
    assert rungs >= 8


# ---------------------------------------------------------------------- writer
class Full(SimulatedFiles):
    """A disk that is full until it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.full = threading.Event()

    def create(self, path: str) -> Any:
        if self.full.is_set():
            raise FileFault("create", path, 28, "No space left on device")
        return super().create(path)


def _writer(files: Any, **changes: Any) -> tuple[DetailWriter, queue.SimpleQueue[Note]]:
    notes: queue.SimpleQueue[Note] = queue.SimpleQueue()
    writer = DetailWriter(Journal(files), tuple(Form), notes.put, retry_s=0.01, **changes)
    writer.start()
    return writer, notes


def test_a_full_disk_is_told_once_and_nothing_is_lost_meanwhile() -> None:
    files = Full()
    files.full.set()
    writer, notes = _writer(files)
    for number in range(5):
        writer.put(detail(number))
    assert notes.get(timeout=20) == Note(
        "cdr.failed",
        (
            ("what", "records"),
            ("why", str(FileFault("create", "2026-12-01.csv", 28, "No space left on device"))),
            ("count", 0),
        ),
    )
    files.full.clear()
    assert notes.get(timeout=20) == Note("cdr.recovered", (("what", "records"), ("count", 0)))
    writer.stop()
    assert _read(files) == [detail(number) for number in range(5)]
    assert notes.empty()


def test_what_a_disk_that_stays_full_costs_is_counted() -> None:
    files = Full()
    files.full.set()
    writer, notes = _writer(files, most_waiting=3)
    for number in range(5):
        writer.put(detail(number))
    writer.stop()
    told = []
    while not notes.empty():
        told.append(notes.get())
    assert {note.event for note in told} == {"cdr.failed"}
    assert dict(told[-1].fields)["count"] == 2 * 5, "each record, in both forms"
    assert _read(files) == []


def test_numbers_in_full_are_there_for_the_identity_alone() -> None:
    files = SimulatedFiles()
    identity = X25519Identity.generate()
    writer, _ = _writer(files, recipients=[identity.recipient])
    writer.put(detail(), Parties(CALLER, CALLEE))
    writer.stop()
    assert CALLER.encode() not in files.read("2026-12-01.jsonl")
    found = _read(files)[0]
    assert isinstance(found, CallDetail)
    assert open_parties(found.numbers_age, [identity]) == (CALLER, CALLEE)


# ---------------------------------------------------------------------- expiry
def test_days_that_were_kept_long_enough_are_destroyed_and_audited() -> None:
    records, files = SimulatedFiles(), SimulatedFiles()
    key = Ed25519PrivateKey.generate()
    audit = AuditLog(files, key, "rig", lambda: AT)
    out = io.StringIO()
    upkeep = DetailUpkeep(
        records, timedelta(days=2), audit, EventLog(out, LogConfig(), lambda: AT, strict=True)
    )
    for name in (
        "2026-12-01.jsonl",
        "2026-12-01.csv.1.gz",
        "2026-12-02.jsonl",
        "notes.txt",
        "2026-13-99.csv",
    ):
        records.put(name, b"x\n")
    upkeep.run(datetime(2026, 12, 3, 23, 59, 59, tzinfo=UTC))
    assert len(records.names(".")) == 5, "the end of the day and two days more"
    upkeep.run(datetime(2026, 12, 4, tzinfo=UTC))
    assert records.names(".") == ("2026-12-02.jsonl", "2026-13-99.csv", "notes.txt")
    line = next(line for line in read_events(files) if line["event"] == "cdr.expired")
    assert (line["day"], line["files"]) == ("2026-12-01", 2)
    said = json.loads(out.getvalue())
    assert (said["event"], said["day"], said["count"]) == ("cdr.expired", "2026-12-01", 2)


def test_a_fault_of_the_expiry_is_told() -> None:
    records, files = SimulatedFiles(), SimulatedFiles()
    records.put("2026-12-01.jsonl", b"x\n")
    audit = AuditLog(files, Ed25519PrivateKey.generate(), "rig", lambda: AT)
    out = io.StringIO()
    faulty = FaultyFiles(records, FaultPlan(0, Fault.EIO))
    DetailUpkeep(faulty, timedelta(days=1), audit, EventLog(out, LogConfig(), lambda: AT, strict=True)).run(
        AT + timedelta(days=9)
    )
    assert json.loads(out.getvalue())["event"] == "cdr.failed"
