"""The event log of real calls: each line about a call names it, and none names a person or a key."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sdp_bodies
import yaml
from daemon import Purpose, Settings, eventually, recproxy
from processes import Process
from rig import CALLER_NUMBER, NUMBER, Call, Rig
from rtp_peer import packet

from recproxy.logevents import EVENTS

pytestmark = pytest.mark.interop

ETC = Path(__file__).resolve().parents[1] / "etc"
CODECS = (sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT)
#: What tells of a call: the rest of ``recording.`` and ``media.`` is of the store and of the engine.
ABOUT_CALLS = {name for name in EVENTS if name.startswith(("call.", "leg.", "notice.", "choice."))} | {
    *(f"recording.{what}" for what in ("opened", "paused", "resumed", "sealed", "failed", "discarded")),
    *(f"media.{what}" for what in ("released", "failed", "dropped", "unavailable")),
}
INLINE = "c2VjcmV0IG1hc3RlciBrZXkgYW5kIHNhbHQgMTIz"
CRYPTO = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{INLINE}\r\n".encode()
REF = re.compile(r"[0-9a-f]{16}\Z")


def _press(call: Call, digit: int) -> None:
    """The caller presses a key."""
    call.left_talk.stop()
    spoken = len(call.left_talk.sent_ns)
    for part in range(3):
        payload = bytes([digit, 0x80 if part else 0]) + (160 * (part + 1)).to_bytes(2)
        call.left.send(
            packet(
                payload,
                sequence=65_500 + spoken + part,
                timestamp=0xFFFFF000 + spoken * 160,
                ssrc=0x11110001,
                payload_type=101,
                marker=part == 0,
            ),
            sdp_bodies.media_target(call.caller.remote_sdp),
        )


def _calls(rig: Rig) -> set[str]:
    """Calls of every kind; returns the references of those that became one."""
    refs = set()
    recorded = rig.dial(codecs=CODECS, seconds=20)
    rig.recorded(recorded)
    _press(recorded, 9)  # the key that refuses
    rig.daemon.wait("recording.discarded", call_ref=recorded.ref)
    recorded.hang_up()
    whole = rig.dial(seed=2, seconds=10)
    rig.recorded(whole)
    rig.talk_on(whole, 0.5)
    whole.hang_up()
    rig.sealed(whole)
    refs |= {recorded.ref, whole.ref}
    left = rig.peer(rig.lease.addresses.caller)
    offer = sdp_bodies.audio(left.address, left.port)
    secure = offer.replace(b"RTP/AVP", b"RTP/SAVP") + CRYPTO
    for number, body, code in (
        (NUMBER, secure, 486),  # refused by the callee
        (NUMBER, sdp_bodies.audio(left.address, left.port, codecs=(sdp_bodies.AMR_WB,)), 488),  # by us
        ("0900123456", offer, 403),  # denied
        (NUMBER, secure.replace(b"c=IN", b"c=XX"), 400),  # malformed
    ):
        start = rig.daemon.mark
        dialog = rig.caller.invite(number, rig.daemon.sip, body, caller=CALLER_NUMBER)
        if code == 486:
            rig.callee.next_call().reject(486, f"Busy: {CALLER_NUMBER} called")
        answer = dialog.wait_response(300)
        assert code in {400, answer.code}
        ended = "call.ended" if code in {486, 488} else "call.refused"
        refs.add(str(rig.daemon.wait(ended, start=start)["call_ref"]))
    ringing = rig.caller.invite(NUMBER, rig.daemon.sip, offer, caller=CALLER_NUMBER)
    start = rig.daemon.mark
    rig.callee.next_call().ring()
    ringing.wait_response(180)
    ringing.cancel()
    refs.add(str(rig.daemon.wait("call.ended", start=start)["call_ref"]))
    return refs


def test_every_line_about_a_call_has_its_reference_and_none_names_anybody(
    make_rig: Callable[..., Rig],
) -> None:
    refusing = Purpose(
        on_failure="block_call",
        more={"choice": {"mode": "opt_out", "keys": ["9"]}},
        text="Opname. Geen opname? Toets 9.",
    )
    rig = make_rig(Settings(purposes={"training": refusing}))
    document = yaml.safe_load(rig.daemon.config.read_text())
    document["trunks"]["carrier"]["deny"] = ["0900"]
    document["log"]["level"] = "debug"
    rig.daemon.config.write_text(yaml.safe_dump(document))
    rig.daemon.start()
    refs = _calls(rig)
    rig.daemon.stop()
    lines = [json.loads(line) for line in rig.daemon.everything_said.splitlines() if line.startswith("{")]
    about = [line for line in lines if line["event"] in ABOUT_CALLS]
    assert len(about) > 25
    assert {"call.offered", "call.refused", "call.denied", "notice.failed", "choice.refused"} <= {
        line["event"] for line in about
    }
    for line in about:
        assert REF.match(line.get("call_ref", "")), line
    assert {line["call_ref"] for line in about} == refs, "each of these calls, and no other"
    banned = [
        CALLER_NUMBER,
        NUMBER,
        CALLER_NUMBER[3:],
        NUMBER[3:],
        "0900123456",
        "a=crypto",
        "inline:",
        INLINE,
    ]
    banned += [rig.lease.addresses.caller, rig.lease.addresses.callee, "Busy:"]
    for text in rig.daemon.everything_said.splitlines():
        for secret in banned:
            assert secret not in text, text
        assert not re.search(r': ?"[0-9*#]"', text), f"a key that was pressed: {text}"


def test_a_system_log_gets_every_line_and_none_waits_for_it(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    place = tmp_path / "log"
    got: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(place))
        reader = threading.Thread(
            target=lambda: got.extend(iter(lambda: listener.recv(65536), b"")), daemon=True
        )
        reader.start()
        rig = make_rig(Settings(more={"log": {"syslog": str(place)}}))
        rig.daemon.start()
        call = rig.dial(seconds=10)
        rig.recorded(call)
        call.hang_up()
        rig.sealed(call)
        assert rig.daemon.stop() == 0
        lines = dict.fromkeys(rig.daemon.everything_said.splitlines())  # a stopped daemon's are there twice
        said = [line for line in lines if line.startswith("{")]
        eventually(lambda: len(got) == len(said), within_s=20, what="each line in the system log")
        assert [data.decode().split(" - ", 1)[1] for data in got] == said
        place.unlink()
        rig.daemon.start()
        assert rig.daemon.wait("syslog.failed")["why"] == "No such file or directory"
        call = rig.dial(seed=2, seconds=10)
        call.hang_up()
        rig.daemon.wait("call.ended", call_ref=call.ref)


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not here")
@pytest.mark.skipif(not ETC.exists(), reason="runs where the file is")
def test_a_log_in_a_file_is_rotated_under_a_running_daemon(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    """As ``StandardOutput=append:`` opens it."""
    rig = make_rig()
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o755)
    file = logs / "recproxy.log"
    rules = tmp_path / "recproxy.logrotate"
    rules.write_text((ETC / "recproxy.logrotate").read_text().replace("/var/log/recproxy", str(logs)))

    def said(event: str) -> bool:
        return f'"{event}"' in file.read_text()

    config = str(rig.daemon.config)
    argv = ["sh", "-euc", f'exec {" ".join(recproxy())} run --config "$1" >>"$2"', "sh", config, str(file)]
    with Process(argv, name="recproxy", directory=tmp_path) as daemon:
        eventually(lambda: file.exists() and said("daemon.ready"), within_s=60, what="daemon.ready")
        subprocess.run(["logrotate", "-f", "-s", str(tmp_path / "state"), str(rules)], check=True)
        assert '"daemon.ready"' in (logs / "recproxy.log.1").read_text()
        assert file.read_bytes() == b""
        dialog = rig.caller.invite(
            NUMBER, rig.daemon.sip, sdp_bodies.audio(rig.caller.address, 40000), caller=CALLER_NUMBER
        )
        rig.callee.next_call().reject(486, "Busy Here")
        dialog.wait_response(300)
        eventually(lambda: said("call.ended"), within_s=20, what="the next line in the emptied file")
        assert file.read_bytes().startswith(b"{"), "no hole where the old lines were"
        daemon.close()
