# ruff: noqa: E501 - messages stand here as they are printed
from __future__ import annotations

import ast
import io
import itertools
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recproxy
from recproxy.eventlog import EventLog, LogConfig, LogFormat, UndeclaredEvent
from recproxy.logevents import EVENTS, KEYS, Kind, LogLevel
from recproxy.masking import mask_number, mask_numbers

ROOT = Path(__file__).parent.parent
AT = datetime(2026, 3, 1, 13, 30, 15, 123456, tzinfo=timezone(timedelta(hours=1)))
NUMBER = "+31305550104"


def log(*, strict: bool = True, **config: Any) -> tuple[EventLog, io.StringIO]:
    stream = io.StringIO()
    return EventLog(stream, LogConfig(**config), lambda: AT, strict=strict), stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_utc_milliseconds_first() -> None:
    written, stream = log()
    written.emit("call.answered", call_ref="c0ffee", setup_s=1.5)
    assert stream.getvalue() == (
        '{"ts":"2026-03-01T12:30:15.123Z","level":"info","event":"call.answered",'
        '"call_ref":"c0ffee","setup_s":1.5}\n'
    )


def test_for_people_it_is_one_line_of_words() -> None:
    written, stream = log(format=LogFormat.CONSOLE)
    written.emit("media.unavailable", why="no ports\nleft")
    written.emit("daemon.stopped")
    assert stream.getvalue() == (
        "2026-03-01T12:30:15.123Z error   media.unavailable    why=no ports\\x0aleft\n"
        "2026-03-01T12:30:15.123Z info    daemon.stopped\n"
    )


def test_what_is_bound_is_on_every_line_that_declares_it() -> None:
    written, stream = log()
    bound = written.bind(call_ref="c0ffee").bind(purpose="training")
    bound.emit("call.answered", setup_s=1)
    bound.emit("notice.started")
    written.emit("daemon.stopped")
    first, second, third = lines(stream)
    assert (first["call_ref"], second["call_ref"], second["purpose"]) == ("c0ffee", "c0ffee", "training")
    assert "purpose" not in first
    assert "call_ref" not in third


def test_less_serious_events_are_left_out() -> None:
    written, stream = log(level=LogLevel.WARNING)
    written.emit("daemon.started", node="a")
    written.emit("peer.refused", count=3)
    written.emit("media.unavailable", why="x")
    assert [line["event"] for line in lines(stream)] == ["peer.refused", "media.unavailable"]


def test_empty_texts_are_left_out_but_zero_is_not() -> None:
    written, stream = log()
    written.emit("call.ended", outcome="failed", purpose="", code=0)
    (line,) = lines(stream)
    assert line["code"] == 0
    assert "purpose" not in line


@pytest.mark.parametrize(
    ("event", "fields", "message"),
    [
        ("call.began", {}, "call.began: event is not declared; see recproxy.logevents"),
        ("call.ended", {"from_uri": "a"}, "call.ended from_uri: key is not declared for this event; see recproxy.logevents"),
        ("call.ended", {"pid": 1}, "call.ended pid: key is not declared for this event; see recproxy.logevents"),
        ("call.ended", {"code": "200"}, "call.ended code: str is not count; see recproxy.logevents"),
        ("call.ended", {"code": True}, "call.ended code: bool is not count; see recproxy.logevents"),
        ("call.ended", {"code": 1.5}, "call.ended code: float is not count; see recproxy.logevents"),
        ("call.ended", {"talk_s": "1"}, "call.ended talk_s: str is not number; see recproxy.logevents"),
        ("call.ended", {"purpose": 1}, "call.ended purpose: int is not word; see recproxy.logevents"),
    ],
)  # fmt: skip
def test_what_is_not_declared_raises_in_tests_and_is_counted_in_production(
    event: str, fields: dict[str, Any], message: str
) -> None:
    written, stream = log()
    with pytest.raises(UndeclaredEvent) as caught:
        written.emit(event, **fields)
    assert str(caught.value) == message
    assert stream.getvalue() == ""

    lenient, stream = log(strict=False)
    lenient.bind(call_ref="c0ffee").emit(event, **fields)
    lenient.emit(event, **fields)
    what = message.split(": ", maxsplit=1)[0]
    assert lenient.left_out == {what: 2}
    assert not any(key in line for line in lines(stream) for key in fields)


