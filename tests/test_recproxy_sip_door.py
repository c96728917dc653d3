"""Who gets in, and what is answered without a call."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from loopback import Lease
from sdp_bodies import audio
from sip_bench import Bench, Dialog, Wire, bench
from sip_message import SipMessage

from recproxy.call.commands import Note
from recproxy.call.events import InviteReceived
from recproxy.sip.limits import Limits
from recproxy.sip.native import SipStackError
from recproxy.sip.strangers import Strangers
from recproxy.sip.targets import Target
from recproxy.sip.trunks import Trunk
from storage.tags import Direction

pytestmark = pytest.mark.interop


@pytest.fixture
def stage() -> Iterator[Bench]:
    with bench(max_calls=2) as opened:
        yield opened


@pytest.fixture
def stranger(stage: Bench) -> Iterator[Wire]:
    wire = Wire(stage.lease.addresses.foreign, 5060, stage.caller.proxy)
    yield wire
    wire.close()


def _offer(stage: Bench) -> bytes:
    return audio(stage.caller.address, 4000)


def _reply(stage: Bench, wire: Wire) -> SipMessage:
    def came() -> bool:
        wire.read()
        return bool(wire.inbox)

    stage.until(came, f"an answer at {wire.address}")
    return wire.inbox.pop(0)


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER", "BYE", "NONSENSE"])
def test_a_stranger_is_refused_before_a_call_exists(stage: Bench, stranger: Wire, method: str) -> None:
    stranger.send(Dialog.calling(stranger).request(method, _offer(stage)))
    assert _reply(stage, stranger).code == 403
    assert stage.endpoint.counters()["refused_address"] == 1
    assert not stage.mirror.events
    stage.until(lambda: Note("peer.refused", (("count", 1),)) in stage.told, "the line in the log")


def test_many_strangers_are_one_line_a_minute() -> None:
    strangers = Strangers()
    assert [strangers.fresh(refused, now) for refused, now in ((0, 0.0), (1, 1.0), (9, 2.0), (9, 60.9))] == [
        *(0, 1, 0, 0)
    ]
    assert [strangers.fresh(refused, now) for refused, now in ((9, 61.0), (9, 200.0), (10, 201.0))] == [
        *(8, 0, 1)
    ]


def test_a_stranger_may_be_met_with_silence(stage: Bench, stranger: Wire) -> None:
    where = stage.lease.addresses
    trunks = (Trunk("office", (where.caller,), (Target(where.callee),), Direction.INBOUND, "office"),)
    stage.endpoint.apply(stage.settings(trunks=trunks, silent=True))
    stranger.send(Dialog.calling(stranger).request("INVITE", _offer(stage)))
    stage.until(lambda: stage.endpoint.counters()["refused_address"] == 1, "the refusal")
    stranger.read()
    assert not stranger.inbox


def test_a_reload_changes_who_gets_in_and_a_bad_one_changes_nothing(stage: Bench, stranger: Wire) -> None:
    where = stage.lease.addresses
    wrong = (Trunk("office", ("127.0.0.0/33",), (Target(where.callee),), Direction.INBOUND, "office"),)
    with pytest.raises((SipStackError, ValueError)):
        stage.endpoint.apply(stage.settings(trunks=wrong))
    stage.caller.send(Dialog.calling(stage.caller).request("OPTIONS"))
    assert stage.receive(stage.caller, "200")
    right = (Trunk("office", (where.foreign,), (Target(where.callee),), Direction.INBOUND, "office"),)
    stage.endpoint.apply(stage.settings(trunks=right))
    stranger.send(Dialog.calling(stranger).request("OPTIONS"))
    assert _reply(stage, stranger).code == 200
    stage.caller.send(Dialog.calling(stage.caller).request("OPTIONS"))
    assert stage.receive(stage.caller, "403")


def test_options_are_answered_200_and_503_when_draining(stage: Bench) -> None:
    stage.caller.send(Dialog.calling(stage.caller).request("OPTIONS"))
    answer = stage.receive(stage.caller, "200")
    assert answer.one("accept") == "application/sdp"
    assert answer.one("allow") == (
        "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, OPTIONS, INFO, REFER, NOTIFY, MESSAGE"
    )
    assert answer.one("supported") == "100rel, timer, replaces"
    stage.endpoint.drain()
    stage.caller.send(Dialog.calling(stage.caller).request("OPTIONS"))
    assert stage.receive(stage.caller, "503").one("retry-after") == "10"
    stage.caller.send(Dialog.calling(stage.caller).request("INVITE", _offer(stage)))
    assert stage.receive(stage.caller, "503")
    assert not stage.mirror.events


def test_one_call_too_many_gets_503_and_the_next_one_gets_in(stage: Bench) -> None:
    answer = audio(stage.callee.address, 5000)
    first = [stage.establish(_offer(stage), answer)[0] for _ in range(2)]
    extra = Dialog.calling(stage.caller)
    stage.caller.send(extra.request("INVITE", _offer(stage)))
    assert stage.receive(stage.caller, "503").one("retry-after") == "10"
    stage.caller.send(first[0].request("BYE"))
    stage.receive(stage.caller, "200")
    bye = stage.receive(stage.callee, "BYE")
    stage.callee.send(Dialog.called(stage.callee, bye).response(bye, 200))
    stage.until(lambda: stage.endpoint.active == 1, "a free place")
    stage.establish(_offer(stage), answer)


@pytest.mark.parametrize(
    ("method", "code"),
    [("REGISTER", 405), ("SUBSCRIBE", 405), ("MESSAGE", 405), ("PUBLISH", 405), ("REFER", 405),
     ("NOTIFY", 489), ("FROBNICATE", 405)],
)  # fmt: skip
def test_what_recproxy_does_not_do_is_refused(stage: Bench, method: str, code: int) -> None:
    stage.caller.send(Dialog.calling(stage.caller).request(method, more=(("Event", "presence"),)))
    answer = stage.receive(stage.caller, str(code))
    assert ("INVITE" in answer.one("allow")) == (code == 405)


def test_requests_inside_a_call_that_are_not_relayed_leave_it_alone(stage: Bench) -> None:
    a, _ = stage.establish(_offer(stage), audio(stage.callee.address, 5000))
    for method, body, code in (("SUBSCRIBE", b"", 405), ("PUBLISH", b"x", 405), ("OPTIONS", b"", 200)):
        stage.caller.send(a.request(method, body))
        assert stage.receive(stage.caller, str(code)).method == method
    stage.hang_up(a)


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"garbage", 488), (b"v=0\r\nm=audio x RTP/AVP 0\r\n", 488), (b"v=0\r\n" * 900, 488)],
)
def test_an_invite_without_a_usable_offer_gets_488(stage: Bench, body: bytes, code: int) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", body))
    answer = stage.receive(stage.caller, str(code))
    assert answer.one("warning").startswith("399 recproxy ")
    assert not stage.mirror.seen(InviteReceived)
    stage.caller.send(a.request("ACK"))
    stage.caller.send(Dialog.calling(stage.caller).request("OPTIONS"))
    stage.receive(stage.caller, "200")


def test_no_hops_left_is_483(stage: Bench) -> None:
    stage.caller.send(Dialog.calling(stage.caller).request("INVITE", _offer(stage), hops=0))
    assert stage.receive(stage.caller, "483")
    assert not stage.mirror.events


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:peer@[2001:db8::7]:5060>",
        "<sip:peer@192.0.2.7;transport=tls>",
        "<sips:peer@192.0.2.7>",
        "<tel:+31201234567>, <sip:peer@192.0.2.7;transport=pigeon>",
    ],
)
@pytest.mark.parametrize("header", ["Contact", "Record-Route"])
def test_a_caller_that_we_cannot_reach_is_told_so(stage: Bench, header: str, contact: str) -> None:
    dialog = Dialog.calling(stage.caller)
    if header == "Record-Route":
        contact = contact.rpartition(", ")[2]
        sent = dialog.request("INVITE", _offer(stage), (("Record-Route", contact),))
    else:
        sent = dialog.request("INVITE", _offer(stage))
        named = tuple((name, contact if name == "Contact" else value) for name, value in sent.headers)
        sent = replace(sent, headers=named)
    stage.caller.send(sent)
    answer = stage.receive(stage.caller, "488")
    assert answer.one("warning") == '399 recproxy "no transport to the Contact or Record-Route"'
    assert not stage.mirror.events


def test_one_listener_alone_reaches_callers_of_its_own_kind_of_address() -> None:
    with bench(transports=("udp",)) as stage:
        for where, code in (("[2001:db8::7]", "488"), ("192.0.2.7;transport=tcp", "180")):
            sent = Dialog.calling(stage.caller).request("INVITE", _offer(stage))
            named = tuple(
                (name, f"<sip:peer@{where}>" if name == "Contact" else value) for name, value in sent.headers
            )
            stage.caller.send(replace(sent, headers=named))
            if code == "180":
                invite = stage.receive(stage.callee, "INVITE")
                stage.callee.send(Dialog.called(stage.callee, invite).response(invite, 180, "Ringing"))
            assert stage.receive(stage.caller, code)


# ------------------------------------- a party of a call that says it has moved
def _from(message: SipMessage, contact: str) -> SipMessage:
    """The message as if it were sent by somebody who lives elsewhere."""
    return replace(
        message,
        headers=tuple((name, contact if name == "Contact" else value) for name, value in message.headers),
    )


@pytest.mark.parametrize("body", [True, False])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("side", ["caller", "callee"])
@pytest.mark.parametrize(
    "contact", ["<sip:peer@[2001:db8::7]:5060>", "<sip:peer@192.0.2.7;transport=tls>", "<tel:+31201234567>"]
)
def test_a_party_that_moves_out_of_reach_is_refused_and_the_call_goes_on(
    stage: Bench, side: str, method: str, contact: str, body: bool
) -> None:
    offer = _offer(stage)
    a, b = stage.establish(offer, offer)
    moving, other = (a, stage.callee) if side == "caller" else (b, stage.caller)
    stage.mirror.events.clear()
    other.inbox.clear()
    for _ in range(2):  # the second as it came again
        moving.wire.send(_from(moving.request(method, offer if body else b""), contact))
        answer = stage.receive(moving.wire, "488")
        assert answer.one("warning") == '399 recproxy "no transport to the Contact or Record-Route"'
    if method == "INVITE":
        moving.wire.send(moving.request("ACK"))
    assert not stage.mirror.events, "the call is as it was"
    assert not other.inbox
    moving.wire.send(moving.request("UPDATE"))  # from where it is
    stage.receive(moving.wire, "200")
    stage.hang_up(a) if side == "callee" else _hung_up_by_callee(stage, b)


def _hung_up_by_callee(stage: Bench, b: Dialog) -> None:
    b.wire.send(b.request("BYE"))
    stage.receive(b.wire, "200")
    bye = stage.receive(stage.caller, "BYE")  # it still finds the caller
    stage.caller.send(Dialog.called(stage.caller, bye).response(bye, 200, "OK"))
    stage.quiet()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_party_that_moves_within_reach_is_found_there(stage: Bench, method: str) -> None:
    offer = _offer(stage)
    a, b = stage.establish(offer, offer)
    moved = Wire(stage.caller.address, 5070, stage.caller.proxy)
    stage.more(moved)
    stage.caller.send(_from(a.request(method), moved.contact))
    if method == "INVITE":
        asked = stage.receive(stage.callee, "INVITE")
        stage.callee.send(b.response(asked, 200, "OK", offer))
        stage.receive(stage.caller, "200")
        stage.caller.send(a.request("ACK", offer))
        stage.receive(stage.callee, "ACK")
    else:
        stage.receive(stage.caller, "200")
    b.wire.send(b.request("BYE"))
    stage.receive(b.wire, "200")
    bye = stage.receive(moved, "BYE")
    moved.send(Dialog.called(moved, bye).response(bye, 200, "OK"))
    stage.quiet()
    moved.close()


def test_a_party_behind_a_proxy_may_live_anywhere(stage: Bench) -> None:
    """The proxy's Record-Route is what we send to: whether it reaches the party is its affair."""
    offer = _offer(stage)
    route = (("Record-Route", f"<sip:{stage.caller.address}:5060;lr>"),)
    a, _ = stage.establish(offer, offer, route)
    stage.caller.send(_from(a.request("UPDATE"), "<sip:peer@[2001:db8::7]:5060>"))
    stage.receive(stage.caller, "200")
    stage.hang_up(a)


