"""SRTP in the relay, against a model written from the RFCs."""

import struct
import time

import pytest
from cryptography.exceptions import InvalidTag
from parties import Call, eventually, pool, rtp, udp
from srtp_model import NotAuthentic, SrtpModel, counter_mode, derive

from rtp.endpoints import Latch, Side, SrtpKey, SrtpSuite
from rtp.errors import RelayError
from rtp.fork import Fork
from rtp.playback import PlaybackState, Playout
from rtp.relay import Relay

SUITES = pytest.mark.parametrize("suite", SrtpSuite)


def key(suite: SrtpSuite = SrtpSuite.AES_CM_128_HMAC_SHA1_80, seed: int = 1) -> SrtpKey:
    return SrtpKey(suite, bytes((seed * 37 + k * 11) % 256 for k in range(suite.key_bytes)))


def report(ssrc: int = 1) -> bytes:
    """An RTCP receiver report without blocks, and a BYE."""
    return struct.pack("!BBHI", 0x80, 201, 1, ssrc) + struct.pack("!BBHI", 0x81, 203, 1, ssrc)


def secure(call: Call, suite: SrtpSuite = SrtpSuite.AES_CM_128_HMAC_SHA1_80) -> tuple[SrtpModel, SrtpModel]:
    """SRTP with the caller; returns what the caller seals and opens with."""
    call.relay.set_crypto(call.stream, Side.CALLER, inbound=key(suite, 1), outbound=key(suite, 2))
    return SrtpModel(key(suite, 1)), SrtpModel(key(suite, 2))


def test_the_model_derives_and_encrypts_as_the_rfc_says() -> None:
    # RFC 3711 appendix B.3 and B.2.
    master = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139")
    salt = bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6")
    assert derive(master, salt, 0, 16).hex().upper() == "C61E7A93744F39EE10734AFE3FF7A087"
    assert derive(master, salt, 2, 14).hex().upper() == "30CBBC08863D8C85D49DB34A9AE1"
    assert derive(master, salt, 1, 20).hex().upper() == "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"
    session = bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C")
    counter = bytes.fromhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000")
    assert counter_mode(session, counter, bytes(16)).hex().upper() == "E03EAD0935C95E80E166B16DD92B4EB4"


@SUITES
def test_srtp_of_the_caller_is_plain_to_the_callee_and_in_the_fork(call: Call, suite: SrtpSuite) -> None:
    sends, _ = secure(call, suite)
    fork = Fork(call.relay)
    call.relay.start_fork(call.stream)
    for sequence in range(65534, 65539):  # the rollover counter turns
        packet = rtp(sequence, bytes([sequence % 256]) * 160)
        call.send(Side.CALLER, sends.seal(packet, sequence >> 16))
        assert call.receive(Side.CALLEE) == packet
    payloads = _forked(fork, 5)
    assert payloads == [bytes([sequence % 256]) * 160 for sequence in range(65534, 65539)]
    stats = call.relay.stats(call.stream).caller
    assert (stats.received, stats.relayed, stats.forked, stats.unauthentic) == (5, 5, 5, 0)


@SUITES
def test_what_goes_to_the_caller_is_sealed(call: Call, suite: SrtpSuite) -> None:
    _, hears = secure(call, suite)
    for sequence in range(65534, 65539):
        packet = rtp(sequence, b"\x11" * 80)
        call.send(Side.CALLEE, packet)
        heard = call.receive(Side.CALLER)
        assert b"\x11" * 8 not in heard
        assert hears.open(heard, sequence >> 16) == packet


@SUITES
def test_rtcp_is_opened_and_sealed_on_either_port(call: Call, suite: SrtpSuite) -> None:
    sends, hears = secure(call, suite)
    call.send_rtcp(Side.CALLER, sends.seal_rtcp(report(), 1))
    assert call.rtcp_phones[Side.CALLEE].recv(4096) == report()
    call.send(Side.CALLER, sends.seal_rtcp(report(), 2))  # multiplexed, RFC 5761
    assert call.receive(Side.CALLEE) == report()
    call.send_rtcp(Side.CALLEE, report(7))
    assert hears.open_rtcp(call.rtcp_phones[Side.CALLER].recv(4096)) == report(7)
    call.send(Side.CALLEE, report(8))
    assert hears.open_rtcp(call.receive(Side.CALLER)) == report(8)
    stats = call.relay.stats(call.stream)
    assert (stats.caller.rtcp_received, stats.caller.rtcp_relayed, stats.caller.received) == (2, 2, 0)
    assert (stats.callee.rtcp_received, stats.callee.rtcp_relayed, stats.callee.received) == (2, 2, 0)


