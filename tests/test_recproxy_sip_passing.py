"""Requests inside a call that the other party answers: INFO, REFER, NOTIFY, MESSAGE."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, unquote

import pytest
from sdp_bodies import AMR_WB, audio
from sip_bench import Bench, Dialog, bench
from sip_message import SipMessage

from recproxy.call.events import DigitPressed, TransferAsked
from recproxy.sip import headers, passing
from recproxy.sip.passing import DialogName

pytestmark = pytest.mark.interop


@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench() as opened:
        yield opened


def up(stage: Bench) -> tuple[Dialog, Dialog]:
    codecs = (AMR_WB,)
    return stage.establish(
        audio(stage.caller.address, 4000, codecs=codecs), audio(stage.callee.address, 5000, codecs=codecs)
    )


def rung(stage: Bench) -> tuple[Dialog, SipMessage, Dialog]:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", audio(stage.caller.address, 4000, codecs=(AMR_WB,))))
    invite = stage.receive(stage.callee, "INVITE")
    b = Dialog.called(stage.callee, invite)
    stage.callee.send(b.response(invite, 180, "Ringing"))
    a.learn(stage.receive(stage.caller, "180"))
    return a, invite, b


def request(
    dialog: Dialog, method: str, kind: str = "", body: bytes = b"", *more: tuple[str, str]
) -> SipMessage:
    made = dialog.request(method, b"", more)
    extra = (("Content-Type", kind),) if kind else ()
    return SipMessage(made.start, (*made.headers, *extra), body)


def tag(value: str) -> str:
    return value.partition(";tag=")[2].partition(";")[0]


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_info_goes_to_the_other_party_and_its_answer_back(stage: Bench, who: str) -> None:
    a, b = up(stage)
    sender, other = (a, b) if who == "caller" else (b, a)
    sent = request(sender, "INFO", "application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n")
    sender.wire.send(sent)
    sender.wire.send(sent)
    passed = stage.receive(other.wire, "INFO")
    assert (passed.body, passed.one("content-type")) == (sent.body, "application/dtmf-relay")
    other.wire.send(other.response(passed, 480, "Not now"))
    assert stage.receive(sender.wire, "480").start == "SIP/2.0 480 Not now"
    sender.wire.send(sent)  # our answer was lost
    assert stage.receive(sender.wire, "480").cseq == sent.cseq
    assert not [m for m in other.wire.inbox if m.start.startswith("INFO")]
    assert [event.digit for event in stage.mirror.seen(DigitPressed)] == ["5"]
    stage.hang_up(a)


@pytest.mark.parametrize("code", [481, 408, 415, 489])
def test_a_refused_notify_leaves_the_call(stage: Bench, code: int) -> None:
    a, b = up(stage)
    stage.callee.send(
        request(
            b,
            "NOTIFY",
            "",
            b"",
            ("Event", "presence"),
            ("Subscription-State", "terminated;reason=giveup"),
        )
    )
    passed = stage.receive(stage.caller, "NOTIFY")
    assert (passed.one("event"), passed.one("subscription-state")) == (
        "presence",
        "terminated;reason=giveup",
    )
    stage.caller.send(a.response(passed, code))
    assert stage.receive(stage.callee, str(code))
    stage.hang_up(a)


def test_blind_transfer_and_its_progress(stage: Bench) -> None:
    a, b = up(stage)
    refer = request(
        a, "REFER", "", b"", ("Refer-To", f"<sip:300@{stage.caller.address}:5060>"), ("Refer-Sub", "true")
    )
    stage.caller.send(refer)
    passed = stage.receive(stage.callee, "REFER")
    assert passed.one("refer-to") == f"<sip:300@{stage.lease.addresses.daemon}:5060>", "it leads to us"
    assert [event.number for event in stage.mirror.seen(TransferAsked)] == ["300"]
    stage.callee.send(b.response(passed, 202, "Accepted"))
    assert stage.receive(stage.caller, "202")
    fragment = b"SIP/2.0 200 OK\r\n"
    stage.callee.send(
        request(
            b,
            "NOTIFY",
            "message/sipfrag;version=2.0",
            fragment,
            ("Event", "refer"),
            ("Subscription-State", "terminated"),
        )
    )
    notify = stage.receive(stage.caller, "NOTIFY")
    assert (notify.body, notify.one("event")) == (fragment, "refer")
    stage.caller.send(a.response(notify, 200, "OK"))
    assert stage.receive(stage.callee, "200").method == "NOTIFY"
    stage.hang_up(a)


@pytest.mark.parametrize("host", ["pbx.example.org", "[2001:db8::7]", "192.0.2.77"])
def test_a_transfer_to_elsewhere_keeps_its_address(stage: Bench, host: str) -> None:
    a, b = up(stage)
    stage.caller.send(request(a, "REFER", "", b"", ("Refer-To", f"<sip:300@{host}:5070>")))
    passed = stage.receive(stage.callee, "REFER")
    assert passed.one("refer-to") == f"<sip:300@{host}:5070>"
    stage.callee.send(b.response(passed, 202, "Accepted"))
    assert stage.receive(stage.caller, "202")
    stage.hang_up(a)


@pytest.mark.parametrize("method", ["INFO", "REFER"])
def test_before_the_answer_the_call_goes_on_without_it(stage: Bench, method: str) -> None:
    a, invite, b = rung(stage)
    asked = (("Refer-To", f"<sip:300@{stage.caller.address}>"),) if method == "REFER" else ()
    stage.caller.send(request(a, method, "", b"", *asked))
    assert stage.receive(stage.caller, "491").method == method
    stage.callee.send(b.response(invite, 200, "OK", audio(stage.callee.address, 5000, codecs=(AMR_WB,))))
    stage.receive(stage.callee, "ACK")
    answered = stage.receive(stage.caller, "200")
    a.learn(answered)
    a.cseq = int(answered.one("cseq").split()[0])
    stage.caller.send(a.request("ACK"))
    a.cseq += 1
    stage.caller.send(request(a, "INFO"))
    passed = stage.receive(stage.callee, "INFO")
    stage.callee.send(b.response(passed, 200))
    assert stage.receive(stage.caller, "200").method == "INFO"
    stage.hang_up(a)


def test_attended_transfer_names_the_dialog_of_the_other_side(stage: Bench) -> None:
    a, b = up(stage)
    c, d = up(stage)  # the consultation
    ours = tag(c.remote)
    replaces = quote(f"{c.call_id};to-tag={ours};from-tag={tag(c.local)}", safe="")
    stage.caller.send(
        request(
            a, "REFER", "", b"", ("Refer-To", f"<sip:300@{stage.callee.address}?Replaces={replaces}&X-A=b>")
        )
    )
    passed = stage.receive(stage.callee, "REFER")
    named = unquote(passed.one("refer-to").partition("Replaces=")[2].partition("&")[0])
    assert named == f"{d.call_id};to-tag={tag(d.local)};from-tag={tag(d.remote)}"
    assert passed.one("refer-to").endswith("&X-A=b>")
    stage.callee.send(b.response(passed, 202, "Accepted"))
    assert stage.receive(stage.caller, "202")

    # The party that was transferred calls by way of us, with either side's name of the dialog.
    for value in (f"{c.call_id};to-tag={ours};from-tag={tag(c.local)}", named):
        e = Dialog.calling(stage.caller)
        stage.caller.send(
            e.request("INVITE", audio(stage.caller.address, 4000, codecs=(AMR_WB,)), (("Replaces", value),))
        )
        invite = stage.receive(stage.callee, "INVITE")
        assert invite.one("replaces") == named
        stage.callee.send(Dialog.called(stage.callee, invite).response(invite, 486))
        stage.receive(stage.callee, "ACK")
        stage.receive(stage.caller, "486")
        stage.caller.send(e.request("ACK"))
    assert stage.endpoint.active == 2, "it is for the parties to end what was replaced"


def test_replaces_that_names_no_call_of_ours_is_no_takeover(stage: Bench) -> None:
    a, _ = up(stage)
    wrong = f"{a.call_id};to-tag=guess;from-tag={tag(a.local)}"
    e = Dialog.calling(stage.caller)
    stage.caller.send(
        e.request("INVITE", audio(stage.caller.address, 4000, codecs=(AMR_WB,)), (("Replaces", wrong),))
    )
    invite = stage.receive(stage.callee, "INVITE")
    assert not [name for name, _ in invite.headers if name.lower() == "replaces"]
    assert stage.endpoint.active == 2


def test_requests_outside_of_calls_and_without_refer_to_are_refused(stage: Bench) -> None:
    a, _ = up(stage)
    stage.caller.send(request(a, "REFER"))
    assert stage.receive(stage.caller, "400")
    stray = Dialog.calling(stage.caller)
    for method, code in (("INFO", "405"), ("REFER", "405"), ("MESSAGE", "405"), ("NOTIFY", "489")):
        stage.caller.send(request(stray, method))
        assert stage.receive(stage.caller, code)
    stray.remote += ";tag=none"
    stage.caller.send(request(stray, "INFO"))
    assert stage.receive(stage.caller, "481")
    stage.hang_up(a)


def test_a_request_that_waits_dies_with_its_call(stage: Bench) -> None:
    a, b = up(stage)
    stage.caller.send(request(a, "MESSAGE", "text/plain", b"hello"))
    passed = stage.receive(stage.callee, "MESSAGE")
    stage.hang_up(a)
    stage.callee.send(b.response(passed, 200))
    assert stage.receive(stage.caller, "200").method == "MESSAGE"


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal= a\r\nDuration=1\r\n", "A"),
        ("application/dtmf-relay", b"Duration=1\r\nsignal=*", "*"),
        ("application/dtmf-relay", b"Signal=55\r\n", ""),
        ("application/dtmf;x=y", b"#\r\n", "#"),
        ("application/dtmf", b"12", ""),
        ("text/plain", b"5", ""),
    ],
)
def test_keys_in_info(kind: str, body: bytes, digit: str) -> None:
    text = (
        f"INFO sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
        f"To: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INFO\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    assert passing.digit(headers.read_message(text.encode() + body)) == digit


@pytest.mark.parametrize("value", ["", "x", "x;to-tag=a", ";to-tag=a;from-tag=b", "x\n;to-tag=a;from-tag=b"])
def test_a_malformed_replaces_names_nothing(value: str) -> None:
    assert passing.named_dialog(value) is None
    assert passing.named_dialog("c@d;from-tag=b;to-tag=a;early-only") == DialogName("c@d", "a", "b")


@pytest.mark.parametrize(
    ("method", "header", "wish"),
    [
        ("INFO", "Record: on", True),
        ("INFO", "Record: OFF ", False),
        ("INFO", "Record: maybe", None),
        ("INFO", "Subject: on", None),
        ("MESSAGE", "Record: off", None),
    ],
)
def test_a_telephone_may_ask_for_a_pause_in_info(method: str, header: str, wish: bool | None) -> None:
    text = (
        f"{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
        f"To: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 2 {method}\r\n{header}\r\nContent-Length: 0\r\n\r\n"
    )
    assert passing.record_wish(headers.read_message(text.encode())) is wish
