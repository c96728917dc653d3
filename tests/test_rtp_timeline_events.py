"""The timeline in the situations that recordings elsewhere come to grief over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_streams import (
    EVENT,
    G722,
    MS,
    OPUS,
    PCMA,
    PCMU,
    SECOND,
    START,
    Sent,
    batch,
    channels,
    recorded,
    talk,
)

from announcer import encode
from rtp.codecs import ALAW_TO_MULAW, CodecSpec, alaw_encode, mulaw_decode, mulaw_encode
from rtp.endpoints import Side
from rtp.errors import RelayError
from rtp.timeline import Encoding, Timeline, TimelineFormat, choose_format

SPECS = {
    PCMU: CodecSpec("PCMU", 8000),
    PCMA: CodecSpec("PCMA", 8000),
    G722: CodecSpec("G722", 8000),
    OPUS: CodecSpec("opus", 48000, 2),
    EVENT: CodecSpec("telephone-event", 8000),
}
SILENCE = 0xFF


def mulaw(**fields: int) -> Timeline:
    return Timeline(TimelineFormat(Encoding.MULAW, 8000), SPECS, START, **fields)


def placed(channel: npt.NDArray[np.uint8], packet: Sent) -> int | None:
    """The millisecond at which a packet's audio lies in a channel."""
    at = channel.tobytes().find(packet.payload)
    return None if at < 0 else at // 8


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_both_sides_go_to_their_own_channel_bit_for_bit() -> None:
    left, right = talk(rng(), 100), talk(np.random.default_rng(6), 100, side=1, ssrc=8)
    packets = sorted([*left, *right], key=lambda packet: packet.at_ns)
    out = channels(recorded(mulaw(), packets, 2 * SECOND))
    for channel, sent in zip(out, (left, right), strict=True):
        assert channel.tobytes() == b"".join(packet.payload for packet in sent)


def test_a_new_ssrc_keeps_every_sample_of_both_streams() -> None:
    first = talk(rng(), 50)
    second = talk(rng(), 50, first_ns=SECOND, ssrc=99, timestamp=123_456, sequence=40_000)
    line = mulaw()
    left, _ = channels(recorded(line, [*first, *second], 2 * SECOND))
    assert left.tobytes() == b"".join(packet.payload for packet in [*first, *second])
    assert line.facts(Side.CALLER).ssrc_changes == 1
    assert line.facts(Side.CALLER).lost == 0


def test_a_straggler_of_the_old_ssrc_is_put_where_it_belongs() -> None:
    first = talk(rng(), 50)
    second = talk(rng(), 50, first_ns=SECOND, ssrc=99)
    straggler = replace(first[-1], at_ns=SECOND + 30 * MS)
    packets = sorted([*first[:-1], straggler, *second], key=lambda packet: packet.at_ns)
    line = mulaw()
    left, _ = channels(recorded(line, packets, 2 * SECOND))
    assert left.tobytes() == b"".join(packet.payload for packet in [*first, *second])
    assert line.facts(Side.CALLER).ssrc_changes == 1


@pytest.mark.parametrize("jump", [1 << 20, -(1 << 20), 9_000, -9_000, (1 << 31) - 5])
def test_a_timestamp_jump_that_time_does_not_bear_out_begins_anew(jump: int) -> None:
    packets = talk(rng(), 100, timestamp=0xFFFF_FF00)
    packets[50:] = [
        replace(packet, timestamp=(packet.timestamp + jump) & 0xFFFFFFFF) for packet in packets[50:]
    ]
    line = mulaw()
    left, _ = channels(recorded(line, packets, 2 * SECOND))
    assert left.tobytes() == b"".join(packet.payload for packet in packets)
    assert line.facts(Side.CALLER).reanchored == 1


