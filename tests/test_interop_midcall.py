"""What happens inside a call: holds, refreshes, digits, bad lines. The recording follows it."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable

import pytest
import rig as rigs
import sdp_bodies
from daemon import Purpose, Settings
from listening import ULAW_SILENCE, Match, find_runs, unmistakable
from rig import CALLER_NUMBER, NUMBER, Call, Rig
from rtp_peer import FRAME_SAMPLES, RtpPeer, packet

pytestmark = pytest.mark.interop


def _in_place(runs: list[Match]) -> bool:
    """Whether every run stands as far from the one before as it was said."""
    shifts = {run.recorded - run.sent for run in runs}
    return len(shifts) == 1


def _gaps(runs: list[Match]) -> list[int]:
    """Samples of silence between the runs."""
    return [b.recorded - a.recorded - a.samples for a, b in itertools.pairwise(runs)]


def _reoffer(peer: RtpPeer, version: int, direction: str = "sendrecv") -> bytes:
    return sdp_bodies.audio(peer.address, peer.port, direction=direction, version=version)


def test_hold_leaves_silence_of_the_right_length(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=40)
    recording = rig.recorded(call)
    rig.talk_on(call, 1.0)
    assert call.caller.reinvite(_reoffer(call.left, 2, "sendonly")).code == 200
    rig.daemon.wait("recording.paused", call_ref=call.ref)
    on_hold = len(call.left_talk.sent_ns)
    call.left.wait_heard(lambda _: len(call.left_talk.sent_ns) >= on_hold + 75)
    assert call.caller.reinvite(_reoffer(call.left, 3)).code == 200
    rig.daemon.wait("recording.resumed", call_ref=call.ref)
    resumed = len(call.left_talk.sent_ns)
    rig.talk_on(call, 1.0)
    call.hang_up()
    sealed = rig.sealed(call)
    compared = rigs.compare(call, rig.wave(recording))
    assert len(compared.left) == len(compared.right) == 2, "speech, silence, speech"
    before, after = compared.left
    gap_recorded = after.recorded - (before.recorded + before.samples)
    gap_spoken = after.sent - (before.sent + before.samples)
    assert gap_recorded == gap_spoken, "what follows the hold stands where it was said"
    assert gap_spoken * 125 / 1e6 == pytest.approx(sealed["paused_ms"] / 1e3, abs=0.06)
    assert before.sent + before.samples <= on_hold * 160, "nothing said on hold was recorded"
    assert after.sent >= (resumed - 5) * 160


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_refresh_by_reinvite_leaves_the_recording_unbroken(make_rig: Callable[..., Rig], who: str) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=30)
    recording = rig.recorded(call)
    dialog, ear = (call.caller, call.left) if who == "caller" else (call.callee, call.right)
    for version in (2, 3):
        rig.talk_on(call, 0.5)
        assert dialog.reinvite(_reoffer(ear, version)).code == 200
    rig.talk_on(call, 0.5)
    call.hang_up()
    sealed = rig.sealed(call)
    compared = rigs.compare(call, rig.wave(recording))
    assert (len(compared.left), len(compared.right), sealed["paused_ms"]) == (1, 1, 0)


def test_refresh_in_mid_announcement_is_no_hold(make_rig: Callable[..., Rig]) -> None:
    purpose = Purpose(text="Dit gesprek wordt opgenomen, en dat duurt even om te zeggen.")
    rig = make_rig(Settings(purposes={"training": purpose}))
    rig.daemon.start()
    call = rig.dial(seconds=30)
    call.left.wait_count(25)
    assert call.caller.reinvite(_reoffer(call.left, 2)).code == 200
    recording = rig.recorded(call)
    rig.talk_on(call, 0.5)
    call.hang_up()
    rig.sealed(call)
    end_ns = rigs.announcement_end_ns(call, 0x22220001, call.left)
    run = rigs.compare(call, rig.wave(recording)).left[0]
    assert call.left_talk.sample_ns(run.sent) >= end_ns


def test_refused_reoffer_leaves_call_and_recording_as_they_were(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=30)
    recording = rig.recorded(call)
    call.callee.on_reoffer = lambda _: 488
    assert call.caller.reinvite(_reoffer(call.left, 2, "sendonly")).code == 488
    rig.talk_on(call, 0.5)
    call.hang_up()
    rig.sealed(call)
    compared = rigs.compare(call, rig.wave(recording))
    assert _in_place(compared.left)
    assert compared.left[-1].samples > 0.4 * 8000, "what was said after the refusal is there"
    assert compared.right[-1].samples > 0.4 * 8000


def test_callee_hangs_up_while_on_hold(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=30)
    recording = rig.recorded(call)
    rig.talk_on(call, 0.5)
    assert call.caller.reinvite(_reoffer(call.left, 2, "inactive")).code == 200
    rig.daemon.wait("recording.paused", call_ref=call.ref)
    call.callee.bye()
    call.caller.wait_ended()
    call.silence()
    rig.sealed(call)
    compared = rigs.compare(call, rig.wave(recording))
    assert len(compared.left) == len(compared.right) == 1


def test_lost_doubled_and_reordered_packets_are_counted_and_leave_everything_in_its_place(
    make_rig: Callable[..., Rig],
) -> None:
    frames = 1500
    ticks: list[list[int]] = [[frame] for frame in range(frames)]
    for start in range(100, frames - 50, 50):
        ticks[start] = []  # one lost
        ticks[start + 10] = [start + 10, start + 10]  # one doubled
        ticks[start + 20], ticks[start + 21] = [start + 21], [start + 20]  # two change places
        ticks[start + 30], ticks[start + 33] = [], [start + 30, start + 33]  # one 60 ms late
        for lost in range(start + 40, start + 44):
            ticks[lost] = []
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=frames / 50, left_ticks=ticks)
    recording = rig.recorded(call)
    began = len(call.left_talk.sent_ns)
    rig.talk_on(call, 5)
    call.hang_up()
    sealed = rig.sealed(call)
    ended = len(call.left_talk.sent_ns)
    wave = rig.wave(recording)
    compared = rigs.compare(call, wave)
    assert _in_place(compared.left), "no sample is out of its place"
    assert set(_gaps(compared.left)) <= {FRAME_SAMPLES, 4 * FRAME_SAMPLES}, (
        "silence exactly where a frame is lost"
    )
    lost = sum(5 for start in range(100, frames - 50, 50) if began + 5 <= start and start + 44 <= ended - 5)
    assert sealed["caller_lost"] >= lost
    assert sealed["caller_lost"] <= lost + 10
    assert sealed["caller_late"] == 0
    assert sealed["callee_lost"] == 0
    assert len(compared.right) == 1, "the other channel does not know"


def test_digits_are_relayed_and_are_silence_in_the_recording(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=30, codecs=(sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT))
    recording = rig.recorded(call)
    rig.talk_on(call, 0.5)
    call.left_talk.stop()
    target = sdp_bodies.media_target(call.caller.remote_sdp)
    spoken = len(call.left_talk.sent_ns)
    events = []
    for index, digit in enumerate((1, 2, 9)):
        for part in range(3):
            payload = bytes([digit, 0x80 if part == 2 else 0]) + (160 * (part + 1)).to_bytes(
                2
            )  # RFC 4733, 2.3
            events.append(
                packet(
                    payload,
                    sequence=65_500 + spoken + index * 3 + part,
                    timestamp=0xFFFFF000 + (spoken + index * 5) * 160,
                    ssrc=0x11110001,
                    payload_type=101,
                    marker=part == 0,
                )
            )
    for event in events:
        call.left.send(event, target)
    call.right.wait_heard(
        lambda heard: [p.data for p in heard if p.payload_type == 101] == events, what="the digits as sent"
    )
    call.left.wait_count(len(call.left.heard) + 25)
    call.hang_up()
    rig.sealed(call)
    wave = rig.wave(recording)
    left = wave.channel(0)
    run = find_runs(left, call.left_talk.sent)
    assert len(run) == 1
    assert set(left[run[0].recorded + run[0].samples :]) == {ULAW_SILENCE}
    assert "digit" not in rig.daemon.everything_said
    assert rig.daemon.wait("call.ended", call_ref=call.ref)["keys_pressed"] == 3, "how many, never which"


def test_keys_by_info_reach_the_other_party_and_are_counted(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=30)
    recording = rig.recorded(call)
    rig.talk_on(call, 0.3)
    told = call.caller.request("INFO", b"Signal=7\r\nDuration=160\r\n", kind="application/dtmf-relay")
    assert told.code == 200
    assert call.callee.request("INFO", b"*", kind="application/dtmf").code == 200
    assert [m.body for m in rig.callee.received if m.start.startswith("INFO")] == [
        b"Signal=7\r\nDuration=160\r\n"
    ]
    rig.talk_on(call, 0.3)
    call.hang_up()
    rig.sealed(call)
    assert rig.daemon.wait("call.ended", call_ref=call.ref)["keys_pressed"] == 2
    assert len(rigs.compare(call, rig.wave(recording)).left) == 1, "the recording went on"
    assert "Signal" not in rig.daemon.everything_said


def test_fax_over_t38_is_refused_while_the_call_is_recorded(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=30)
    recording = rig.recorded(call)
    fax = f"v=0\r\no=- 1 9 IN IP4 {call.right.address}\r\ns=-\r\nc=IN IP4 {call.right.address}\r\nt=0 0\r\n"
    fax += f"m=image {call.right.port} udptl t38\r\n"
    assert call.callee.reinvite(fax.encode()).code == 488
    assert not call.caller.reoffers
    rig.talk_on(call, 0.5)
    call.hang_up()
    rig.sealed(call)
    assert len(rigs.compare(call, rig.wave(recording)).right) == 1, "the recording went on, in G.711"


def test_a_call_whose_invite_had_no_offer_is_announced_and_recorded(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    left, right = rig.peer(rig.lease.addresses.caller), rig.peer(rig.lease.addresses.callee)
    answer = sdp_bodies.audio(left.address, left.port)
    dialog = rig.caller.invite(NUMBER, rig.daemon.sip, b"", answer_in_ack=answer)
    taken = rig.callee.next_call()
    taken.answer(sdp_bodies.audio(right.address, right.port))
    dialog.wait_answer()
    call = Call(
        rig.daemon.wait("call.answered")["call_ref"],
        dialog,
        taken,
        left,
        right,
        left.talk(unmistakable(20, 2), sdp_bodies.media_target(dialog.remote_sdp), ssrc=0x11110001),
        right.talk(unmistakable(20, 3), sdp_bodies.media_target(taken.remote_sdp), ssrc=0x22220001),
    )
    recording = rig.recorded(call)
    rig.talk_on(call, 0.5)
    call.hang_up()
    rig.sealed(call)
    compared = rigs.compare(call, rig.wave(recording))
    assert (len(compared.left), len(compared.right)) == (1, 1)


def test_call_in_which_nobody_speaks_leaves_a_recording_of_silence(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    call = rig.dial(seconds=0.02)
    recording = rig.recorded(call)
    opened_ns = time.monotonic_ns()
    call.left.wait_heard(lambda _: time.monotonic_ns() > opened_ns + 1_000_000_000)
    call.hang_up()
    sealed = rig.sealed(call)
    wave = rig.wave(recording)
    assert wave.frames == sealed["frames"] >= 7000
    assert set(wave.data) == {ULAW_SILENCE}
    assert (sealed["caller_packets"], sealed["callee_packets"]) == (0, 0)


def test_foreign_rtp_gets_in_at_no_moment_of_a_call(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    foreign = rig.peer(rig.lease.addresses.foreign)
    injected = unmistakable(20, 78)
    left, right = rig.peer(rig.lease.addresses.caller), rig.peer(rig.lease.addresses.callee)
    dialog = rig.caller.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(left.address, left.port))
    taken = rig.callee.next_call()
    early = sdp_bodies.media_target(taken.remote_sdp)
    talks = [foreign.talk(injected, early, ssrc=0xBAD)]  # while it rings, before any party has sent
    taken.ring(sdp_bodies.audio(right.address, right.port), 183, "Session Progress")
    dialog.wait_response(183)
    talks.append(foreign.talk(injected, sdp_bodies.media_target(dialog.remote_sdp), ssrc=0xBAD))
    taken.answer(sdp_bodies.audio(right.address, right.port))
    dialog.wait_answer()
    call = Call(
        rig.daemon.wait("call.answered")["call_ref"],
        dialog,
        taken,
        left,
        right,
        left.talk(unmistakable(20, 2), sdp_bodies.media_target(dialog.remote_sdp), ssrc=0x11110001),
        right.talk(unmistakable(20, 3), early, ssrc=0x22220001),
    )
    recording = rig.recorded(call)
    rig.talk_on(call, 0.5)
    assert dialog.reinvite(_reoffer(left, 2, "sendonly")).code == 200
    rig.daemon.wait("recording.paused")
    sent = len(talks[0].sent_ns)
    left.wait_heard(lambda _: len(talks[0].sent_ns) >= sent + 20, within_s=5)
    assert dialog.reinvite(_reoffer(left, 3)).code == 200
    rig.talk_on(call, 0.5)
    for talk in talks:
        talk.stop()
    call.hang_up()
    rig.sealed(call)
    compared = rigs.compare(call, rig.wave(recording))
    assert _in_place(compared.left)
    assert _in_place(compared.right)
    assert foreign.heard == []
    assert all(p.ssrc != 0xBAD for peer in (left, right) for p in peer.heard)
    released = rig.daemon.wait("media.released")
    assert released["caller_foreign"] + released["callee_foreign"] == sum(len(t.sent_ns) for t in talks)


def test_bad_policy_on_reload_leaves_the_old_one_in_force(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    good = rig.daemon.policy.read_text()
    rig.daemon.policy.write_text(good.replace("keep: P30D", "keep: forever"))
    rig.daemon.signal(signal.SIGHUP)
    said = rig.daemon.wait("policy.rejected")
    assert "keep" in said["why"]
    call = rig.dial()
    rig.recorded(call)
    call.hang_up()
    rig.sealed(call)
    rig.daemon.policy.write_text(good.replace("'*'", "'+31205550000'"))
    start = rig.daemon.mark
    rig.daemon.signal(signal.SIGHUP)
    rig.daemon.wait("policy.loaded", start=start)
    call = rig.dial(seed=2)
    call.left.wait_count(5)
    call.hang_up()
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["decision"], ended.recording) == ("no_rule", "")


def test_numbers_stay_out_of_the_log_whatever_happens_to_a_call(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.daemon.start()
    for code in (404, 486, 603):
        refused = rig.caller.invite(
            NUMBER, rig.daemon.sip, sdp_bodies.audio(rig.caller.address, 40000), caller=CALLER_NUMBER
        )
        rig.callee.next_call().reject(
            code, f"{NUMBER} is away", (("Reason", f'SIP;cause={code};text="{NUMBER}"'),)
        )
        refused.wait_response(200)
    garbage = rig.caller.invite(
        NUMBER, rig.daemon.sip, f"v=0\r\ns={NUMBER}\r\n".encode(), caller=CALLER_NUMBER
    )
    assert garbage.wait_response(200).code == 488
    for _ in range(3):
        rig.daemon.wait("call.ended")
    rig.daemon.stop()
    for number in (NUMBER, CALLER_NUMBER):
        assert number[3:] not in rig.daemon.everything_said