def test_a_stream_that_takes_nothing_ends_no_call() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    written = EventLog(Full(), LogConfig(), lambda: AT, strict=True)
    written.emit("daemon.stopped")
    assert written.left_out == {"line not written: No space left on device": 1}


def test_a_terminal_that_lacks_a_character_gets_it_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1", newline="")
    written = EventLog(stream, LogConfig(format=LogFormat.CONSOLE), lambda: AT, strict=True)
    written.emit("call.offered", caller=NUMBER)
    assert raw.getvalue().endswith(rb"caller=+3130\u2022\u2022\u2022\u2022\u202204" b"\n")


# Gathering.


class Counted(io.StringIO):
    """Counts its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)

    def events(self) -> list[list[str]]:
        """The events of each write."""
        return [[json.loads(line)["event"] for line in text.splitlines()] for text in self.writes]


def counted() -> tuple[EventLog, Counted]:
    stream = Counted()
    return EventLog(stream, LogConfig(), lambda: AT, strict=True), stream


def test_gathered_lines_share_a_write_and_keep_their_order() -> None:
    written, stream = counted()
    with written.gathered():
        written.emit("daemon.ready")
        written.bind(call_ref="c0ffee").emit("call.answered")
        assert stream.writes == []
        written.flush()
        written.flush()
        written.emit("daemon.draining")
    written.emit("daemon.stopped")
    assert stream.events() == [
        ["daemon.ready", "call.answered"],
        ["daemon.draining"],
        ["daemon.stopped"],
    ]


def test_an_error_is_written_at_once_after_what_came_before() -> None:
    written, stream = counted()
    with written.gathered():
        written.emit("call.answered")
        written.emit("call.refused")
        written.emit("media.unavailable", why="no ports")
        assert stream.events() == [["call.answered", "call.refused", "media.unavailable"]]


def test_what_was_gathered_is_written_when_the_loop_fails() -> None:
    written, stream = counted()

    def loop() -> None:
        with written.gathered():
            written.emit("call.answered")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        loop()
    assert stream.events() == [["call.answered"]]


def test_lines_do_not_pile_up_without_a_flush() -> None:
    written, stream = counted()
    with written.gathered():
        for _ in range(1000):
            written.emit("call.answered")
        assert sum(map(len, stream.events())) >= 744
    assert sum(map(len, stream.events())) == 1000


def test_every_gathered_line_that_is_lost_is_counted() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    written = EventLog(Full(), LogConfig(), lambda: AT, strict=True)
    with written.gathered():
        for _ in range(3):
            written.emit("call.answered")
    assert written.left_out == {"line not written: No space left on device": 3}


def test_lines_of_several_threads_are_all_there_in_the_order_of_their_times() -> None:
    times = itertools.count()
    stream = Counted()
    written = EventLog(stream, LogConfig(), lambda: AT + timedelta(milliseconds=next(times)), strict=True)

    def speak(thread: int) -> None:
        for number in range(200):
            written.emit("media.failed", stream=thread, what=str(number))
            if number % 7 == thread:
                written.flush()

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(4)]
    with written.gathered():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = lines(stream)
    assert [line["ts"] for line in found] == sorted(line["ts"] for line in found)
    for number in range(4):
        assert [int(line["what"]) for line in found if line["stream"] == number] == list(range(200))


def test_standard_output_is_the_usual_place(capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC)
    EventLog.to_stdout(LogConfig(), strict=True).emit("daemon.stopped")
    line = json.loads(capsys.readouterr().out)
    assert before - timedelta(seconds=1) <= datetime.fromisoformat(line["ts"]) <= datetime.now(UTC)


# Privacy.


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        (NUMBER, "+3130•••••04"),
        ("0031305550104", "003130•••••04"),
        ("0305550104", "03••••••04"),
        ("+31 (0)30-555 01 04", "+3103••••••04"),
        ("+4930123456", "+493•••••56"),
        ("55501", "•••••"),
        ("1234567", "•••••67"),
        ("112", "•••"),
        ("alice", "a•••"),
        ("alice7", "•"),
        ("", ""),
        ("\x1b\r\n", ""),
    ],
)
def test_numbers_are_masked(number: str, masked: str) -> None:
    assert mask_number(number) == masked


@given(st.text("0123456789", min_size=1, max_size=20), st.sampled_from(["", "+", "00"]))
def test_five_digits_or_all_are_hidden(digits: str, prefix: str) -> None:
    masked = mask_number(prefix + digits)
    shown = sum(char.isdigit() for char in masked)
    total = sum(char.isdigit() for char in prefix + digits)
    assert total - shown >= min(total, 5)
    assert len(masked.removeprefix("+")) == total


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"user {NUMBER} is busy", "user +3130•••••04 is busy"),
        (f"sip:{NUMBER}@192.0.2.1:5060", "sip:+3130•••••04@•.•.•.•:5060"),
        ("<sip:alice@example.org>", "<sip:a•••@example.org>"),
        ("tel:112", "tel:•••"),
        ("sip:example.org", "sip:example.org"),
        ("call 030-555 01 04 back", "call 03••••••04 back"),
        ("port 20000 of 203.0.113.7", "port 20000 of •.•.•.•"),
        ("486 Busy Here", "486 Busy Here"),
        ("deadbeef0123456789ab", "deadbeef0123456789ab"),
    ],
)
def test_free_text_is_masked(text: str, masked: str) -> None:
    assert mask_numbers(text) == masked


def test_no_event_can_show_a_whole_number() -> None:
    written, stream = log(strict=False, level=LogLevel.DEBUG)
    for event, declared in EVENTS.items():
        fields: dict[str, Any] = {
            key: f"sip:{NUMBER}@h, {NUMBER}" for key in declared.keys if KEYS[key] in {Kind.TEXT, Kind.PHONE}
        }
        written.emit(event, **fields)
    assert len(lines(stream)) == len(EVENTS)
    assert NUMBER not in stream.getvalue()
    assert NUMBER[3:] not in stream.getvalue()


@given(st.text(), st.text())
def test_a_value_cannot_end_its_line(text: str, word: str) -> None:
    for form in LogFormat:
        written, stream = log(format=form)
        written.emit("call.refused", reason=text, why=text, trunk=word)
        assert stream.getvalue().endswith("\n")
        assert len(stream.getvalue().splitlines()) == 1
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", stream.getvalue())


def test_a_long_value_is_clipped() -> None:
    written, stream = log()
    written.emit("media.unavailable", why="x" * 5000)
    assert len(lines(stream)[0]["why"]) == 301


# The tables.


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_named_noun_and_participle_and_declare_known_keys(name: str) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", name)
    assert EVENTS[name].keys <= set(KEYS)


def test_every_event_is_written_somewhere() -> None:
    """What an operator is told to look for has to come."""
    package = Path(recproxy.__file__).parent
    sources = [path for path in package.rglob("*.py") if path.name not in {"logevents.py", "metrics.py"}]
    written = set(re.findall(r'"([a-z]+\.[a-z_]+)"', "\n".join(map(Path.read_text, sources))))
    assert set(EVENTS) <= written


def test_every_key_is_used() -> None:
    assert set().union(*(event.keys for event in EVENTS.values())) == set(KEYS)


def _emitted() -> Iterator[tuple[str, ast.Call]]:
    """Every place in recproxy that names an event: ``Note("…")`` and ``….emit("…")``."""
    for path in sorted((ROOT / "recproxy").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name in {"Note", "emit"}:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


@pytest.mark.parametrize(("where", "call"), [pytest.param(*found, id=found[0]) for found in _emitted()])
def test_what_recproxy_says_is_declared(where: str, call: ast.Call) -> None:
    name = ast.literal_eval(call.args[0])
    assert name in EVENTS, f"{where}: {name} is not declared"
    keys = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
    for pair in (node for argument in call.args[1:] for node in ast.walk(argument)):
        if isinstance(pair, ast.Tuple) and len(pair.elts) == 2 and isinstance(pair.elts[0], ast.Constant):
            keys.add(str(pair.elts[0].value))
    missing = keys - EVENTS[name].keys
    assert not missing, f"{where}: {name} does not declare {missing}"


def test_the_levels_are_in_order() -> None:
    assert list(LogLevel) == [LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARNING, LogLevel.ERROR]