def test_one_nonsense_timestamp_moves_nothing() -> None:
    packets = talk(rng(), 100)
    packets[50] = replace(packets[50], timestamp=0x7000_0000)
    line = mulaw()
    left, _ = channels(recorded(line, packets, 2 * SECOND))
    expected = bytearray(b"".join(packet.payload for packet in packets))
    expected[50 * 160 : 51 * 160] = bytes([SILENCE]) * 160
    assert left.tobytes() == bytes(expected)
    facts = line.facts(Side.CALLER)
    assert (facts.reanchored, facts.late, facts.silence_samples) == (0, 1, 160)


def test_a_stall_of_the_network_loses_what_is_late_and_shifts_nothing() -> None:
    packets = talk(rng(), 200)
    stalled = [
        replace(packet, at_ns=max(packet.at_ns, 2500 * MS)) if n >= 50 else packet
        for n, packet in enumerate(packets)
    ]
    line = mulaw()
    left, _ = channels(recorded(line, stalled, 4 * SECOND))
    assert [placed(left, packet) for packet in packets[:50]] == [20 * n for n in range(50)]
    assert [placed(left, packet) for packet in packets[125:]] == [20 * n for n in range(125, 200)]
    facts = line.facts(Side.CALLER)
    assert (facts.reanchored, facts.lost) == (0, 0)
    assert facts.late == 200 - facts.packets
    # All that is due more than 60 ms before the burst: its packets were 60 ms on trial.
    assert facts.late == 72


def test_timestamps_that_stood_still_during_a_silence_begin_anew() -> None:
    packets = talk(rng(), 100)
    packets[50:] = [replace(packet, at_ns=packet.at_ns + 5 * SECOND) for packet in packets[50:]]
    line = mulaw()
    left, _ = channels(recorded(line, packets, 7 * SECOND))
    assert placed(left, packets[49]) == 980
    assert placed(left, packets[50]) == 6000
    assert placed(left, packets[99]) == 6980
    assert line.facts(Side.CALLER).reanchored == 1


def test_a_path_that_became_much_slower_is_followed_after_a_second() -> None:
    packets = talk(rng(), 300)
    packets[100:] = [replace(packet, at_ns=packet.at_ns + 300 * MS) for packet in packets[100:]]
    line = mulaw()
    left, _ = channels(recorded(line, packets, 7 * SECOND))
    facts = line.facts(Side.CALLER)
    assert facts.reanchored == 1
    assert facts.late == pytest.approx(51, abs=1)
    assert placed(left, packets[-1]) == 299 * 20 + 300


def test_a_path_that_became_a_little_slower_is_followed_by_the_drift_rule() -> None:
    packets = talk(rng(), 4000)
    packets[1000:] = [replace(packet, at_ns=packet.at_ns + 30 * MS) for packet in packets[1000:]]
    line = mulaw()
    left, _ = channels(recorded(line, packets, 81 * SECOND))
    facts = line.facts(Side.CALLER)
    assert (facts.drift_shifts, facts.late, facts.lost, facts.overlapped_samples) == (1, 0, 0, 0)
    assert placed(left, packets[-1]) == 3999 * 20 + 30


def test_a_pause_is_silence_of_its_length_and_keeps_nothing() -> None:
    packets = talk(rng(), 200)
    line = mulaw()
    line.push(*batch(packets[:50]))
    line.pause(START + SECOND)
    line.pause(START + SECOND + 5)
    line.push(*batch(packets[50:150]))
    out = line.take(START + 2 * SECOND)
    line.resume(START + 3 * SECOND)
    line.resume(START + 9 * SECOND)
    line.push(*batch(packets[150:]))
    left, _ = channels(out + line.finish(START + 4 * SECOND))
    expected = b"".join(packet.payload for packet in packets)
    assert left.tobytes() == expected[:8000] + bytes([SILENCE]) * 16_000 + expected[24_000:]
    facts = line.facts(Side.CALLER)
    assert (facts.held, facts.lost, facts.late, facts.packets) == (100, 0, 0, 100)
    assert facts.silence_samples == 16_000


