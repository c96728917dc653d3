"""A daemon between two exact peers, and calls through it whose every packet is known."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sdp_bodies
from daemon import Daemon, Said, Settings
from listening import Match, RiffWave, find_runs, read_wave, unmistakable
from loopback import Lease
from rtp_peer import FRAME_NS, FRAME_SAMPLES, SAMPLE_NS, Heard, RtpPeer, Talk
from softphone import Dialog, PeerError, Softphone

NUMBER = "+31301234567"
CALLER_NUMBER = "+31612345678"


@dataclass(slots=True)
class Call:
    """One answered call, both of whose parties speak from the answer on.

    Attributes:
        ref: The daemon's random reference of it.
        caller: Dialog of the caller.
        callee: Dialog of the callee.
        left: The caller's RTP; ``left_talk`` what it says.
        right: The callee's RTP; ``right_talk`` what it says.
    """

    ref: str
    caller: Dialog
    callee: Dialog
    left: RtpPeer
    right: RtpPeer
    left_talk: Talk
    right_talk: Talk

    def hang_up(self) -> None:
        """The caller hangs up; both stop talking once the callee knows."""
        self.caller.bye()
        self.callee.wait_ended()
        self.silence()

    def silence(self) -> None:
        """Both stop talking."""
        self.left_talk.stop()
        self.right_talk.stop()

    def close(self) -> None:
        """Free the sockets."""
        self.left.close()
        self.right.close()


@dataclass(slots=True)
class Rig:
    """Everybody of a test.

    Attributes:
        lease: The addresses.
        daemon: recproxy, not started yet.
        caller: User agent at the caller's address.
        callee: User agent at the callee's address.
    """

    lease: Lease
    daemon: Daemon
    caller: Softphone
    callee: Softphone
    directory: Path
    _stack: contextlib.ExitStack

    def peer(self, address: str) -> RtpPeer:
        """An RTP socket that lives as long as the rig."""
        return self._stack.enter_context(RtpPeer(address))

    def dial(
        self,
        *,
        number: str = NUMBER,
        caller: str = CALLER_NUMBER,
        seconds: float = 20.0,
        seed: int = 1,
        codecs: tuple[tuple[str, str], ...] = (sdp_bodies.PCMU,),
        answer: tuple[tuple[str, str], ...] = (),
        left_ticks: Sequence[Sequence[int]] = (),
        headers: tuple[tuple[str, str], ...] = (),
        answer_headers: tuple[tuple[str, str], ...] = (),
    ) -> Call:
        """Call through the daemon, answer, and start to talk both ways at once.

        Args:
            number: Whom to call.
            caller: Who calls.
            seconds: Length of what each side says at most.
            seed: Makes what is said unmistakable among calls.
            codecs: Offered.
            answer: Accepted; all of ``codecs`` if empty.
            left_ticks: Makes a bad line of the caller's, see ``Talk``.
            headers: Of the caller's INVITE.
            answer_headers: Of the callee's 200.
        """
        left, right = self.peer(self.caller.address), self.peer(self.callee.address)
        start = self.daemon.mark
        dialog = self.caller.invite(
            number,
            self.daemon.sip,
            sdp_bodies.audio(left.address, left.port, codecs=codecs),
            caller=caller,
            headers=headers,
        )
        try:
            incoming = self.callee.next_call()
        except PeerError as err:
            got = [
                message.start for message in self.caller.received if message.one("call-id") == dialog.call_id
            ]
            raise PeerError(f"{err}; the caller got {got}") from err
        incoming.ring()
        body = sdp_bodies.audio(right.address, right.port, codecs=answer or codecs)
        incoming.answer(body, headers=answer_headers)
        dialog.wait_answer()
        answered = self.daemon.wait("call.answered", start=start)
        payload_type = int((answer or codecs)[0][0])
        left_talk = left.talk(
            unmistakable(seconds, 2 * seed),
            sdp_bodies.media_target(dialog.remote_sdp),
            payload_type=payload_type,
            ssrc=0x11110000 + seed,
            sequence=65_500,
            timestamp=0xFFFFF000,
            ticks=left_ticks,
        )
        right_talk = right.talk(
            unmistakable(seconds, 2 * seed + 1),
            sdp_bodies.media_target(incoming.remote_sdp),
            payload_type=payload_type,
            ssrc=0x22220000 + seed,
        )
        return Call(str(answered["call_ref"]), dialog, incoming, left, right, left_talk, right_talk)

    def talk_on(self, call: Call, seconds: float) -> None:
        """Wait until both parties have heard ``seconds`` more."""
        wanted = [(peer, len(peer.heard) + round(seconds * 50)) for peer in (call.left, call.right)]
        for peer, count in wanted:
            peer.wait_count(count, within_s=seconds + 20)

    def recorded(self, call: Call) -> str:
        """Wait until the call is being recorded; returns the recording's id."""
        return self.daemon.wait("recording.opened", call_ref=call.ref).recording

    def sealed(self, call: Call) -> Said:
        """Wait until the call's recording is closed for good."""
        return self.daemon.wait("recording.sealed", call_ref=call.ref)

    def keeps_nothing_of(self, call: Call) -> None:
        """Neither a key nor a body is there, and not a byte of what was said in any file.

        Raises:
            AssertionError: Something is.
        """
        assert self.daemon.bodies() == []
        assert list((self.daemon.data / "keys").glob("*")) == []
        for path in self.daemon.files():
            content = path.read_bytes()
            for talk in (call.left_talk, call.right_talk):
                for at in range(0, len(talk.sent) - 24, 400):
                    where = path.relative_to(self.daemon.data)
                    assert talk.sent[at : at + 24] not in content, f"audio in {where}"

    def wave(self, recording: str) -> RiffWave:
        """The recording as the operator's export, G.711 kept as it was."""
        out = self.directory / f"{recording}.wav"
        return read_wave(self.daemon.export(recording, out))