def test_both_parties_may_speak_srtp_with_keys_of_their_own(call: Call) -> None:
    suite = SrtpSuite.AEAD_AES_256_GCM
    sends, _ = secure(call)
    call.relay.set_crypto(call.stream, Side.CALLEE, inbound=key(suite, 3), outbound=key(suite, 4))
    call.send(Side.CALLER, sends.seal(rtp(1)))
    assert SrtpModel(key(suite, 4)).open(call.receive(Side.CALLEE)) == rtp(1)


@SUITES
def test_what_is_not_authentic_goes_nowhere(call: Call, suite: SrtpSuite) -> None:
    sends, _ = secure(call, suite)
    forged = bytearray(sends.seal(rtp(1)))
    forged[20] ^= 1
    cut = sends.seal(rtp(2))[:-1]
    for wrong in (
        bytes(forged),
        cut,
        rtp(3),
        SrtpModel(key(suite, 9)).seal(rtp(4)),
        sends.seal_rtcp(report(), 1)[:-1],
        report(),
        b"\x80",
        b"\x80\xc9\x00\x01" + bytes(4),
        b"\x80\x00" + bytes(10),
        b"\x00\x01\x00\x00STUN",
        b"",
    ):
        call.relay.start_fork(call.stream)
        call.send(Side.CALLER, wrong)
    call.send(Side.CALLER, sends.seal(rtp(5)))
    assert call.receive(Side.CALLEE) == rtp(5)
    stats = call.relay.stats(call.stream).caller
    assert stats.unauthentic >= 10  # an empty datagram need not be told of
    assert (stats.received, stats.relayed, stats.forked, stats.rtcp_received) == (1, 1, 1, 0)


@SUITES
def test_a_replay_goes_nowhere(call: Call, suite: SrtpSuite) -> None:
    sends, _ = secure(call, suite)
    for sequence in (1, 2, 3, 2, 1, 3, 4):
        call.send(Side.CALLER, sends.seal(rtp(sequence)))
    assert [call.receive(Side.CALLEE) for _ in range(4)] == [rtp(k) for k in (1, 2, 3, 4)]
    call.send(Side.CALLER, sends.seal_rtcp(report(), 1))
    call.send(Side.CALLER, sends.seal_rtcp(report(), 1))
    call.counted(Side.CALLER, "unauthentic", 4)


def test_packets_that_come_out_of_order_are_no_replay(call: Call) -> None:
    sends, _ = secure(call)
    order = (900, 1, 500, 2)
    for sequence in order:
        call.send(Side.CALLER, sends.seal(rtp(sequence)))
    assert [call.receive(Side.CALLEE) for _ in order] == [rtp(k) for k in order]


def test_a_sequence_number_is_never_sealed_twice(call: Call) -> None:
    """Two payloads under one key stream would give away their difference."""
    secure(call)
    call.send(Side.CALLEE, rtp(1, b"a" * 160))
    call.send(Side.CALLEE, rtp(1, b"b" * 160))
    call.send(Side.CALLEE, b"\x00\x01\x00\x00STUN")
    call.counted(Side.CALLEE, "unsealed", 2)
    assert call.relay.stats(call.stream).callee.relayed == 1


def test_the_same_key_again_keeps_what_it_remembers(call: Call) -> None:
    sends, _ = secure(call)
    call.send(Side.CALLER, sends.seal(rtp(1)))
    call.send(Side.CALLEE, rtp(1))
    assert call.receive(Side.CALLEE) == rtp(1)
    call.receive(Side.CALLER)
    secure(call)
    call.send(Side.CALLER, sends.seal(rtp(1)))
    call.send(Side.CALLEE, rtp(1))
    call.counted(Side.CALLER, "unauthentic", 1)
    call.counted(Side.CALLEE, "unsealed", 1)


def test_another_key_replaces_the_first(call: Call) -> None:
    former, _ = secure(call)
    suite = SrtpSuite.AEAD_AES_128_GCM
    call.relay.set_crypto(call.stream, Side.CALLER, inbound=key(suite, 5), outbound=key(suite, 6))
    call.send(Side.CALLER, former.seal(rtp(1)))
    call.send(Side.CALLER, SrtpModel(key(suite, 5)).seal(rtp(2)))
    assert call.receive(Side.CALLEE) == rtp(2)
    call.counted(Side.CALLER, "unauthentic", 1)
    call.send(Side.CALLEE, rtp(3))
    assert SrtpModel(key(suite, 6)).open(call.receive(Side.CALLER)) == rtp(3)
    call.relay.set_crypto(call.stream, Side.CALLER, inbound=None, outbound=None)
    call.send(Side.CALLEE, rtp(4))
    assert call.receive(Side.CALLER) == rtp(4)