@pytest.mark.parametrize("count", [2, 60])
@pytest.mark.parametrize("payload_type", [PCMU, G722])
def test_a_pause_that_is_told_late_takes_back_what_it_can(count: int, payload_type: int) -> None:
    packets = talk(rng(), count, payload_type=payload_type)
    line = mulaw()
    line.push(*batch(packets))
    taken = line.take(START + (count - 2) * 20 * MS)
    pause_ns = (count - 1) * 20 * MS
    line.pause(START + pause_ns)
    left, _ = channels(taken + line.finish(START + 3 * SECOND))
    assert (left[pause_ns // 125_000 :] == SILENCE).all()
    assert (left[pause_ns // 125_000 - 100 : pause_ns // 125_000] != SILENCE).any()


def test_after_a_pause_other_codecs_may_hold() -> None:
    packets = talk(rng(), 100)
    packets[50:] = [replace(packet, payload_type=96) for packet in packets[50:]]
    line = mulaw()
    line.push(*batch(packets[:50]))
    line.pause(START + SECOND)
    line.resume(START + SECOND, {96: CodecSpec("pcma", 8000)})
    line.push(*batch(packets[50:]))
    left, _ = channels(line.finish(START + 2 * SECOND))
    sent = np.frombuffer(b"".join(packet.payload for packet in packets), np.uint8)
    np.testing.assert_array_equal(left, np.concatenate((sent[:8000], ALAW_TO_MULAW[sent[8000:]])))
    assert line.facts(Side.CALLER).converted == 50


def test_the_sides_may_number_their_codecs_differently() -> None:
    line = mulaw()
    line.agree({96: CodecSpec("PCMU", 8000)}, Side.CALLER)
    line.agree({96: CodecSpec("PCMA", 8000)}, Side.CALLEE)
    packets = talk(rng(), 5, payload_type=96)
    both = [*packets, *(replace(packet, side=1) for packet in packets)]
    left, right = channels(recorded(line, sorted(both, key=lambda packet: packet.at_ns), 100 * MS))
    np.testing.assert_array_equal(ALAW_TO_MULAW[left], right)


def test_nothing_that_came_before_the_start_is_kept() -> None:
    packets = talk(rng(), 20, first_ns=-200 * MS)
    line = mulaw()
    left, _ = channels(recorded(line, packets, 300 * MS))
    assert left[:1600].tobytes() == b"".join(packet.payload for packet in packets[10:])
    assert line.facts(Side.CALLER).held == 10


def test_keys_and_comfort_noise_are_silent() -> None:
    packets = talk(rng(), 60)
    for n in (20, 21, 22):
        packets[n] = replace(packets[n], payload_type=EVENT, payload=b"\x05\x0a\x03\x20", timestamp=3200)
    for n in (40, 41):
        packets[n] = replace(packets[n], payload_type=EVENT, payload=b"\x06\x0a\x03\x20", timestamp=6400)
    packets[50] = replace(packets[50], payload_type=13, payload=b"\x40")
    line = mulaw()
    left, _ = channels(recorded(line, packets, 1200 * MS))
    assert (left[20 * 160 : 23 * 160] == SILENCE).all()
    assert (left[40 * 160 : 42 * 160] == SILENCE).all()
    assert np.count_nonzero(left == SILENCE) == 6 * 160
    facts = line.facts(Side.CALLER)
    assert (facts.telephone_events, facts.comfort_noise, facts.lost, facts.packets) == (2, 1, 0, 54)


def test_unknown_and_malformed_payloads_are_counted_and_silent() -> None:
    packets = talk(rng(), 20)
    packets[5] = replace(packets[5], payload_type=33)
    packets[6] = replace(packets[6], payload=b"")
    packets[7] = replace(packets[7], payload=bytes(4001))
    line = mulaw()
    left, _ = channels(recorded(line, packets, 400 * MS))
    assert np.count_nonzero(left == SILENCE) == 3 * 160
    assert line.facts(Side.CALLER).undecodable == 3


PACKETS = st.lists(
    st.builds(
        Sent,
        at_ns=st.integers(-SECOND, 4 * SECOND),
        sequence=st.integers(0, 0xFFFF),
        timestamp=st.integers(0, 0xFFFFFFFF),
        payload=st.integers(0, 9000).map(bytes),
        side=st.integers(0, 1),
        ssrc=st.integers(0, 3) | st.integers(0, 0xFFFFFFFF),
        payload_type=st.sampled_from([PCMU, PCMA, G722, OPUS, EVENT, 13, 77]) | st.integers(0, 127),
    ),
    max_size=40,
)


@given(
    PACKETS,
    st.sampled_from([(Encoding.MULAW, 8000), (Encoding.PCM16, 16000), (Encoding.PCM16, 48000)]),
)
@settings(max_examples=80, deadline=None)
def test_nonsense_costs_bounded_memory_and_no_length(
    packets: list[Sent], encoding: tuple[Encoding, int]
) -> None:
    audio = TimelineFormat(*encoding)
    line = Timeline(audio, SPECS, START)
    packets.sort(key=lambda packet: packet.at_ns)
    out = recorded(line, packets, 5 * SECOND, 100 * MS)
    assert len(out) == 5 * audio.rate_hz * audio.frame_bytes
    assert len(line._canvas._samples) <= 4 * audio.rate_hz
    for side in Side:
        facts = line.facts(side)
        assert facts.overrun == 0
        # Each packet is counted once as what became of it.
        mine = sum(packet.side == side for packet in packets)
        told = facts.packets + facts.late + facts.duplicates + facts.undecodable + facts.held
        others = facts.comfort_noise + sum(
            packet.side == side and packet.payload_type == EVENT for packet in packets
        )
        assert told <= mine <= told + others


def test_a_recorder_that_takes_nothing_meets_a_bound() -> None:
    line = mulaw()
    packets = talk(rng(), 2000)
    for at in range(0, 2000, 20):
        line.push(*batch(packets[at : at + 20]))
    assert len(line._canvas._samples) <= 20 * 8000
    assert line.facts(Side.CALLER).overrun == pytest.approx(1000, abs=20)
    assert len(line.finish(START + 40 * SECOND)) == 2 * 40 * 8000


def tone(hz: float, seconds: float) -> npt.NDArray[np.int16]:
    """A tone at 48 kHz with a click-free start at full level after 100 ms of silence."""
    at = np.arange(int(48_000 * seconds)) / 48_000
    return np.where(at < 0.1, 0, 9000 * np.sin(2 * np.pi * hz * at)).astype(np.int16)


def spoken(pcm: npt.NDArray[np.int16], payload_type: int, side: int) -> list[Sent]:
    encoded = encode(pcm, SPECS[payload_type].name)
    return [
        Sent(
            at_ns=n * 20 * MS,
            sequence=n,
            timestamp=n * encoded.timestamp_step,
            payload=payload,
            side=side,
            ssrc=side + 1,
            payload_type=payload_type,
        )
        for n, payload in enumerate(encoded.payloads())
    ]


@pytest.mark.parametrize("caller", [PCMU, PCMA, G722, OPUS])
@pytest.mark.parametrize("callee", [PCMU, G722, OPUS])
def test_sides_with_different_codecs_stay_together(caller: int, callee: int) -> None:
    pcm = tone(700, 1.5)
    audio = choose_format({payload_type: SPECS[payload_type] for payload_type in (caller, callee)}.values())
    line = Timeline(audio, SPECS, START)
    packets = [*spoken(pcm, caller, 0), *spoken(pcm, callee, 1)]
    packets.sort(key=lambda packet: packet.at_ns)
    frames = recorded(line, packets, 1500 * MS)
    begins = []
    for channel in channels(frames, audio.dtype.str):
        linear = channel if audio.encoding is Encoding.PCM16 else mulaw_decode(channel)
        level = np.abs(linear.astype(np.int32))
        begins.append(int(np.argmax(level > 3000)) * 1000 / audio.rate_hz)
        assert level.max() == pytest.approx(9000, rel=0.15)
    # The codecs' own delay: up to 6.5 ms of Opus and 2 ms of a change of rate.
    assert begins[0] == pytest.approx(100, abs=12)
    assert abs(begins[0] - begins[1]) <= 12
    assert line.facts(Side.CALLER).undecodable == line.facts(Side.CALLEE).undecodable == 0


def test_g722_is_decoded_in_order_although_it_came_out_of_order() -> None:
    packets = spoken(tone(500, 2), G722, 0)
    audio = choose_format([SPECS[G722]])
    assert audio == TimelineFormat(Encoding.PCM16, 16_000)
    in_order = recorded(Timeline(audio, SPECS, START), packets, 2 * SECOND)
    shuffled = list(packets)
    for n in range(10, 90, 3):
        shuffled[n] = replace(shuffled[n], at_ns=shuffled[n].at_ns + 50 * MS)
    shuffled.sort(key=lambda packet: packet.at_ns)
    line = Timeline(audio, SPECS, START)
    assert recorded(line, shuffled, 2 * SECOND) == in_order
    assert line.facts(Side.CALLER).reordered > 20


def test_a_codec_change_in_mid_call_is_converted_to_the_format_of_the_recording() -> None:
    pcm = tone(600, 1)
    first, second = spoken(pcm, PCMU, 0), spoken(pcm, G722, 0)
    moved = [
        replace(
            packet,
            at_ns=packet.at_ns + SECOND,
            sequence=packet.sequence + 50,
            timestamp=packet.timestamp + 8000,
        )
        for packet in second
    ]
    line = mulaw()
    left, _ = channels(recorded(line, [*first, *moved], 2 * SECOND))
    linear = mulaw_decode(left).astype(np.int32)
    assert np.abs(linear[8000:8700]).max() < 200
    assert np.abs(linear[9000:15_900]).max() == pytest.approx(9000, rel=0.1)
    assert line.facts(Side.CALLER).converted == 50


def test_opus_after_g711_begins_anew_because_the_clock_differs() -> None:
    pcm = tone(600, 1)
    first = spoken(pcm, PCMU, 0)
    second = [
        replace(packet, at_ns=packet.at_ns + SECOND, sequence=packet.sequence + 50)
        for packet in spoken(pcm, OPUS, 0)
    ]
    line = mulaw()
    left, _ = channels(recorded(line, [*first, *second], 2 * SECOND))
    linear = np.abs(mulaw_decode(left).astype(np.int32))
    assert int(np.argmax(linear[8000:] > 3000)) / 8 == pytest.approx(100, abs=12)
    assert line.facts(Side.CALLER).reanchored == 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["PCMU"], TimelineFormat(Encoding.MULAW, 8000)),
        (["pcma", "telephone-event"], TimelineFormat(Encoding.ALAW, 8000)),
        (["PCMU", "PCMA"], TimelineFormat(Encoding.PCM16, 8000)),
        (["PCMU", "G722"], TimelineFormat(Encoding.PCM16, 16_000)),
        (["PCMA", "G722", "opus", "G729"], TimelineFormat(Encoding.PCM16, 48_000)),
        (["G729"], TimelineFormat(Encoding.PCM16, 8000)),
        (["PCMU", "G723", "CN"], TimelineFormat(Encoding.MULAW, 8000)),
    ],
)
def test_the_format_keeps_the_most_of_what_was_agreed(names: list[str], expected: TimelineFormat) -> None:
    clocks = {"opus": (48_000, 2)}
    assert choose_format(CodecSpec(name, *clocks.get(name, (8000, 1))) for name in names) == expected


def test_codecs_that_cannot_be_recorded_are_named() -> None:
    with pytest.raises(RelayError, match=r"cannot record G723/8000; agree on PCMU, PCMA, G722, G729 or opus"):
        choose_format([CodecSpec("G723", 8000)])


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="reorder_ms 59"):
        mulaw(reorder_ms=59)


