"""sipp on both sides: TCP, and many calls at once."""

from __future__ import annotations

import math
import resource
import subprocess
from pathlib import Path

import pjsua2 as pj
import pytest
from sdp_bodies import audio
from sip_bench import Bench, bench

from recproxy.call.events import CallerConfirmed

pytestmark = pytest.mark.interop

CALLER = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="caller">
  <send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:0301234567@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:a@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=a 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio 6000 RTP/AVP 96
a=rtpmap:96 AMR-WB/16000

  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200" rrs="true"><action>
    <ereg regexp="AMR-WB/16000" search_in="body" check_it="true" assign_to="1"/>
    <ereg regexp="m=audio 20000 RTP/AVP 96" search_in="body" check_it="true" assign_to="2"/>
  </action></recv>
  <Reference variables="1,2"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:0301234567@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

  ]]></send>
  <pause milliseconds="{hold}"/>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:0301234567@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

  ]]></send>
  <recv response="200"/>
</scenario>
"""

CALLEE = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="callee">
  <recv request="INVITE"/>
  <send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[pid]b[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

  ]]></send>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]b[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=b 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio 7000 RTP/AVP 96
a=rtpmap:96 AMR-WB/16000

  ]]></send>
  <recv request="ACK"/>
  <recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

  ]]></send>
</scenario>
"""


def _sipp(directory: Path, name: str, text: str, argv: list[str]) -> subprocess.Popen[bytes]:
    scenario = directory / f"{name}.xml"
    scenario.write_text(text)
    with (directory / f"{name}.out").open("wb") as out:
        return subprocess.Popen(
            ["sipp", "-sf", str(scenario), "-nostdin", "-timeout", "60s", "-timeout_error",
             "-trace_err", "-error_file", str(directory / f"{name}.err"), *argv],
            cwd=directory, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip


REFUSED = """<recv response="503" optional="true" next="refused"/>
  <recv response="200" rrs="true">"""
END = """<label id="end"/>
</scenario>"""
ACK_REFUSAL = """<recv response="200" next="end"/>
  <label id="refused"/>
  <send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
[last_Via:]
From: <sip:0301234567@[local_ip]:[local_port]>;tag=[pid]a[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

  ]]></send>
"""


@pytest.mark.load
def test_more_calls_than_can_be_set_up_are_refused_and_no_call_that_was_taken_suffers(
    tmp_path: Path,
) -> None:
    calls = 3000
    caller = CALLER.replace('<recv response="200" rrs="true">', REFUSED)
    caller = caller.replace('<recv response="200"/>\n</scenario>', ACK_REFUSAL + END)
    assert caller.count("refused") == 2
    with bench(max_calls=3000) as stage:
        a, _ = stage.establish(audio(stage.caller.address, 4000), audio(stage.callee.address, 5000))
        del a
        where = stage.lease.addresses
        stage.caller.close()
        stage.callee.close()
        common = ["-p", "5060", "-t", "u1", "-buff_size", "2097152"]
        answering = _sipp(tmp_path, "callee", CALLEE, ["-i", where.callee, *common])
        load = ["-m", str(calls), "-r", "3000", "-l", str(calls), f"{where.daemon}:5060", "-s", "0201234567"]
        calling = _sipp(
            tmp_path, "caller", caller.replace("{hold}", "200"), ["-i", where.caller, *common, *load]
        )
        try:
            while calling.poll() is None or stage.endpoint.active > 1:
                stage.endpoint.poll(5)
                stage.mirror.pump(stage.endpoint)
        finally:
            for process in (calling, answering):
                process.kill()
                process.wait()
        errors = tmp_path / "caller.err"
        assert calling.returncode == 0, errors.read_text()[-800:] if errors.exists() else "no word"
        counters = stage.endpoint.counters()
        taken = len(stage.mirror.seen(CallerConfirmed)) - 1
        print(f"{taken} of {calls} calls taken, {counters['refused_admission']} refused")
        assert counters["overloads"] >= 1
        assert taken + counters["refused_admission"] >= calls
        assert stage.endpoint.active == 1, "the call that stood before stands still"


def _run(stage: Bench, directory: Path, calls: int, rate: int, hold_ms: int, transport: str = "u1") -> None:
    """Run sipp against sipp; the endpoint is polled until both have ended."""
    stage.caller.close()
    stage.callee.close()
    where = stage.lease.addresses
    common = ["-p", "5060", "-t", transport, "-m", str(calls), "-buff_size", "2097152"]
    callee = _sipp(directory, "callee", CALLEE, ["-i", where.callee, *common])
    caller = _sipp(
        directory,
        "caller",
        CALLER.replace("{hold}", str(hold_ms)),
        [
            "-i",
            where.caller,
            *common,
            "-s",
            "0201234567",
            "-r",
            str(rate),
            "-l",
            str(calls),
            f"{where.daemon}:5060",
        ],
    )
    try:
        while caller.poll() is None or callee.poll() is None:
            stage.endpoint.poll(5)
            stage.mirror.pump(stage.endpoint)
    finally:
        for process in (caller, callee):
            process.kill()
            process.wait()
    for name, process in (("caller", caller), ("callee", callee)):
        errors = directory / f"{name}.err"
        told = (
            errors.read_text()[-800:] if errors.exists() else (directory / f"{name}.out").read_text()[-800:]
        )
        assert process.returncode == 0, f"{name}: {told}"
    while stage.endpoint.active:
        stage.endpoint.poll(5)
        stage.mirror.pump(stage.endpoint)


@pytest.mark.parametrize("transports", [("udp", "tcp"), ("tcp",)], ids="-".join)
def test_a_call_over_tcp(tmp_path: Path, transports: tuple[str, ...]) -> None:
    with bench(via="tcp", transports=transports) as stage:
        _run(stage, tmp_path, calls=10, rate=10, hold_ms=100, transport="t1")
        assert stage.endpoint.counters()["bodies_lost"] == 0


def test_five_hundred_calls_in_a_burst_lose_none(tmp_path: Path) -> None:
    # Whoever else uses the machine, the burst waits in the sockets' buffers.
    with bench(max_calls=600, busy_s=math.inf) as stage:
        before = resource.getrusage(resource.RUSAGE_SELF)
        _run(stage, tmp_path, calls=500, rate=250, hold_ms=3000)
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{spent / 500 * 1000:.2f} ms CPU a call, polling included")
        counters = stage.endpoint.counters()
        assert counters["bodies_sent"] >= 1000
        assert pj.recproxy_body_count() == 0
        assert counters["bodies_lost"] == counters["refused_admission"] == 0