@contextlib.contextmanager
def rig(directory: Path, prompts: Path, settings: Settings | None = None) -> Iterator[Rig]:
    """Lease addresses, configure a daemon, start the two user agents; the daemon is not started."""
    with contextlib.ExitStack() as stack:
        lease = stack.enter_context(Lease.take())
        daemon = stack.enter_context(
            Daemon(directory / "rig", lease.addresses, prompts, settings or Settings())
        )
        caller = stack.enter_context(Softphone(lease.addresses.caller))
        callee = stack.enter_context(Softphone(lease.addresses.callee))
        yield Rig(lease, daemon, caller, callee, directory, stack)


@contextlib.contextmanager
def standing(made: Rig) -> Iterator[tuple[Rig, Call]]:
    """A call that is recorded, by a daemon that is started; afterwards neither must have lost anything."""
    made.daemon.start()
    call = made.dial(seconds=120)
    made.recorded(call)
    made.talk_on(call, 1)
    yield made, call
    assert made.daemon.alive
    made.talk_on(call, 1)
    call.hang_up()
    sealed = made.sealed(call)
    assert [sealed[key] for key in ("caller_lost", "callee_lost", "ring_dropped")] == [0, 0, 0]
    assert made.daemon.alive


def announcement_heard(peer: RtpPeer, talk_ssrc: int) -> list[Heard]:
    """The announcement as a party heard it: RTP that is not the other party's stream."""
    return [packet for packet in peer.heard if len(packet.data) > 12 and packet.ssrc != talk_ssrc]


def announcement_end_ns(call: Call, other_ssrc: int, at: RtpPeer) -> int:
    """When the announcement was over at a party: its last frame came, and lasts 20 ms."""
    heard = announcement_heard(at, other_ssrc)
    assert heard, f"no announcement reached {at.address} in call {call.ref}"
    return heard[-1].at_ns + FRAME_NS


@dataclass(frozen=True, slots=True)
class Compared:
    """A recording held against what was sent.

    Attributes:
        left: Runs of the caller's speech in the left channel.
        right: Runs of the callee's speech in the right channel.
        skew_ms: Offset between the channels, against the moments of sending.
    """

    left: list[Match]
    right: list[Match]
    skew_ms: float


def compare(call: Call, wave: RiffWave) -> Compared:
    """Find both parties' speech in a recording, bit for bit.

    Raises:
        AssertionError: A channel holds a sample that its party never sent.
    """
    left = find_runs(wave.channel(0), call.left_talk.sent)
    right = find_runs(wave.channel(1), call.right_talk.sent)
    skew_ms = float("nan")
    if left and right:
        skew_ms = (_origin_ns(left[0], call.left_talk) - _origin_ns(right[0], call.right_talk)) / 1e6
    return Compared(left, right, skew_ms)


def _origin_ns(run: Match, talk: Talk) -> float:
    """When sample 0 of the channel was spoken: the median over the frames of this run."""
    first = -(-run.sent // FRAME_SAMPLES)
    whole = range(first, (run.sent + run.samples) // FRAME_SAMPLES)
    frames = whole or (run.sent // FRAME_SAMPLES,)  # a run shorter than a frame
    shift = run.recorded - run.sent
    return statistics.median(
        talk.sample_ns(frame * FRAME_SAMPLES) - (frame * FRAME_SAMPLES + shift) * SAMPLE_NS
        for frame in frames
    )