@pytest.mark.parametrize(("encode_", "silence"), [(alaw_encode, 0xD5), (mulaw_encode, 0xFF)])
def test_the_silent_sample_is_the_code_of_zero(encode_: object, silence: int) -> None:
    assert callable(encode_)
    assert encode_(np.zeros(1, np.int16))[0] == silence


def test_nothing_is_written_into_a_pause_afterwards() -> None:
    packets = talk(rng(), 100)
    for n in range(50, 60):  # due before the end of the pause, come after it
        packets[n] = replace(packets[n], at_ns=packets[n].at_ns + 100 * MS)
    packets.sort(key=lambda packet: packet.at_ns)
    line = mulaw()
    line.pause(START + 900 * MS)
    line.resume(START + 1100 * MS)
    line.push(*batch(packets))
    left, _ = channels(line.finish(START + 2 * SECOND))
    assert (left[920 * 8 : 1100 * 8] == SILENCE).all()
    assert np.count_nonzero(left[1100 * 8 :] != SILENCE) > 6000


def test_timestamps_that_stood_still_during_a_pause_go_on_at_its_end() -> None:
    packets = talk(rng(), 100)
    packets[50:] = [replace(packet, at_ns=packet.at_ns + 600 * MS) for packet in packets[50:]]
    line = mulaw()
    line.push(*batch(packets[:50]))
    line.pause(START + SECOND)
    line.resume(START + 1600 * MS)
    line.push(*batch(packets[50:]))
    left, _ = channels(line.finish(START + 2600 * MS))
    assert [placed(left, packet) for packet in packets[50:]] == [20 * n + 600 for n in range(50, 100)]
    assert line.facts(Side.CALLER).late == 0


