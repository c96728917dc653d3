"""The relay: owns the native engine and turns its status codes into exceptions."""

import contextlib
import dataclasses
import errno
import os
import threading
import types
import typing
import warnings
from collections.abc import Collection

from rtp._binding import ffi, lib
from rtp.endpoints import Latch, PortPair, Remote, Side, SrtpKey, SrtpSuite
from rtp.errors import RelayError
from rtp.playback import PlaybackEvent, PlaybackState, Playout, check_playout
from rtp.stats import SideStats, StreamStats

__all__ = [
    "IoChoice",
    "Latch",
    "PlaybackEvent",
    "PlaybackState",
    "Playout",
    "PortPair",
    "Relay",
    "Remote",
    "Scheduling",
    "Side",
    "SideStats",
    "SrtpKey",
    "SrtpSuite",
    "StreamStats",
]

_EVENTS = 64

IoChoice = typing.Literal["auto", "epoll", "io_uring"]
"""How packets are read and sent."""

Scheduling = typing.Literal["default", "short-slice", "realtime"]
"""How soon a thread gets a processor that others want too.

"realtime" is SCHED_FIFO at the lowest priority, where RLIMIT_RTPRIO is 1 or more; "short-slice" is
what Linux 6.12 grants to everybody: 0.1 ms at a time, but soon. With "default" a packet may wait for
the slice of another thread, some milliseconds.
"""

_SCHEDULING: tuple[Scheduling, ...] = typing.get_args(Scheduling)

_IO: tuple[IoChoice, ...] = typing.get_args(IoChoice)

_COUNTERS = tuple(field.name for field in dataclasses.fields(SideStats))