def test_a_party_by_ipv6_may_not_move_to_where_no_socket_of_ours_is() -> None:
    with bench(transports=("udp",)) as stage:
        offer = _offer(stage)
        a, b = stage.establish(offer, offer)
        stage.caller.send(_from(a.request("UPDATE"), "<sip:peer@[::1]:5060>"))
        stage.receive(stage.caller, "488")
        stage.caller.send(_from(a.request("UPDATE"), "<sip:peer@192.0.2.7;transport=tcp>"))
        stage.receive(stage.caller, "200")  # the one socket is used whatever it asks for
        stage.caller.send(_from(a.request("UPDATE"), stage.caller.contact))
        stage.receive(stage.caller, "200")
        _hung_up_by_callee(stage, b)


def test_an_unknown_required_extension_is_420(stage: Bench) -> None:
    more = (("Require", "100rel, replaces, frob"),)
    stage.caller.send(Dialog.calling(stage.caller).request("INVITE", _offer(stage), more))
    assert stage.receive(stage.caller, "420").one("unsupported") == "frob"


def test_a_call_that_comes_back_is_482(stage: Bench) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", _offer(stage)))
    invite = stage.receive(stage.callee, "INVITE")
    back = Dialog.calling(stage.callee)
    back.call_id = invite.one("call-id")
    stage.callee.send(back.request("INVITE", _offer(stage)))
    assert stage.receive(stage.callee, "482")


