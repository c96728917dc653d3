"""Asterisk by TLS and SRTP (etc/examples/asterisk-secure), by IPv6, and with reliable ringing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sdp_bodies
from certificates import Authority
from listening import find_runs
from loopback import free_port
from pbx_stage import Stage, stage
from rig import CALLER_NUMBER
from sip_message import inner_uri, parameter

pytestmark = pytest.mark.pbx


def _both_ways(pbx: Stage) -> None:
    """A call in each direction, recorded bit for bit."""
    for dial in (pbx.to_telephone, pbx.from_telephone):
        start = pbx.rig.daemon.mark
        caller, callee = dial()
        opened = pbx.recorded(start)
        caller.ear.wait_count(len(caller.ear.heard) + 75)
        caller.dialog.bye()
        callee.dialog.wait_ended()
        wave = pbx.sealed(opened)
        for side, party in enumerate((caller, callee)):
            runs = find_runs(wave.channel(side), party.talk.sent)
            assert len(runs) == 1
            assert runs[0].samples > 1.3 * 8000


def test_asterisk_by_tls_and_srtp_is_recorded(tmp_path: Path, prompts: Path) -> None:
    authority = Authority(tmp_path)
    files: dict[str, str | bytes] = {}

    def pbx_files(net: str) -> dict[str, str | bytes]:
        issued = authority.issue(f"{net}.3")
        files["keys/asterisk.crt"] = issued.certificate.read_bytes()
        files["keys/asterisk.key"] = issued.key.read_bytes()
        files["keys/ca.crt"] = authority.path.read_bytes()
        return files

    def secured(document: dict[str, Any]) -> None:
        for listen in document["sip"]["listen"]:
            if listen["transport"] == "tls":
                ours = authority.issue(listen["address"])
                listen["tls"] |= {
                    "certificate": str(ours.certificate),
                    "key": str(ours.key),
                    "ca": str(authority.path),
                }

    with stage(tmp_path, prompts, "asterisk-secure", change=secured, files=pbx_files) as pbx:
        _both_ways(pbx)
        said = pbx.asterisk.process.lines
        assert any(line.startswith("a=crypto:") for line in said), "keys in the SDP"
        assert any("RTP/SAVP" in line for line in said)


def test_asterisk_by_ipv6_is_recorded(tmp_path: Path, prompts: Path) -> None:
    ours, its = free_port(), free_port()

    def six(document: dict[str, Any]) -> None:
        document["sip"]["listen"].append({"transport": "udp", "address": "::1", "port": ours})
        document["media"]["address"] = [document["media"]["address"], "::1"]
        document["trunks"]["asterisk"] |= {"peers": ["::1"], "targets": f"sip:[::1]:{its};transport=udp"}

    def pjsip(text: str) -> str:
        trunk = text.replace("transport=udp\ncontext=from-provider", "transport=six\ncontext=from-provider")
        trunk = trunk.replace("contact=sip:192.0.2.1:5060", f"contact=sip:[::1]:{ours}")
        trunk = trunk.replace("match=192.0.2.1\n", "match=::1\n")
        return trunk + f"\n[six]\ntype=transport\nprotocol=udp\nbind=[::1]:{its}\n"

    with stage(tmp_path, prompts, change=six, pjsip=pjsip) as pbx:
        _both_ways(pbx)
        assert any(line.startswith("c=IN IP6 ::1") for line in pbx.asterisk.process.lines)


def _reliable(text: str) -> str:
    return text.replace("t38_udptl=no", "100rel=required")


def test_asterisk_acknowledges_reliable_ringing_of_the_provider(tmp_path: Path, prompts: Path) -> None:
    with stage(tmp_path, prompts) as pbx:
        start = pbx.rig.daemon.mark
        phone, provider = pbx.rig.peer(pbx.telephone.address), pbx.rig.peer(pbx.provider.address)
        dialog = pbx.telephone.invite(
            CALLER_NUMBER, (pbx.pbx, 5060), sdp_bodies.audio(phone.address, phone.port), caller="reception"
        )
        taken = pbx.provider.next_call()
        assert "100rel" in taken.invite.one("supported")
        answer = sdp_bodies.audio(provider.address, provider.port)
        pbx.provider.respond(
            taken.invite,
            183,
            "Session Progress",
            answer,
            to_tag=taken.to_tag,
            headers=(("Require", "100rel"), ("RSeq", "7")),
        )
        prack = pbx.provider.next_request("PRACK")
        assert prack.one("rack").split()[0] == "7"
        taken.answer(answer)
        dialog.wait_answer()
        pbx.recorded(start)
        dialog.bye()
        taken.wait_ended()


def test_the_provider_acknowledges_reliable_ringing_of_asterisk(tmp_path: Path, prompts: Path) -> None:
    with stage(tmp_path, prompts, pjsip=_reliable) as pbx:
        start = pbx.rig.daemon.mark
        ear = pbx.rig.peer(pbx.provider.address)
        dialog = pbx.provider.invite(
            "early",
            pbx.rig.daemon.sip,
            sdp_bodies.audio(ear.address, ear.port),
            headers=(("Supported", "100rel"),),
        )
        progress = dialog.wait_response(183)
        assert "PRACK" in " ".join(pbx.asterisk.process.lines)
        ear.wait_count(25)
        if progress.all("rseq"):
            dialog.remote, dialog.target = progress.one("to"), inner_uri(progress.one("contact"))
            assert parameter(dialog.remote, "tag")
            rack = ("RAck", f"{progress.one('rseq')} {dialog.invite.cseq} INVITE")
            assert dialog.request("PRACK", headers=(rack,)).code == 200
        dialog.cancel()
        assert dialog.wait_response(200).code == 487
        offered = pbx.rig.daemon.wait("call.offered", start=start)
        ended = pbx.rig.daemon.wait("call.ended", start=start, call_ref=offered["call_ref"])
        assert ended["outcome"] == "cancelled"
