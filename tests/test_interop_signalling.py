"""SIP through the whole daemon: renewed certificates, refreshes, early offers, what peers are told."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import rig as rigs
import yaml
from certificates import Authority, Issued
from daemon import eventually
from peers import Sipp
from rig import CALLER_NUMBER, NUMBER, Rig

pytestmark = pytest.mark.interop

TLS_PORT = 5061
REFRESH_S = 45  # half of the shortest interval (RFC 4028 section 5)


# ------------------------------------------------------------------ certificates
def _shown(rig: Rig, authority: Authority) -> str:
    """Serial number of the certificate that the daemon shows to a new connection."""
    host = rig.lease.addresses.daemon
    context = authority.client()
    with (
        socket.create_connection((host, TLS_PORT), 10, (rig.lease.addresses.caller, 0)) as plain,
        context.wrap_socket(plain) as secured,
    ):
        shown = secured.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


def _listening(rig: Rig, authority: Authority, issued: Issued) -> None:
    document = yaml.safe_load(rig.daemon.config.read_text())
    tls = {"certificate": str(issued.certificate), "key": str(issued.key), "ca": str(authority.path)}
    document["sip"]["listen"].append(
        {"transport": "tls", "address": rig.lease.addresses.daemon, "port": TLS_PORT, "tls": tls}
    )
    rig.daemon.config.write_text(yaml.safe_dump(document))


def test_a_renewed_certificate_counts_from_the_reload_on_and_a_bad_one_is_refused(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    rig = make_rig()
    host = rig.lease.addresses.daemon
    issued = authority.issue(host)
    _listening(rig, authority, issued)
    rig.daemon.start()
    call = rig.dial(seconds=60)
    rig.recorded(call)
    first = _shown(rig, authority)
    good = issued.key.read_bytes()
    issued.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nnone\n")
    assert _shown(rig, authority) == first, "nothing counts before a reload"
    mark = rig.daemon.mark
    rig.daemon.signal(signal.SIGHUP)
    why = str(rig.daemon.wait("config.rejected", start=mark)["why"])
    assert "sip.listen[2].tls" in why
    assert "no certificate and key in PEM form" in why
    assert _shown(rig, authority) == first
    issued.key.write_bytes(good)
    issued.key.chmod(0o644)
    mark = rig.daemon.mark
    rig.daemon.signal(signal.SIGHUP)
    assert "mode 0644" in str(rig.daemon.wait("config.rejected", start=mark)["why"])
    issued.key.chmod(0o600)
    authority.issue(host)
    mark = rig.daemon.mark
    rig.daemon.signal(signal.SIGHUP)
    rig.daemon.wait("certificate.renewed", start=mark, transport=f"tls:{host}:{TLS_PORT}")
    said = rig.daemon.wait("certificate.expiring", start=mark, transport=f"tls:{host}:{TLS_PORT}")
    assert said["days"] == 0
    rig.daemon.wait("config.loaded", start=mark)
    assert _shown(rig, authority) != first
    rig.talk_on(call, 0.5)
    call.hang_up()
    rig.sealed(call)


def test_a_key_that_others_can_read_keeps_the_daemon_from_starting(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    rig = make_rig()
    issued = authority.issue(rig.lease.addresses.daemon)
    issued.key.chmod(0o640)
    _listening(rig, authority, issued)
    process = rig.daemon.launch()
    assert process.wait(within_s=60) == 78
    assert f"{issued.key}: mode 0640 lets others read it; chmod 600" in rig.daemon.everything_said


# ------------------------------------------------------------------- refreshes
def test_both_legs_are_refreshed_by_us_at_half_the_interval_and_the_recording_goes_on(
    make_rig: Callable[..., Rig],
) -> None:
    """We are UAS to the caller and UAC to the callee, and refresh both dialogs (RFC 4028 section 10).

    The callee knows no UPDATE: a re-INVITE repeats to it what it was told last.
    """
    rig = make_rig()
    rig.daemon.start()
    interval = 2 * REFRESH_S
    call = rig.dial(
        seconds=3 * REFRESH_S,
        headers=(("Supported", "timer"), ("Session-Expires", f"{interval};refresher=uas")),
        answer_headers=(
            ("Require", "timer"),
            ("Session-Expires", f"{interval};refresher=uac"),
            ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS"),
        ),
    )
    answered = rig.daemon.wait("call.answered", call_ref=call.ref).at_ns
    recording = rig.recorded(call)
    update = rig.caller.next_request("UPDATE", within_s=REFRESH_S + 15)
    assert update.body == b"", "nothing changes"
    eventually(lambda: call.callee.reoffers, within_s=15, what="the re-INVITE")
    reinvite = call.callee.reoffers[0]
    assert reinvite.body == call.callee.invite.body
    for refresh in (update, reinvite):
        assert (refresh.at_ns - answered) / 1e9 == pytest.approx(REFRESH_S, abs=3)
        assert refresh.one("session-expires").startswith(f"{interval}")
    assert not call.caller.reoffers
    rig.talk_on(call, 1.0)
    call.hang_up()
    sealed = rig.sealed(call)
    compared = rigs.compare(call, rig.wave(recording))
    assert (len(compared.left), len(compared.right), sealed["paused_ms"]) == (1, 1, 0)


def test_sipp_refreshes_by_update_and_by_reinvite_from_either_side(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    """Each dialog is refreshed for itself; an offer that changes something is passed on, glare is 491."""
    rig = make_rig()
    rig.daemon.start()
    addresses = rig.lease.addresses
    rig.caller.close()
    rig.callee.close()
    with (
        Sipp("callee_refreshes", at=addresses.callee, remote=rig.daemon.sip, directory=tmp_path) as callee,
        Sipp(
            "caller_refreshes", at=addresses.caller, remote=rig.daemon.sip, directory=tmp_path, talk_ms=1500
        ) as caller,
    ):
        callee.wait_bound()
        caller.finish()
        callee.finish()
    assert rig.daemon.wait("call.ended")["outcome"] == "answered"
    rig.daemon.wait("recording.sealed")
    assert not rig.daemon.said("recording.paused")


# ------------------------------------------------------------ what a trunk is told
def test_the_pbx_learns_which_recording_a_call_has_and_the_provider_does_not(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    document = yaml.safe_load(rig.daemon.config.read_text())
    document["trunks"]["pbx"]["recording_id"] = True
    rig.daemon.config.write_text(yaml.safe_dump(document))
    rig.daemon.start()
    call = rig.dial()
    recording = rig.recorded(call)
    rig.talk_on(call, 0.5)
    call.hang_up()
    assert call.callee.wait_ended().one("x-recording-id") == recording
    assert not [message for message in rig.caller.received if message.all("x-recording-id")]


# ------------------------------------------------------------------- transfers
def test_a_provider_may_refer_the_callee_and_is_told_how_it_went(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial()
    rig.recorded(call)
    refer_to = ("Refer-To", "<sip:+31207654321@elsewhere.example>")
    assert call.caller.request("REFER", headers=(refer_to,)).code == 200
    refer = rig.callee.next_request("REFER")
    assert refer.one("refer-to") == refer_to[1]
    event = (("Event", "refer"), ("Subscription-State", "terminated;reason=noresource"))
    done = call.callee.request("NOTIFY", b"SIP/2.0 200 OK\r\n", kind="message/sipfrag", headers=event)
    assert done.code == 200
    notify = rig.caller.next_request("NOTIFY")
    assert (notify.body, notify.one("event")) == (b"SIP/2.0 200 OK\r\n", "refer")
    call.hang_up()
    rig.sealed(call)


# ---------------------------------------------------------------- early offers
def test_offers_and_answers_before_the_call_is_answered(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    """sipp on either side: a reliable 183 with SDP, PRACK, then UPDATE with SDP, then 200 without."""
    rig = make_rig()
    rig.daemon.start()
    addresses = rig.lease.addresses
    rig.caller.close()
    rig.callee.close()
    with (
        Sipp(
            "callee_prack",
            at=addresses.callee,
            remote=rig.daemon.sip,
            directory=tmp_path,
            number=NUMBER,
            caller=CALLER_NUMBER,
        ) as callee,
        Sipp(
            "caller_prack",
            at=addresses.caller,
            remote=rig.daemon.sip,
            directory=tmp_path,
            number=NUMBER,
            caller=CALLER_NUMBER,
        ) as caller,
    ):
        callee.wait_bound()
        caller.finish()
        callee.finish()
    ended = rig.daemon.wait("call.ended")
    assert ended["outcome"] == "answered"


def test_messages_of_the_shape_of_freeswitch_and_3cx(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    """Neither is here: sipp says what they say, as the scenarios tell. Hold pauses, nothing breaks."""
    rig = make_rig()
    rig.daemon.start()
    addresses = rig.lease.addresses
    rig.caller.close()
    rig.callee.close()
    with (
        Sipp("callee_3cx", at=addresses.callee, remote=rig.daemon.sip, directory=tmp_path) as callee,
        Sipp("caller_freeswitch", at=addresses.caller, remote=rig.daemon.sip, directory=tmp_path) as caller,
    ):
        callee.wait_bound()
        caller.finish()
        callee.finish()
    ended = rig.daemon.wait("call.ended")
    assert ended["outcome"] == "answered"
