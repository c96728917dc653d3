import itertools
import resource
import threading
import typing
from pathlib import Path

import pytest
from parties import (
    CALLEE_ADDRESS,
    CALLER_ADDRESS,
    RELAY_ADDRESS,
    Call,
    eventually,
    pair,
    rtp,
    udp,
)

from rtp.endpoints import Latch, Remote, Side
from rtp.errors import RelayError
from rtp.ports import PortPool
from rtp.relay import IoChoice, Relay


def test_a_taken_port_is_named_with_the_mend_and_nothing_stays_open(relay: Relay) -> None:
    before = _descriptors()
    with udp(RELAY_ADDRESS, 42003):
        with pytest.raises(RelayError, match=rf"RTP port {RELAY_ADDRESS}:42003 is in use: .*port range"):
            relay.add_stream(pair(42000), pair(42002))
        assert _descriptors() == before + 1
    relay.add_stream(pair(42000), pair(42002))


def test_an_address_that_is_not_ours_is_named(relay: Relay) -> None:
    with pytest.raises(RelayError, match=r"192\.0\.2\.1:42000: this machine does not have that address"):
        relay.add_stream(pair(42000, "192.0.2.1"), pair(42002))


def test_a_host_name_is_refused(relay: Relay) -> None:
    with pytest.raises(RelayError, match=r"'localhost' or .* is not a numeric IP address"):
        relay.add_stream(pair(42000, "localhost"), pair(42002))
    stream = relay.add_stream(pair(42000), pair(42002))
    with pytest.raises(RelayError, match="remote of the callee: 'localhost' is not a numeric address"):
        relay.set_remote(stream, Side.CALLEE, Remote("localhost", 4000, None), Latch.ADDRESS)


def test_an_odd_port_is_refused(relay: Relay) -> None:
    with pytest.raises(RelayError, match="42001 must be even"):
        relay.add_stream(pair(42001), pair(42004))


@pytest.mark.parametrize(("rtp_port", "rtcp_port"), [(0, None), (65536, None), (4000, 0), (4000, 65536)])
def test_an_impossible_remote_port_is_refused(call: Call, rtp_port: int, rtcp_port: int | None) -> None:
    with pytest.raises(RelayError, match=r"remote of the caller: port .* is not within 1 to 65535"):
        call.relay.set_remote(
            call.stream, Side.CALLER, Remote("127.0.0.1", rtp_port, rtcp_port), Latch.ADDRESS
        )


def test_running_out_of_descriptors_is_said(relay: Relay) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors() + 2, limits[1]))
    try:
        with pytest.raises(RelayError, match="no descriptor left: raise LimitNOFILE"):
            relay.add_stream(pair(42000), pair(42002))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    relay.add_stream(pair(42000), pair(42002))


def test_a_removed_stream_is_unknown_and_its_number_not_used_again(relay: Relay) -> None:
    stream = relay.add_stream(pair(42000), pair(42002))
    relay.remove_stream(stream)
    again = relay.add_stream(pair(42000), pair(42002))
    assert again != stream
    for use in (
        relay.stats,
        relay.remove_stream,
        relay.start_fork,
        relay.stop_fork,
        lambda number: relay.set_events(number, Side.CALLER, {101}),
        lambda number: relay.set_gate(number, True),
        lambda number: relay.set_remote(number, Side.CALLER, None, Latch.ANY),
    ):
        for unknown in (stream, 0, 1 << 60):
            with pytest.raises(RelayError, match=f"stream {unknown}"):
                use(unknown)
    relay.stats(again)


def test_calls_that_come_one_after_the_other_use_the_same_memory(relay: Relay) -> None:
    ids = []
    for _ in range(400):
        ids.append(relay.add_stream(pair(42000), pair(42002)))
        relay.remove_stream(ids[-1])
    assert len(set(ids)) == 400, "a number is never used again"
    slots = [stream % 65_536 for stream in ids]
    assert max(slots) < 256, "the first chunk of the table was enough"
    assert len(set(slots[:129])) == 129, "a slot rests before it is used again"


def test_removal_returns_the_final_counters_and_frees_the_ports(call: Call) -> None:
    call.send(Side.CALLER, rtp(1))
    call.receive(Side.CALLEE)
    call.counted(Side.CALLER, "relayed", 1)
    assert call.relay.remove_stream(call.stream).caller.relayed == 1
    with udp(RELAY_ADDRESS, call.ports[Side.CALLER].rtp_port):
        pass


