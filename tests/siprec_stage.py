"""A daemon whose only peer is a recording client, and forked calls whose every packet is known."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import yaml
from daemon import Purpose, Settings
from listening import read_wave, unmistakable
from parties import eventually
from rig import NUMBER, Call, Compared, Rig, compare
from rtp_peer import RtpPeer
from siprec_client import CALLEE, CALLER, fork, metadata, offer, targets
from softphone import Dialog

ASSERTED = {"announce__fork": {"trunks": ["sbc"], "evidence": "asserted"}}
DECLARED = {
    "announce__fork": {
        "trunks": ["sbc"],
        "evidence": "declared",
        "authorised_by": "FG J. Jansen",
        "ref": "Testverslag SBC",
        "date": "2026-01-02",
    }
}


def fork_rig(
    make_rig: Callable[..., Rig],
    more: dict[str, Any] | None = None,
    beside: dict[str, Purpose] | None = None,
    **trunk: Any,
) -> Rig:
    """A daemon whose only peer is a recording client at the caller's address."""
    line = ("*",) if beside is None else (NUMBER,)
    training = Purpose(match=line, more=ASSERTED if more is None else more)
    made = make_rig(Settings(purposes={"training": training, **(beside or {})}))
    document = yaml.safe_load(made.daemon.config.read_text())
    document["trunks"] = {
        "sbc": {
            "peers": [made.lease.addresses.caller],
            "siprec": True,
            "direction": "inbound",
            "latch": "address",
            **trunk,
        }
    }
    made.daemon.config.write_text(yaml.safe_dump(document))
    made.daemon.start()
    return made


def begin(
    rig: Rig,
    *headers: tuple[str, str],
    document: bytes = b"",
    seed: int = 1,
    swapped: bool = False,
) -> Call:
    """Fork a call, and let both voices speak into the sections that the answer names."""
    left, right = rig.peer(rig.caller.address), rig.peer(rig.caller.address)
    start = rig.daemon.mark
    ports = (right.port, left.port) if swapped else (left.port, right.port)
    labels = ("2", "1") if swapped else ("1", "2")
    sdp = offer(left.address, ports, labels=labels)
    dialog = fork(rig.caller, rig.daemon.sip, sdp, document or metadata(CALLER, CALLEE), *headers)
    dialog.wait_answer()
    answered = rig.daemon.wait("call.answered", start=start)
    first, second = targets(dialog.remote_sdp)
    return speak(
        rig,
        dialog,
        str(answered["call_ref"]),
        left,
        right,
        (second, first) if swapped else (first, second),
        seed,
    )


def speak(
    rig: Rig,
    dialog: Dialog,
    ref: str,
    left: RtpPeer,
    right: RtpPeer,
    to: tuple[tuple[str, int], tuple[str, int]],
    seed: int,
) -> Call:
    left_talk = left.talk(unmistakable(20.0, 2 * seed), to[0], payload_type=0, ssrc=0x1111 * seed)
    right_talk = right.talk(unmistakable(20.0, 2 * seed + 1), to[1], payload_type=0, ssrc=0x1111 * seed + 1)
    return Call(ref, dialog, dialog, left, right, left_talk, right_talk)


def audit(rig: Rig) -> list[dict[str, Any]]:
    """Lines of the audit chain."""
    return rig.daemon.audited()


def said_for(call: Call, frames: int) -> None:
    """Wait until both voices have said so much more."""
    for talk in (call.left_talk, call.right_talk):
        count = len(talk.sent_ns) + frames
        eventually(partial(len, talk.sent_ns), partial(operator.le, count))


def compared_after(rig: Rig, call: Call, recording: str, frames: int) -> Compared:
    """Let both voices say so much more, end the fork, and hold its recording against what was sent."""
    said_for(call, frames)
    call.caller.bye()
    call.silence()
    rig.sealed(call)
    return compare(call, read_wave(rig.daemon.open_with_age(recording)))