def test_ten_slow_seconds_are_no_drift() -> None:
    packets = talk(rng(), 3000)
    slow = range(501, 1100)  # all of the second ten seconds, in which drift is looked for
    delayed_ = [
        replace(packet, at_ns=packet.at_ns + 40 * MS) if n in slow else packet
        for n, packet in enumerate(packets)
    ]
    delayed_.sort(key=lambda packet: packet.at_ns)
    line = mulaw()
    left, _ = channels(recorded(line, delayed_, 60 * SECOND))
    assert left.tobytes() == b"".join(packet.payload for packet in packets)
    assert line.facts(Side.CALLER).drift_shifts == 0


def test_a_sender_that_runs_half_a_second_ahead_is_brought_back_once() -> None:
    packets = talk(rng(), 1500)
    ahead = [
        replace(packet, timestamp=packet.timestamp + 4000) if n >= 600 else packet
        for n, packet in enumerate(packets)
    ]
    lossy = [packet for n, packet in enumerate(ahead) if n % 7]
    first, second = mulaw(), mulaw()
    coarse = recorded(first, lossy, 31 * SECOND, 500 * MS)
    assert recorded(second, lossy, 31 * SECOND, 20 * MS) == coarse
    facts = first.facts(Side.CALLER)
    assert facts == second.facts(Side.CALLER)
    assert facts.drift_shifts == 1
    left, _ = channels(coarse)
    assert placed(left, lossy[-1]) == 1499 * 20


def test_of_two_packets_for_one_place_the_first_stays() -> None:
    packets = talk(rng(), 4)
    packets[2] = replace(packets[2], timestamp=packets[1].timestamp + 80)
    line = mulaw()
    left, _ = channels(recorded(line, packets, 80 * MS))
    assert left[160:320].tobytes() == packets[1].payload
    assert left[320:400].tobytes() == packets[2].payload[80:]
    assert line.facts(Side.CALLER).overlapped_samples == 80