class Relay:
    """Relays RTP and RTCP between two parties, plays prompts, and forks what passes.

    A context manager. The methods may be called from several threads; none waits for the network.
    Packets are moved by threads of its own that never hold the interpreter lock.
    """

    def __init__(
        self,
        *,
        threads: int = 1,
        ring_bytes: int = 16 << 20,
        dscp: int = 46,
        io: IoChoice = "auto",
    ) -> None:
        """Start the engine.

        Args:
            threads: Relay threads, 1..64; one serves some thousand calls.
            ring_bytes: Payload bytes that each thread can hold for the recorder, 64 KiB..1 GiB;
                rounded down to a power of two. 16 MiB hold 10 s of 100 calls in G.711;
                `rtp.fork.ring_bytes_for` tells what a number of calls needs.
            dscp: Mark of outgoing packets, 0..63; 46 is expedited forwarding (RFC 3246).
            io: How packets are read and sent. "auto" takes io_uring where the system allows it.

        Raises:
            RelayError: A value is out of range, threads or memory cannot be had, or io_uring was
                asked for and the system does not allow it.
        """
        if not 1 <= threads <= lib.RELAY_MAX_THREADS:
            raise RelayError(f"relay threads: {threads}, must be 1 to {lib.RELAY_MAX_THREADS}")
        if not lib.RELAY_MIN_RING <= ring_bytes <= lib.RELAY_MAX_RING:
            raise RelayError(
                f"relay ring: {ring_bytes} bytes, must be {lib.RELAY_MIN_RING} to {lib.RELAY_MAX_RING}"
            )
        if not 0 <= dscp <= lib.RELAY_MAX_DSCP:
            raise RelayError(f"relay dscp: {dscp}, must be 0 to {lib.RELAY_MAX_DSCP}")
        if io not in _IO:
            raise RelayError(f"relay io: {io!r}, must be one of {', '.join(_IO)}")
        options = ffi.new("struct relay_options *", (threads, dscp, ring_bytes, _IO.index(io)))
        handle = ffi.new("struct relay **")
        self._lock = threading.Lock()
        self._handle: typing.Any = None
        self._borrowed: dict[int, tuple[typing.Any, ...]] = {}
        status = lib.relay_open(options, handle)
        if status != lib.RELAY_OK:
            raise RelayError(_why_no_start(status, ffi.errno))
        self._handle = handle[0]
        self.io: typing.Literal["epoll", "io_uring"] = (
            "io_uring" if lib.relay_io(self._handle) == lib.RELAY_IO_URING else "epoll"
        )
        """How packets are read and sent."""
        self.scheduling: Scheduling = _SCHEDULING[lib.relay_scheduling(self._handle)]
        """How soon the engine's threads get a processor that others want as well."""
        self.event_fd: int = lib.relay_event_fd(self._handle)
        """Readable while playback events wait."""
        self.memory_locked: bool = bool(lib.relay_memory_locked(self._handle))
        """Whether speech in memory is kept out of swap; needs RLIMIT_MEMLOCK of `memory_bytes`."""
        self.memory_bytes: int = lib.relay_memory_bytes(self._handle)
        """Memory that holds speech: the rings of all threads and the packets in transit."""

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            warnings.warn("a relay was not closed", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def close(self) -> None:
        """Stop the threads and close every socket; a second call does nothing.

        Playbacks that still ran have no event any more, and what was not drained is gone.
        """
        with self._lock:
            handle, self._handle = self._handle, None
            if handle is not None:
                lib.relay_close(handle)
            self._borrowed.clear()

    @contextlib.contextmanager
    def native(self) -> typing.Iterator[typing.Any]:
        """Lend the native handle; it cannot be closed meanwhile.

        Yields:
            The `struct relay *`.

        Raises:
            RelayError: The relay is closed.
        """
        with self._lock:
            if self._handle is None:
                raise RelayError("the relay is closed")
            yield self._handle

    @staticmethod
    def now_ns() -> int:
        """Tell the time of the engine.

        Returns:
            CLOCK_MONOTONIC in nanoseconds.
        """
        return int(lib.relay_now_ns())

    def add_stream(self, caller: PortPair, callee: PortPair) -> int:
        """Open the four sockets of a media stream.

        The gate is shut, no remote is set and nothing is forked until the other methods say so.

        Args:
            caller: Ports that face the caller.
            callee: Ports that face the callee.

        Returns:
            Number of the stream, positive, never used again.

        Raises:
            RelayError: A port is odd, taken, or not ours to bind, or descriptors ran out; the
                message names the port and the mend. Nothing stays open.
        """
        for pair in (caller, callee):
            if pair.rtp_port % 2 or not 0 < pair.rtp_port < 1 << 16:
                raise RelayError(f"RTP port {pair.address}:{pair.rtp_port} must be even and 2 to 65534")
        stream = ffi.new("uint64_t *")
        failed = ffi.new("uint16_t *")
        with self.native() as handle:
            status = lib.relay_add(
                handle,
                caller.address.encode(),
                caller.rtp_port,
                callee.address.encode(),
                callee.rtp_port,
                stream,
                failed,
            )
            code = ffi.errno
        if status == lib.RELAY_SYSTEM:
            raise RelayError(_why_no_socket(code, failed[0], caller, callee))
        if status == lib.RELAY_BAD_ADDRESS:
            raise RelayError(
                f"RTP address {caller.address!r} or {callee.address!r} is not a numeric IP address"
            )
        _check(status, f"stream on ports {caller.rtp_port} and {callee.rtp_port}")
        return int(stream[0])

    def set_remote(self, stream: int, side: Side, remote: Remote | None, latch: Latch) -> None:
        """Say where a party receives; its packets are those that come from there.

        Every call forgets what was latched. For an SDP that repeats the last one (RFC 3264
        section 8: same version in o=) leave it out.

        Args:
            stream: As returned by `add_stream`.
            side: Which party.
            remote: From its SDP; None while it neither sends nor receives.
            latch: How its source is checked.

        Raises:
            RelayError: No such stream, or the address is not numeric or of another family than
                the port facing the party.
        """
        address, rtp_port, rtcp_port = ffi.NULL, 0, 0
        if remote is not None:
            for port in (remote.rtp_port, remote.rtcp_port):
                if port is not None and not 0 < port < 1 << 16:
                    raise RelayError(
                        f"remote of the {side.name.lower()}: port {port} is not within 1 to 65535"
                    )
            address, rtp_port, rtcp_port = remote.address.encode(), remote.rtp_port, remote.rtcp_port or 0
        with self.native() as handle:
            status = lib.relay_set_remote(handle, stream, side, address, rtp_port, rtcp_port, latch)
        if status == lib.RELAY_BAD_ADDRESS and remote is not None:
            raise RelayError(
                f"remote of the {side.name.lower()}: {remote.address!r} is not a numeric address of the "
                "family that the port facing it has"
            )
        _check(status, f"stream {stream}")

    def set_crypto(
        self, stream: int, side: Side, *, inbound: SrtpKey | None, outbound: SrtpKey | None
    ) -> None:
        """Speak SRTP with a party from now on, or plain RTP.

        A key that is in use already is kept as it is, with its packet counters; so a re-offer
        that repeats a key (RFC 4568 section 7.1.4) interrupts nothing.

        Args:
            stream: As returned by `add_stream`.
            side: Which party.
            inbound: Key of what it sends: what is not authentic, or a replay, is dropped and
                counted. None: it sends plain RTP.
            outbound: Key of all that goes to it, the announcement too. None: plain RTP.

        Raises:
            RelayError: No such stream, or the SRTP library cannot do the suite.
        """
        keys = [
            ffi.NULL if key is None else ffi.new("struct relay_srtp_key *") for key in (inbound, outbound)
        ]
        try:
            for native, key in zip(keys, (inbound, outbound), strict=True):
                if key is not None:
                    native.suite, native.length = key.suite, len(key.key)
                    ffi.memmove(native.key, key.key, len(key.key))
            with self.native() as handle:
                status = lib.relay_set_crypto(handle, stream, side, *keys)
                code = ffi.errno
        finally:
            for native in keys:
                if native != ffi.NULL:
                    ffi.memmove(native, bytes(ffi.sizeof("struct relay_srtp_key")), ffi.sizeof(native[0]))
        if status == lib.RELAY_SYSTEM and code == errno.ENOTSUP:
            names = " and ".join(key.suite.name for key in (inbound, outbound) if key is not None)
            raise RelayError(f"SRTP of stream {stream}: libsrtp2 of this machine cannot do {names}")
        _check(status, f"stream {stream}")

    def set_gate(self, stream: int, opened: bool) -> None:
        """Let packets through to the other party, or drop and count them.

        Args:
            stream: As returned by `add_stream`.
            opened: True relays both ways.

        Raises:
            RelayError: No such stream.
        """
        with self.native() as handle:
            status = lib.relay_set_gate(handle, stream, opened)
        _check(status, f"stream {stream}")

    def play(self, stream: int, side: Side, playout: Playout) -> int:
        """Send encoded frames to a party, on time, from the port that faces it.

        Independent of the gate. The frames are not copied: the relay keeps `playout.frames`.

        Args:
            stream: As returned by `add_stream`.
            side: Who hears it.
            playout: What to send.

        Returns:
            Number of the playback; `poll_playbacks` tells once how it ended.

        Raises:
            RelayError: No such stream, the side is being played to already, or the playout
                contradicts itself.
        """
        check_playout(playout)
        frames = ffi.from_buffer(playout.frames)
        lengths = ffi.new("uint16_t[]", playout.lengths)
        native = ffi.new(
            "struct relay_playout *",
            {
                "frames": frames,
                "lengths": lengths,
                "count": len(playout.lengths),
                "frame_ms": playout.frame_ms,
                "timestamp_step": playout.timestamp_step,
                "ssrc": playout.ssrc,
                "timestamp": playout.timestamp,
                "sequence": playout.sequence,
                "payload_type": playout.payload_type,
            },
        )
        number = ffi.new("uint64_t *")
        with self.native() as handle:
            status = lib.relay_play(handle, stream, side, native, number)
            if status == lib.RELAY_OK:
                self._borrowed[number[0]] = (frames, lengths)
        if status == lib.RELAY_BUSY:
            raise RelayError(f"stream {stream} already plays to the {side.name.lower()}: stop that first")
        _check(status, f"stream {stream}")
        return int(number[0])

    def stop_play(self, playback: int) -> None:
        """End a playback; it reports STOPPED, unless it had ended by itself before.

        Args:
            playback: As returned by `play`.

        Raises:
            RelayError: There never was such a playback.
        """
        with self.native() as handle:
            status = lib.relay_stop_play(handle, playback)
        _check(status, f"playback {playback}")

    def poll_playbacks(self) -> list[PlaybackEvent]:
        """Take the playbacks that ended since the last call.

        Returns:
            Their events, in the order they ended; empty if there are none.

        Raises:
            RelayError: The relay is closed.
        """
        events = []
        buffer = ffi.new("struct relay_playback_event[]", _EVENTS)
        with self.native() as handle:
            while count := lib.relay_poll_playbacks(handle, buffer, _EVENTS):
                for event in buffer[0:count]:
                    self._borrowed.pop(event.playback, None)
                    events.append(
                        PlaybackEvent(
                            event.playback, PlaybackState(event.state), event.frames_sent, event.at_ns
                        )
                    )
        return events

    def start_fork(self, stream: int, guard_ns: int = 0) -> int:
        """Copy packets for the recorder from now + guard on.

        Args:
            stream: As returned by `add_stream`.
            guard_ns: Time that is left out, for what is still under way to the listener's ear.

        Returns:
            The instant, in nanoseconds of `now_ns`: no packet that arrived before it is ever in
            a batch, every RTP packet of a party that arrives at or after it is, up to drops
            that are counted.

        Raises:
            RelayError: No such stream, or a negative guard.
        """
        from_ns = ffi.new("int64_t *")
        with self.native() as handle:
            status = lib.relay_start_fork(handle, stream, guard_ns, from_ns)
        _check(status, f"fork of stream {stream} with a guard of {guard_ns} ns")
        return int(from_ns[0])

    def stop_fork(self, stream: int) -> int:
        """Copy nothing more.

        Args:
            stream: As returned by `add_stream`.

        Returns:
            The instant: no packet that arrived at or after it is in any batch. One that arrived
            before may come in the next batch.

        Raises:
            RelayError: No such stream.
        """
        until_ns = ffi.new("int64_t *")
        with self.native() as handle:
            status = lib.relay_stop_fork(handle, stream, until_ns)
        _check(status, f"stream {stream}")
        return int(until_ns[0])

    def set_events(self, stream: int, side: Side, payload_types: Collection[int]) -> None:
        """Copy a party's telephone-events at all times, inside and outside of the fork's window.

        So keys pressed during an announcement, a hold or a call that is not recorded are heard.
        Outside of the window no speech is copied, whatever payload type it claims: one event block
        of a key or the hook flash is (RFC 4733 section 2.3), marked `event_only`.

        Args:
            stream: As returned by `add_stream`.
            side: Whose keys.
            payload_types: Those that its SDP or ours gives to telephone-event; none ends it.

        Raises:
            RelayError: No such stream, or a payload type is not within 0 to 127.
        """
        types = [0, 0]
        for payload_type in payload_types:
            if not 0 <= payload_type < 1 << 7:
                raise RelayError(f"telephone-event: payload type {payload_type} is not within 0 to 127")
            types[payload_type // 64] |= 1 << payload_type % 64
        with self.native() as handle:
            status = lib.relay_set_events(handle, stream, side, types)
        _check(status, f"stream {stream}")

    def stats(self, stream: int) -> StreamStats:
        """Read the counters of a stream.

        Args:
            stream: As returned by `add_stream`.

        Returns:
            A consistent snapshot.

        Raises:
            RelayError: No such stream.
        """
        with self.native() as handle:
            return _stats(lib.relay_stats_of, handle, stream)

    def remove_stream(self, stream: int) -> StreamStats:
        """Close the sockets of a stream; safe while packets fly.

        Args:
            stream: As returned by `add_stream`; it is unknown afterwards.

        Returns:
            The final counters.

        Raises:
            RelayError: No such stream.
        """
        with self.native() as handle:
            return _stats(lib.relay_remove, handle, stream)


def _stats(read: typing.Callable[..., int], handle: object, stream: int) -> StreamStats:
    native = ffi.new("struct relay_stats *")
    _check(read(handle, stream, native), f"stream {stream}")
    caller, callee = (SideStats(*(getattr(side, name) for name in _COUNTERS)) for side in native.side)
    return StreamStats(caller, callee)


def _why_no_start(status: int, code: int) -> str:
    if status != lib.RELAY_NO_URING:
        return f"the relay cannot start: {os.strerror(code)}"
    match code:
        case errno.ENOSYS:
            why = "Linux 6.12 or newer is needed"
        case errno.EPERM | errno.EACCES:
            why = "sysctl kernel.io_uring_disabled or a seccomp filter of the service forbids it"
        case _:
            why = os.strerror(code)
    return f"relay io: io_uring cannot be had: {why}; allow it, or choose epoll or auto"


def _why_no_socket(code: int, port: int, caller: PortPair, callee: PortPair) -> str:
    pair = caller if port in (caller.rtp_port, caller.rtcp_port) else callee
    where = f"RTP port {pair.address}:{port}" if port else "RTP stream"
    match code:
        case errno.EADDRINUSE:
            return f"{where} is in use: stop the program that holds it or configure another RTP port range"
        case errno.EADDRNOTAVAIL:
            return f"{where}: this machine does not have that address: configure one that it has"
        case errno.EMFILE | errno.ENFILE:
            return f"{where}: no descriptor left: raise LimitNOFILE, a call needs four"
        case _:
            return f"{where} cannot be opened: {os.strerror(code)}"


def _check(status: int, what: str) -> None:
    if status == lib.RELAY_OK:
        return
    if status == lib.RELAY_NO_STREAM:
        raise RelayError(f"{what}: there is none (any more)")
    if status == lib.RELAY_FULL:
        raise RelayError(f"{what}: the relay is full, it holds {lib.RELAY_MAX_STREAMS} streams")
    if status == lib.RELAY_SYSTEM:
        raise RelayError(f"{what}: {os.strerror(ffi.errno)}")
    raise RelayError(f"{what}: an argument is out of range")