def test_four_thousand_streams_leave_no_descriptor_behind(io: IoChoice) -> None:
    count = 4096
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 4 * count + 1000:
        pytest.skip(f"the hard limit of descriptors is {limits[1]}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    before = _descriptors()
    ports = PortPool(RELAY_ADDRESS, 10000, 39999)
    try:
        with Relay(threads=2, ring_bytes=1 << 16, io=io) as relay:
            opened = _descriptors()
            for _ in range(2):
                pairs = [(ports.allocate(), ports.allocate()) for _ in range(count)]
                streams = [relay.add_stream(*both) for both in pairs]
                assert len(set(streams)) == count
                assert _descriptors() == opened + 4 * count
                for stream in streams[: count // 2]:
                    relay.remove_stream(stream)
                assert _descriptors() == opened + 2 * count
                for stream in streams[count // 2 :]:
                    relay.remove_stream(stream)
                assert _descriptors() == opened
                for both in pairs:
                    ports.release(both[0])
                    ports.release(both[1])
            relay.add_stream(ports.allocate(), ports.allocate())
        assert _descriptors() == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_streams_come_and_go_while_packets_fly(io: IoChoice) -> None:
    stop = threading.Event()

    def bombard(address: str) -> None:
        with udp(address, 4000) as phone:
            for sequence in itertools.count():
                for port in range(42000, 42008):
                    phone.sendto(rtp(sequence), (RELAY_ADDRESS, port))
                if stop.is_set():
                    return

    relayed = 0
    with Relay(threads=2, ring_bytes=1 << 16, io=io) as relay:
        threads = [threading.Thread(target=bombard, args=(it,)) for it in (CALLER_ADDRESS, CALLEE_ADDRESS)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(400):
                first = 42000 + 4 * (turn % 2)
                stream = relay.add_stream(pair(first), pair(first + 2))
                relay.set_remote(stream, Side.CALLER, Remote(CALLER_ADDRESS, 4000, 4000), Latch.ADDRESS)
                relay.set_remote(stream, Side.CALLEE, Remote(CALLEE_ADDRESS, 4000, 4000), Latch.ANY)
                relay.set_gate(stream, True)
                relay.start_fork(stream)
                if turn % 50 == 0:
                    eventually(lambda: relay.stats(stream).caller.relayed, bool)  # noqa: B023
                relayed += relay.remove_stream(stream).caller.relayed
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert relayed > 0


# --------------------------------------------------------------------- engine


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "relay threads: 0, must be 1 to 64"),
        ({"threads": 65}, "relay threads: 65"),
        ({"ring_bytes": 65535}, "relay ring: 65535 bytes"),
        ({"ring_bytes": (1 << 30) + 1}, "relay ring"),
        ({"dscp": 64}, "relay dscp: 64, must be 0 to 63"),
        ({"io": "select"}, "relay io: 'select', must be one of auto, epoll, io_uring"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, typing.Any], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        Relay(**options)


def test_a_closed_relay_says_so(io: IoChoice) -> None:
    relay = Relay(ring_bytes=1 << 16, io=io)
    relay.close()
    relay.close()
    with pytest.raises(RelayError, match="the relay is closed"):
        relay.add_stream(pair(42000), pair(42002))
    with pytest.raises(RelayError, match="the relay is closed"):
        relay.poll_playbacks()


def test_a_forgotten_relay_warns_and_is_closed(io: IoChoice) -> None:
    before = _descriptors()
    relay = Relay(ring_bytes=1 << 16, io=io)
    with pytest.warns(ResourceWarning, match="a relay was not closed"):
        del relay
    assert _descriptors() == before


def test_threads_of_the_engine_take_no_signals(io: IoChoice) -> None:
    def engine_masks() -> dict[str, int]:
        masks = {}
        for task in Path("/proc/self/task").iterdir():
            lines = (task / "status").read_text(encoding="ascii").splitlines()
            fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            if fields["Name"].startswith("rtp-"):
                masks[f"{fields['Name']} {task.name}"] = int(fields["SigBlk"], 16)
        return masks

    with Relay(threads=2, ring_bytes=1 << 16, io=io):
        masks = engine_masks()
    assert sorted(name.split()[0] for name in masks) == ["rtp-relay", "rtp-relay", "rtp-ticker"]
    sigterm, sigint = 1 << 14, 1 << 1
    assert all(mask & sigterm and mask & sigint for mask in masks.values())
    assert not engine_masks()


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) - 1
