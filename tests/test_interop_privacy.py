"""A whole run, calls, keys pressed, errors and commands: no number, no digit, no key is left in the open."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rig as rigs
import sdp_bodies
import yaml
from daemon import recproxy
from rig import CALLER_NUMBER, NUMBER, Rig
from rtp_peer import packet

pytestmark = pytest.mark.interop

_DIGITS = "739150284617"
_CODES = {**{str(digit): digit for digit in range(10)}, "*": 10, "#": 11}  # RFC 4733 section 3.2
_INLINE = "c2VjcmV0IG1hc3RlciBrZXkgYW5kIHNhbHQgMTIz"  # 30 bytes, a key and its salt
_CRYPTO = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{_INLINE}\r\n".encode()


@dataclass(frozen=True, slots=True)
class Traces:
    """What a run left.

    Attributes:
        said: By where it was said: logs, standard outputs, standard errors.
        files: By path: what lies in the data directory and beside it.
    """

    said: dict[str, str]
    files: dict[str, bytes]


def _press(rig: Rig) -> None:
    """One recorded call in which the caller presses all the digits."""
    call = rig.dial(seconds=30, codecs=(sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT))
    rig.recorded(call)
    rig.talk_on(call, 0.3)
    call.left_talk.stop()
    target = sdp_bodies.media_target(call.caller.remote_sdp)
    spoken = len(call.left_talk.sent_ns)
    for index, digit in enumerate(_DIGITS):
        for part in range(2):
            payload = bytes([_CODES[digit], 0x80 * part]) + (160 * (part + 1)).to_bytes(2)
            event = packet(
                payload,
                sequence=65_500 + spoken + index * 2 + part,
                timestamp=0xFFFFF000 + (spoken + index * 5) * 160,
                ssrc=0x11110001,
                payload_type=101,
                marker=part == 0,
            )
            call.left.send(event, target)
    call.left.wait_count(len(call.left.heard) + 25)
    call.hang_up()
    rig.sealed(call)
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert ended["keys_pressed"] == len(_DIGITS), "the digits were heard, or this test shows nothing"


def _refused(rig: Rig) -> None:
    """Calls and messages that make the daemon complain, each with the number and a key in it."""
    left = rig.peer(rig.lease.addresses.caller)
    body = sdp_bodies.audio(left.address, left.port).replace(b"RTP/AVP", b"RTP/SAVP") + _CRYPTO
    for spoiled in (body.replace(b"c=IN", b"c=XX"), body.replace(b"m=audio", b"m=audio x")):
        dialog = rig.caller.invite(NUMBER, rig.daemon.sip, spoiled, caller=CALLER_NUMBER)
        assert int(dialog.wait_response(300).start.split()[1]) >= 400
    garbage = f"INVITE sip:{NUMBER}@x SIP/2.0\r\nFrom: <sip:{CALLER_NUMBER}@\r\n\r\n".encode() + _CRYPTO
    rig.caller.send_raw(garbage, rig.daemon.sip)


def _commands(rig: Rig) -> Iterator[tuple[str, str]]:
    """Every kind of command on what was recorded, those that fail too, and what they said."""
    identity = str(rig.daemon.identity)
    number = CALLER_NUMBER + "\n"
    recording = rig.daemon.bodies()[0].stem
    until = ["--until", f"{datetime.now(UTC) + timedelta(days=9):%Y-%m-%d}"]
    out = str(rig.directory / "call.wav")
    runs: list[tuple[list[str], str]] = [
        (["recordings", "list", "--json"], ""),
        (["recordings", "verify", "--all", "-i", identity], ""),
        (["recordings", "show", "ffff"], ""),
        (["subject", "open", "--kind", "access"], number),
        (["subject", "open", "--kind", "erase", "--json"], number),
        (["subject", "open", "--kind", "access"], f"{CALLER_NUMBER}x\n"),
        (
            [
                "hold",
                "request",
                "ffff",
                "--reason",
                "claim",
                "--case",
                CALLER_NUMBER,
                "--until",
                "2099-01-01",
            ],
            "",
        ),
        (["subject", "status"], ""),
        (["subject", "statistics"], ""),
        (["recordings", "export", recording, "-i", identity, "--use", CALLER_NUMBER, "-o", out], ""),
        (["recordings", "export", recording, "-i", identity, "--use", "training", "-o", out], ""),
        (["recordings", "request", recording, "--use", "training"], ""),
        (["recordings", "promote", recording, "--tag", CALLER_NUMBER], ""),
        (["hold", "request", recording, *until, "--reason", "claim", "--case", CALLER_NUMBER], ""),
        (["authority", "request", recording, "--authority", "police", "--order", CALLER_NUMBER], ""),
        (["authority", "request", recording, "--authority", "police", "--order", "PV 12"], ""),
        (["authority", "list"], ""),
        (["notices", "statement"], ""),
        (["audit", "verify"], ""),
        (["retention", "--once"], ""),
        (["policy", "check", str(rig.daemon.policy)], ""),
    ]
    for words, stdin in runs:
        config = [] if words[0] == "policy" else ["--config", str(rig.daemon.config)]
        done = subprocess.run(
            [*recproxy(), *words, *config],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if words[:2] == ["subject", "open"] and stdin == number:
            assert done.returncode == 0, done.stderr
            assert re.search(r"[0-9a-f]{12}", done.stdout), "found by number"
        yield " ".join(words[:2]), done.stdout + done.stderr


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[Traces]:
    with rigs.rig(tmp_path_factory.mktemp("privacy"), prompts) as rig:
        yield _traces(rig)


def _traces(rig: Rig) -> Traces:
    cases = rig.directory / "cases"
    cases.mkdir(mode=0o700)
    document = yaml.safe_load(rig.daemon.config.read_text())
    document["subjects"] = {"directory": str(cases)}
    document["log"]["level"] = "debug"
    rig.daemon.config.write_text(yaml.safe_dump(document))
    rig.daemon.start()
    _press(rig)
    _refused(rig)
    said = {}
    for number, (name, text) in enumerate(_commands(rig)):
        said[f"{number} {name}"] = text
    rig.daemon.stop()
    said["the daemon"] = rig.daemon.everything_said
    kept = [*rig.daemon.files(), *cases.iterdir()]
    return Traces(said, {str(path): path.read_bytes() for path in kept if path.is_file()})


def test_no_number_no_digit_and_no_key_is_left_in_the_open(traces: Traces) -> None:
    assert "recording.sealed" in traces.said["the daemon"]
    numbers = [form for number in (NUMBER, CALLER_NUMBER) for form in (number, number[1:], number[3:])]
    pressed = [_DIGITS, ",".join(_DIGITS), " ".join(_DIGITS), _DIGITS[:6]]
    secrets = [
        "a=crypto",
        "inline:",
        _INLINE,
        base64.b64decode(_INLINE).hex(),
        "AGE-SECRET-KEY",
        "PRIVATE KEY",
    ]
    for where, text in traces.said.items():
        for banned in (*numbers, *pressed, *secrets):
            assert banned not in text, f"{banned} was said by {where}"
    for path, content in traces.files.items():
        for banned in (*numbers, *pressed, *secrets):
            assert banned.encode() not in content, f"{banned} is in {path}"


def test_no_single_key_is_told_anywhere(traces: Traces) -> None:
    """Not even one by one: no value that the daemon logs, and none in the audit chain, is one key."""
    chain = next(text.decode() for path, text in traces.files.items() if path.endswith("chain.jsonl"))
    for text in (traces.said["the daemon"], chain):
        assert not re.search(r'"(?:digit|digits|key|keys|dtmf)": ?"?[0-9*#]"', text)
        assert not re.search(r': ?"[0-9*#]"', text)