def test_replaces_cannot_take_over_a_call(stage: Bench) -> None:
    a, _ = stage.establish(_offer(stage), audio(stage.callee.address, 5000))
    tag = a.remote.partition("tag=")[2]
    ours = a.local.partition("tag=")[2]
    thief = Dialog.calling(stage.caller)
    more = (("Replaces", f"{a.call_id};to-tag={tag};from-tag={ours}"),)
    stage.caller.send(thief.request("INVITE", _offer(stage), more))
    invite = stage.receive(stage.callee, "INVITE")
    assert a.call_id not in invite.one("replaces"), "the callee decides, and knows its own dialog only"
    stage.callee.send(Dialog.called(stage.callee, invite).response(invite, 486, "Busy Here"))
    stage.receive(stage.caller, "486")
    stage.caller.send(a.request("OPTIONS"))
    assert stage.receive(stage.caller, "200")


VIA = b"Via: SIP/2.0/UDP 1.1.1.1;branch=z9hG4bKPjzz\r\n"
MALFORMED = {
    "nothing": b"",
    "zeroes": b"\0" * 200,
    "line noise": bytes(range(256)) * 4,
    "no headers": b"INVITE sip:1@127.0.0.1 SIP/2.0\r\n\r\n",
    "no version": b"INVITE sip:1@127.0.0.1\r\nVia: x\r\n\r\n",
    "endless header": b"INVITE sip:1@x SIP/2.0\r\nVia: " + b"a" * 7000 + b"\r\n\r\n",
    "many headers": b"INVITE sip:1@x SIP/2.0\r\n" + VIA * 140 + b"\r\n",
    "negative length": b"OPTIONS sip:1@x SIP/2.0\r\n" + VIA + b"Content-Length: -5\r\n\r\n",
    "huge length": b"OPTIONS sip:1@x SIP/2.0\r\n" + VIA + b"Content-Length: 99999999999\r\n\r\n",
    "response to nothing": b"SIP/2.0 200 OK\r\n" + VIA + b"CSeq: 1 INVITE\r\n\r\n",
    "bad status": b"SIP/2.0 9999999999 X\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_messages_disturb_nobody(stage: Bench, name: str) -> None:
    a, _ = stage.establish(_offer(stage), audio(stage.callee.address, 5000))
    for _ in range(3):
        stage.caller.send(MALFORMED[name])
    with socket.create_connection(stage.caller.proxy, source_address=(stage.caller.address, 0)) as tcp:
        tcp.sendall(MALFORMED[name])
        stage.caller.send(a.request("OPTIONS"))
        assert stage.receive(stage.caller, "200").method == "OPTIONS"
    stage.hang_up(a)


def test_control_characters_do_not_reach_the_callee(stage: Bench) -> None:
    stage.caller.send(Dialog.calling(stage.caller).request("INVITE", _offer(stage), (("X-Evil", "a\x01b"),)))
    assert stage.receive(stage.caller, "400")
    more = (("X-Good", "a b"), ("Subject", "\xe9t\xe9 \u2603"))
    stage.caller.send(Dialog.calling(stage.caller).request("INVITE", _offer(stage), more))
    invite = stage.receive(stage.callee, "INVITE")
    assert invite.one("x-good") == "a b"
    assert invite.one("subject") == "\xe9t\xe9 \u2603"


def test_a_port_that_is_taken_is_named() -> None:
    with Lease.take() as lease, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((lease.addresses.daemon, 5060))
        with (
            pytest.raises(SipStackError, match=r"cannot listen on udp 127\.\d+\.\d+\.1 port 5060"),
            bench(lease=lease),
        ):
            pass


# -------------------------------------------------------------- full trunks
def test_options_of_a_trunk_that_is_full_get_503_and_those_of_others_200(stage: Bench) -> None:
    stage.trunk("office", limits=Limits(max_calls=1))
    a, _ = stage.establish(_offer(stage), audio(stage.callee.address, 5000))
    for wire, code in ((stage.caller, 503), (stage.callee, 200)):
        wire.send(Dialog.calling(wire).request("OPTIONS"))
        answer = stage.receive(wire, str(code))
        assert answer.method == "OPTIONS"
        assert answer.all("retry-after") == (["10"] if code == 503 else [])
    stage.caller.send(a.request("OPTIONS"))
    assert stage.receive(stage.caller, "200").method == "OPTIONS", "inside the call that stands"
    stage.hang_up(a)
    stage.caller.send(Dialog.calling(stage.caller).request("OPTIONS"))
    assert stage.receive(stage.caller, "200").method == "OPTIONS"


def test_a_reload_may_make_a_trunk_full_and_give_it_room(stage: Bench) -> None:
    a, _ = stage.establish(_offer(stage), audio(stage.callee.address, 5000))
    for limits, code in ((Limits(max_calls=1), 503), (Limits(max_calls=2), 200)):
        stage.trunk("carrier", limits=limits)
        stage.callee.send(Dialog.calling(stage.callee).request("OPTIONS"))
        assert stage.receive(stage.callee, str(code)).method == "OPTIONS"
    stage.hang_up(a)
