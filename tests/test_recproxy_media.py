"""The media side: ports, gate, announcement and fork, on the real relay where it matters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import parties
import pytest
from call_values import DTMF, OPUS, PCMU, open_recording
from media_stage import (
    BOTH,
    CALLEE,
    CALLER,
    Stage,
    facts,
    play,
    prompt,
    prompts,
    real_stage,
    scripted_stage,
)

from recproxy.call.commands import (
    AllocateMedia,
    ConnectMedia,
    DiscardRecording,
    PartRecording,
    PauseRecording,
    PlayTone,
    ReleaseMedia,
    ResumeRecording,
    SealRecording,
    SetGate,
    StopPrompt,
)
from recproxy.call.events import (
    Codec,
    LegFault,
    LegName,
    MediaAllocated,
    MediaUnavailable,
    PromptCompleted,
    PromptFailed,
    PromptStarted,
    RecordingFailed,
)
from rtp import Fork, PlaybackState, Side

G722 = Codec(9, "G722", 8000)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with real_stage() as made:
        yield made


# ------------------------------------------------------------------ ports
def test_every_stream_has_ports_of_its_own_on_both_sides(stage: Stage) -> None:
    made = stage.allocate(streams=3)
    shown = [*made.caller, *made.callee]
    assert {place.address for place in shown} == {"192.0.2.7"}, "what SDP shows, not what is bound"
    assert len({place.rtp_port for place in shown}) == 6
    assert stage.pool.free == 14


def test_when_ports_run_out_the_call_is_told_and_nothing_leaks() -> None:
    with real_stage(pairs=7) as stage:
        stage.allocate("c1", streams=1)
        stage.media.execute("c2", AllocateMedia("carrier", 3))
        assert "port pairs" in stage.journal.of(MediaUnavailable, "c2")[0].why
        assert not stage.journal.of(MediaAllocated, "c2")
        assert stage.pool.free == 5, "the streams that could be opened were closed again"
        stage.allocate("c3", streams=2)
        for call in ("c1", "c2", "c3"):
            stage.media.execute(call, ReleaseMedia())
        assert stage.pool.free == stage.pool.size == 7
        stage.allocate("c4", streams=3)


def test_a_single_pair_that_is_left_does_not_leak() -> None:
    with real_stage(pairs=3) as stage:
        stage.allocate("c1")
        stage.media.execute("c2", AllocateMedia("carrier", 1))
        assert stage.journal.of(MediaUnavailable, "c2")
        assert stage.pool.free == 1


def test_a_port_that_another_program_holds_is_named_and_nothing_leaks() -> None:
    with real_stage(pairs=2) as stage, parties.udp(parties.RELAY_ADDRESS, 20002):
        stage.media.execute("c1", AllocateMedia("carrier", 1))
        assert "20002 is in use" in stage.journal.of(MediaUnavailable, "c1")[0].why
        stage.media.execute("c1", ReleaseMedia())
        assert stage.pool.free == 2


def test_a_re_offer_adds_streams_and_a_failure_keeps_those_there_are() -> None:
    with real_stage(pairs=5) as stage:
        stage.allocate("c1")
        stage.media.execute("c1", AllocateMedia("carrier", 1))
        stage.media.execute("c1", AllocateMedia("carrier", 1))
        assert [len(made.caller) for made in stage.journal.of(MediaAllocated)] == [1, 1]
        assert len(stage.journal.of(MediaUnavailable)) == 1
        stage.connect()
        stage.media.execute("c1", SetGate(opened=True))
        stage.send(CALLER, 1)
        stage.counted(CALLER, "relayed", 1)
        stage.media.execute("c1", ReleaseMedia())
        assert stage.pool.free == 5


def test_release_gives_ports_back_and_says_what_passed(stage: Stage) -> None:
    stage.allocate()
    stage.connect()
    stage.media.execute("c1", SetGate(opened=True))
    stage.send(CALLER, 1)
    stage.counted(CALLER, "relayed", 1)
    stage.media.execute("c1", ReleaseMedia())
    stage.media.execute("c1", ReleaseMedia())
    stage.media.execute("never", ReleaseMedia())
    assert stage.pool.free == stage.pool.size
    released = stage.journal.noted("media.released")
    assert len(released) == 1
    assert (released[0]["caller_received"], released[0]["caller_relayed"]) == (1, 1)
    assert released[0]["callee_received"] == 0


def test_two_calls_share_no_port(stage: Stage) -> None:
    first, second = stage.allocate("c1"), stage.allocate("c2")
    used = [place.rtp_port for made in (first, second) for place in (*made.caller, *made.callee)]
    assert len(set(used)) == 4
    stage.media.execute("c1", ReleaseMedia())
    assert stage.pool.free == stage.pool.size - 2


# ------------------------------------------------------------------ where media comes from and goes to
@pytest.mark.parametrize("nowhere", ["0.0.0.0", "::"])  # noqa: S104 - an old way to say hold
def test_the_unspecified_address_is_hold_and_nothing_is_sent_to_it(stage: Stage, nowhere: str) -> None:
    stage.allocate()
    stage.connect()
    stage.media.execute("c1", SetGate(opened=True))
    callee = stage.phones[CALLEE].getsockname()
    stage.media.execute("c1", ConnectMedia(CALLEE, (facts(nowhere, 4000),)))
    stage.send(CALLER, 1)
    stage.counted(CALLER, "unroutable", 1)
    stage.media.execute("c1", ConnectMedia(CALLEE, (facts(*callee),)))
    stage.send(CALLER, 2)
    assert stage.phones[CALLEE].recv(2000) == parties.rtp(2, ssrc=10)


def test_a_disabled_stream_receives_nothing(stage: Stage) -> None:
    stage.allocate()
    stage.connect()
    stage.media.execute("c1", SetGate(opened=True))
    stage.media.execute("c1", ConnectMedia(CALLEE, (None,)))
    stage.send(CALLER, 1)
    stage.counted(CALLER, "unroutable", 1)


def test_a_shut_gate_lets_nothing_through_and_counts_it(stage: Stage) -> None:
    stage.allocate()
    stage.connect()
    stage.send(CALLER, 1)
    stage.counted(CALLER, "gated", 1)
    stage.media.execute("c1", SetGate(opened=True))
    stage.send(CALLER, 2)
    assert stage.phones[CALLEE].recv(2000) == parties.rtp(2, ssrc=10), "the first never came"
    stage.media.execute("c1", SetGate(opened=False))
    stage.send(CALLER, 3)
    stage.counted(CALLER, "gated", 2)


def test_the_gate_of_a_call_without_media_is_no_fault(stage: Stage) -> None:
    stage.media.execute("never", SetGate(opened=True))


def test_each_side_is_told_the_address_of_its_own(stage: Stage) -> None:
    made = stage.allocate(trunk="outside")
    assert made.caller[0].address == "198.51.100.7"
    assert made.callee[0].address == "192.0.2.7"


@pytest.mark.parametrize(("trunk", "strict"), [("carrier", CALLER), ("pbx", CALLEE)])
def test_latching_goes_by_the_trunk_that_a_side_belongs_to(stage: Stage, trunk: str, strict: LegName) -> None:
    stage.allocate(trunk=trunk)
    stage.connect()
    stage.media.execute("c1", SetGate(opened=True))
    address = {CALLER: parties.CALLER_ADDRESS, CALLEE: parties.CALLEE_ADDRESS}
    for leg in BOTH:
        with parties.udp(address[leg]) as elsewhere:
            stage.send(leg, 1, source=elsewhere)
            stage.counted(leg, "foreign" if leg is strict else "received", 1)


def test_the_same_description_again_keeps_the_latch_and_another_forgets_it(stage: Stage) -> None:
    stage.allocate(trunk="pbx")
    stage.connect()
    stage.media.execute("c1", SetGate(opened=True))
    known = facts(*stage.phones[CALLER].getsockname())
    with parties.udp(parties.STRANGER_ADDRESS) as first, parties.udp(parties.STRANGER_ADDRESS) as second:
        stage.send(CALLER, 1, source=first)
        stage.counted(CALLER, "received", 1)
        stage.media.execute("c1", ConnectMedia(CALLER, (known,)))
        stage.send(CALLER, 2, source=second)
        stage.counted(CALLER, "foreign", 1)
        stage.media.execute("c1", ConnectMedia(CALLER, (facts(parties.CALLER_ADDRESS, 9),)))
        stage.send(CALLER, 3, source=second)
        stage.counted(CALLER, "received", 2)


def test_an_address_of_the_other_ip_version_is_the_fault_of_that_leg(stage: Stage) -> None:
    stage.allocate()
    stage.media.execute("c1", ConnectMedia(CALLEE, (facts("2001:db8::1", 4000),)))
    fault = stage.journal.of(LegFault, "c1")[0]
    assert fault.leg is CALLEE
    assert fault.by_sdp
    assert "family" in fault.what


# ------------------------------------------------------------------ announcement
def test_an_announcement_is_heard_on_both_legs_to_its_last_frame(stage: Stage) -> None:
    stage.allocate()
    stage.connect()
    asked = datetime.now(UTC)
    stage.media.execute("c1", play())
    done = stage.until(PromptCompleted)
    assert len(stage.journal.of(PromptStarted)) == len(stage.journal.of(PromptCompleted)) == 1
    started = stage.journal.of(PromptStarted)[0].at
    assert asked <= started <= datetime.now(UTC)
    assert timedelta(milliseconds=99) <= done.at - started <= timedelta(seconds=20)
    assert done.heard_by == BOTH
    assert (done.prompt, done.language, done.sha256) == ("training", "nl", f"{400:064x}")
    expected = list(prompt().encoded("PCMU").payloads())
    heard = {leg: [stage.phones[leg].recv(2000) for _ in range(5)] for leg in BOTH}
    for packets in heard.values():
        assert [packet[12:] for packet in packets] == expected
        assert {packet[1] & 0x7F for packet in packets} == {0}
        sequences = [int.from_bytes(packet[2:4], "big") for packet in packets]
        assert all(later - earlier == 1 for earlier, later in pairwise(sequences))
    assert heard[CALLER][0][8:12] != heard[CALLEE][0][8:12], "each leg has an SSRC of its own"
    stage.idle()
    assert stage.media._announcements._playbacks == {}


def test_an_announcement_passes_a_shut_gate(stage: Stage) -> None:
    stage.allocate()
    stage.connect()
    stage.media.execute("c1", SetGate(opened=False))
    stage.media.execute("c1", play(CALLER))
    assert stage.until(PromptCompleted).heard_by == (CALLER,)


@pytest.mark.parametrize("order", [BOTH, (CALLEE, CALLER)])
def test_it_is_complete_only_when_both_have_heard_it(order: tuple[LegName, LegName]) -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    stage.media.execute("c1", play())
    for leg, completions in zip(order, (0, 1), strict=True):
        relay.report(Side.CALLER if leg is CALLER else Side.CALLEE, PlaybackState.COMPLETED)
        stage.media.poll()
        assert len(stage.journal.of(PromptCompleted)) == completions
    assert stage.journal.of(PromptCompleted)[0].heard_by == BOTH
    assert stage.media._announcements._playbacks == {}


@pytest.mark.parametrize("state", [PlaybackState.FAILED, PlaybackState.STOPPED])
def test_one_leg_that_does_not_hear_it_stops_it_on_the_other(state: PlaybackState) -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    stage.media.execute("c1", play())
    other = next(number for number, (_, side, _) in relay.playing.items() if side is Side.CALLER)
    relay.report(Side.CALLEE, state)
    stage.media.poll()
    assert "to the callee" in stage.journal.of(PromptFailed)[0].why
    assert relay.stopped == [other]
    relay.report(Side.CALLER, PlaybackState.COMPLETED)
    stage.media.poll()
    assert not stage.journal.of(PromptCompleted)
    assert len(stage.journal.of(PromptFailed)) == 1


def test_a_leg_without_an_address_cannot_hear_it(stage: Stage) -> None:
    stage.allocate()
    stage.connect()
    stage.media.execute("c1", ConnectMedia(CALLEE, (facts("0.0.0.0", 4000),)))  # noqa: S104
    stage.media.execute("c1", play())
    assert "callee" in stage.until(PromptFailed).why
    stage.idle()
    assert not stage.journal.of(PromptCompleted)


def test_a_leg_that_is_being_played_to_fails_the_announcement_before_it_began() -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    relay.refuses = {Side.CALLEE}
    stage.media.execute("c1", play())
    assert "already plays" in stage.journal.of(PromptFailed)[0].why
    assert not stage.journal.of(PromptStarted)
    assert relay.stopped == list(relay.playing)


@pytest.mark.parametrize(
    ("name", "why"), [("broken", "broken.wav: is damaged"), ("unheard_of", "no announcement 'unheard_of'")]
)
def test_an_announcement_that_is_not_ready_fails_with_its_reason(name: str, why: str) -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    stage.media.execute("c1", play(name=name))
    assert why in stage.journal.of(PromptFailed)[0].why
    assert not relay.playing


@pytest.mark.parametrize(
    "codec",
    [
        Codec(0, "PCMU", 16000),
        Codec(96, "PCMU", 8000, 2),
        Codec(9, "G722", 16000),
        Codec(111, "OPUS", 8000, 2),
        Codec(97, "AMR-WB", 16000),
    ],
)
def test_a_codec_in_which_it_would_not_be_understood_fails_it(codec: Codec) -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    stage.media.execute("c1", play(codec=codec))
    assert f"{codec.name}/{codec.clock_hz}" in stage.journal.of(PromptFailed)[0].why
    assert not relay.playing


@pytest.mark.parametrize("codec", [PCMU, G722, OPUS, Codec(111, "OPUS", 48000)])
@pytest.mark.parametrize(("ptime_ms", "frame_ms"), [(20, 20), (60, 60), (37, 20), (0, 20), (1000, 20)])
def test_frames_are_as_long_as_the_party_asks_if_they_can_be(
    codec: Codec, ptime_ms: int, frame_ms: int
) -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    stage.media.execute("c1", play(codec=codec, ptime_ms=ptime_ms))
    assert {sent.frame_ms for _, _, sent in relay.playing.values()} == {frame_ms}
    assert {sent.payload_type for _, _, sent in relay.playing.values()} == {codec.payload_type}


def test_one_that_is_stopped_midway_is_never_complete() -> None:
    with real_stage(announcements=prompts(prompt(frames=500))) as stage:
        stage.allocate()
        stage.connect()
        stage.media.execute("c1", play())
        for leg in BOTH:
            stage.phones[leg].recv(2000)
        stage.media.execute("c1", StopPrompt())
        stage.media.execute("c1", StopPrompt())
        stage.idle()
        assert not stage.journal.of(PromptCompleted)
        assert not stage.journal.of(PromptFailed), "who stopped it knows"
        assert stage.media._announcements._playbacks == {}
        stage.media.execute("c1", play())
        assert len(stage.journal.of(PromptStarted)) == 2, "both sides are free again"


def test_one_whose_call_is_released_midway_leaves_nothing_behind() -> None:
    with real_stage(announcements=prompts(prompt(frames=500))) as stage:
        stage.allocate()
        stage.connect()
        stage.media.execute("c1", play())
        stage.media.execute("c1", ReleaseMedia())
        stage.idle()
        assert stage.media._announcements._playbacks == {}
        assert not stage.journal.of(PromptCompleted)
        assert not stage.journal.of(PromptFailed)
        assert stage.pool.free == stage.pool.size


def test_new_announcements_are_for_what_is_played_from_then_on() -> None:
    stage, relay = scripted_stage()
    stage.allocate("c1")
    stage.allocate("c2")
    stage.media.execute("c1", play(CALLER))
    stage.media.use_prompts(prompts(prompt(tone_hz=500)))
    relay.report(Side.CALLER, PlaybackState.COMPLETED)
    stage.media.poll()
    relay.playing.clear()
    stage.media.execute("c2", play(CALLER))
    relay.report(Side.CALLER, PlaybackState.COMPLETED)
    stage.media.poll()
    assert [done.sha256 for done in stage.journal.of(PromptCompleted)] == [f"{400:064x}", f"{500:064x}"]


def test_stopping_what_does_not_play_is_no_fault(stage: Stage) -> None:
    stage.media.execute("never", StopPrompt())
    stage.allocate()
    stage.media.execute("c1", StopPrompt())


# ------------------------------------------------------------------ fork
def test_the_fork_begins_after_the_guard_and_ends_at_the_seal() -> None:
    with real_stage(guard_ms=1000) as stage:
        fork = Fork(stage.relay)
        stage.allocate()
        stage.connect()
        stage.media.execute("c1", SetGate(opened=True))
        before_ns = stage.relay.now_ns()
        plan = open_recording()
        stage.media.execute("c1", plan)
        call, number, start_ns, told = stage.sink.opened[0]
        assert (call, told) == ("c1", plan)
        assert start_ns >= before_ns + 1_000_000_000
        stage.send(CALLER, 1)
        stage.counted(CALLER, "relayed", 1)
        assert stage.relay.now_ns() < start_ns, "this machine is too slow for this test"
        parties.eventually(stage.relay.now_ns, lambda now: now > start_ns)
        stage.send(CALLER, 2)
        stage.send(CALLEE, 3)
        stage.counted(CALLER, "forked", 1)
        stage.counted(CALLEE, "forked", 1)
        stage.media.execute("c1", SealRecording("hangup"))
        stage.send(CALLER, 4)
        stage.counted(CALLER, "relayed", 3)
        call, end_ns, reason, dropped = stage.sink.sealed[0]
        assert (call, reason, dropped) == ("c1", "hangup", 0)
        records = fork.drain().records
        assert sorted(records["sequence"].tolist()) == [2, 3]
        assert set(records["stream"].tolist()) == {number}
        assert all(start_ns <= at < end_ns for at in records["arrival_ns"].tolist())


def test_a_seal_tells_what_the_ring_could_not_hold_and_comes_once() -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    relay.dropped = 7
    stage.media.execute("c1", SealRecording("hangup"))
    assert stage.sink.sealed == [], "nothing was open"
    stage.media.execute("c1", open_recording())
    stage.media.execute("c1", SealRecording("hangup"))
    stage.media.execute("c1", SealRecording("hangup"))
    assert [sealed[3] for sealed in stage.sink.sealed] == [7]
    stage.media.execute("never", SealRecording("hangup"))


def test_a_recording_that_goes_on_counts_its_own_losses_and_begins_behind_the_guard_if_it_must() -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    stage.media.execute("c1", open_recording())
    relay.dropped = 3
    stage.media.execute("c1", PartRecording("purpose_ended", open_recording(), guarded=False))
    relay.dropped = 8
    stage.media.execute("c1", PartRecording("purpose_began", open_recording(), guarded=True))
    stage.media.execute("c1", SealRecording("hangup"))
    assert [(reason, dropped) for _, _, reason, dropped, _ in stage.sink.parted] == [
        ("purpose_ended", 3),
        ("purpose_began", 5),
    ]
    assert [sealed[3] for sealed in stage.sink.sealed] == [0]
    stage.media.execute("c1", PartRecording("purpose_began", open_recording(), guarded=True))
    assert stage.journal.of(RecordingFailed, "c1"), "there is nothing to go on from"
    stage.media.execute("c1", ReleaseMedia())
    assert stage.sink.forgotten == ["c1"]


def test_a_fork_that_cannot_start_is_a_recording_that_failed() -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    relay.fork_fails = True
    stage.media.execute("c1", open_recording())
    assert stage.journal.of(RecordingFailed, "c1")[0].why == "no fork"
    assert stage.sink.opened == []
    stage.media.execute("c1", SealRecording("recorder failed"))
    assert stage.sink.sealed == []


def test_holds_are_passed_on_with_their_instant() -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    stage.media.execute("c1", open_recording())
    before = relay.now_ns()
    stage.media.execute("c1", PauseRecording())
    stage.media.execute("c1", ResumeRecording((PCMU, DTMF)))
    after = relay.now_ns()
    (call, paused_ns), (same, resumed_ns, codecs) = stage.sink.paused[0], stage.sink.resumed[0]
    assert call == same == "c1"
    assert before <= paused_ns <= resumed_ns <= after
    assert codecs == (PCMU, DTMF)


def test_the_recorders_fault_is_the_media_sides(stage: Stage) -> None:
    assert stage.media.fault() is None
    stage.sink.why_not = "no disk"
    assert stage.media.fault() == "no disk"


def test_an_unknown_trunk_takes_no_port(stage: Stage) -> None:
    with pytest.raises(KeyError):
        stage.media.execute("c1", AllocateMedia("nobody", 1))
    assert stage.pool.free == stage.pool.size


# ------------------------------------------------------------------ keys
def test_keys_of_both_parties_are_listened_for_by_what_either_sdp_names() -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    other = Codec(96, "TELEPHONE-EVENT", 8000)
    for leg, codec in ((CALLER, DTMF), (CALLEE, DTMF), (CALLEE, other)):
        described = replace(facts("127.0.0.1", 4000), codecs=(PCMU, codec))
        stage.media.execute("c1", ConnectMedia(leg, (described,)))
    both = frozenset({DTMF.payload_type, 96})
    assert relay.events == [(side, types) for types in (frozenset({101}), both) for side in Side]
    stage.media.execute("c1", ReleaseMedia())
    number = stage.sink.listened[0][1]
    assert [(stream, types) for _, stream, types in stage.sink.listened] == [
        (number, frozenset({101})),
        (number, both),
        (number, frozenset()),
    ]


# ------------------------------------------------------------------ the tone
def test_a_tone_goes_to_one_leg_and_is_no_announcement() -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    stage.media.execute("c1", PlayTone(CALLEE, 0, PCMU, 20))
    ((number, side, value),) = relay.playing.values()
    assert (number, side) == (relay.streams[0], Side.CALLEE)
    assert len(value.lengths) * value.frame_ms == 200
    assert not stage.media.playing
    relay.report(Side.CALLEE, PlaybackState.COMPLETED)
    stage.media.poll()
    assert stage.journal.of(PromptCompleted, "c1") == []


def test_a_tone_that_cannot_be_played_is_noted_and_costs_no_call() -> None:
    stage, relay = scripted_stage()
    stage.allocate()
    relay.refuses = {Side.CALLEE}
    stage.media.execute("c1", PlayTone(CALLEE, 0, PCMU, 20))
    stage.media.execute("c1", PlayTone(CALLER, 0, Codec(97, "AMR-WB", 16000), 20))
    assert [noted["what"] for noted in stage.journal.noted("media.failed")] == ["tone", "tone"]


def test_a_recording_that_a_party_says_no_to_is_discarded_once() -> None:
    stage, _ = scripted_stage()
    stage.allocate()
    stage.media.execute("c1", open_recording())
    stage.media.execute("c1", DiscardRecording("opt_out"))
    stage.media.execute("c1", DiscardRecording("opt_out"))
    stage.media.execute("c1", SealRecording("hangup"))
    assert stage.sink.discarded == [("c1", "opt_out")]
    assert stage.sink.sealed == []