def test_a_party_may_change_its_source_number_but_not_without_end(call: Call) -> None:
    sends, _ = secure(call)
    for ssrc in range(1, 41):
        call.send(Side.CALLER, sends.seal(rtp(1, ssrc=ssrc)))
    call.counted(Side.CALLER, "unauthentic", 8)
    assert call.relay.stats(call.stream).caller.relayed == 32
    for ssrc in range(101, 141):  # of the plain party too: each takes memory for good
        call.send(Side.CALLEE, rtp(1, ssrc=ssrc))
    call.counted(Side.CALLEE, "unsealed", 8)


def test_only_an_authentic_packet_latches_a_source(relay: Relay) -> None:
    call = Call(relay, pool(), latch=Latch.ANY)
    try:
        address = call.phones[Side.CALLER].getsockname()[0]
        sends, hears = secure(call)
        with udp(address) as stranger:
            call.send(Side.CALLER, rtp(1), stranger)
            call.counted(Side.CALLER, "unauthentic", 1)
            call.send(Side.CALLER, sends.seal(rtp(2)))
            call.send(Side.CALLEE, rtp(3))  # lets the callee latch as well
            assert hears.open(call.receive(Side.CALLER)) == rtp(3)
            call.send(Side.CALLER, rtp(4), stranger)
            call.counted(Side.CALLER, "foreign", 1)
    finally:
        call.close()


def test_the_announcement_is_sealed(call: Call) -> None:
    _, hears = secure(call, SrtpSuite.AEAD_AES_128_GCM)
    frames = [bytes([number]) * 160 for number in range(1, 6)]
    playout = Playout(
        frames=b"".join(frames),
        lengths=(160,) * 5,
        frame_ms=1,
        timestamp_step=8,
        payload_type=0,
        ssrc=9,
        sequence=65533,
        timestamp=0,
    )
    call.relay.set_gate(call.stream, False)
    call.relay.play(call.stream, Side.CALLER, playout)
    heard = [hears.open(call.receive(Side.CALLER), 1 if number > 2 else 0) for number in range(5)]
    assert [packet[12:] for packet in heard] == frames
    (event,) = eventually(call.relay.poll_playbacks, bool)
    assert event.state is PlaybackState.COMPLETED


def test_the_wrong_key_does_not_open_in_the_model() -> None:
    for suite in SrtpSuite:
        sealed = SrtpModel(key(suite, 1)).seal(rtp(1))
        with pytest.raises((NotAuthentic, InvalidTag)):
            SrtpModel(key(suite, 2)).open(sealed)


def test_a_key_of_another_length_is_refused_and_a_key_is_never_shown() -> None:
    with pytest.raises(RelayError, match="SRTP key for AEAD_AES_128_GCM: 30 bytes, must be 28"):
        SrtpKey(SrtpSuite.AEAD_AES_128_GCM, bytes(30))
    assert "key" not in repr(key()).lower().replace("srtpkey", "")


def test_a_stream_that_is_gone_takes_no_key(call: Call) -> None:
    secure(call)
    call.relay.remove_stream(call.stream)
    with pytest.raises(RelayError, match="there is none"):
        secure(call)


def _forked(fork: Fork, count: int) -> list[bytes]:
    found: list[bytes] = []

    def drain() -> int:
        batch = fork.drain()
        found.extend(batch.payload(index) for index in range(len(batch.records)))
        return len(found)

    eventually(drain, lambda number: number >= count)
    return found


@SUITES
def test_keys_of_a_lone_call_cost_no_start_of_the_cipher_library(call: Call, suite: SrtpSuite) -> None:
    """It takes a millisecond where the ciphers are those of NSS, if nobody holds them."""
    _set_and_clear(call, suite, 1)  # the first of the process does start it
    before = time.thread_time_ns()
    _set_and_clear(call, suite, 40)
    assert (time.thread_time_ns() - before) / 80 < 300_000  # 20 us each, 800 us with the start


def _set_and_clear(call: Call, suite: SrtpSuite, times: int) -> None:
    for seed in range(times):
        call.relay.set_crypto(
            call.stream, Side.CALLER, inbound=key(suite, seed), outbound=key(suite, seed + 1)
        )
        call.relay.set_crypto(call.stream, Side.CALLER, inbound=None, outbound=None)
