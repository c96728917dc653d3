"""Counters of a media stream, as the engine keeps them."""

from dataclasses import dataclass

from rtp.endpoints import Side

__all__ = ["SideStats", "StreamStats"]


@dataclass(frozen=True, slots=True)
class SideStats:
    """Counters of the packets that came from one party.

    Attributes:
        received: Datagrams of the party on its RTP port.
        received_bytes: Their bytes, UDP payload.
        relayed: Of those, sent on to the other party.
        foreign: From another source; neither relayed nor forked.
        malformed: Claim to be RTP or RTCP and contradict their length; relayed, not forked.
        opaque: Neither RTP nor RTCP (STUN, T.38); relayed, not forked.
        gated: Dropped because the gate was shut.
        unroutable: Dropped because the other party has no remote.
        send_errors: Refused by the operating system when sent on.
        forked: Copied for the recorder, within the fork's window.
        fork_dropped: To be copied, but the ring was full.
        socket_dropped: Lost in the kernel before they were read, as far as it told.
        rtcp_received: RTCP packets, on their own port or multiplexed.
        rtcp_relayed: Of those, sent on.
        last_packet_ns: Arrival of the last accepted datagram on the RTP port, 0 if none.
        ssrc: Of the last RTP packet, 0 if none.
        unauthentic: Of a party with SRTP, not authentic or a replay; in no other counter.
        unsealed: Not relayed, since SRTP to the other party cannot carry it: neither RTP nor RTCP,
            or a sequence number that was used already.
        events: Telephone-events copied outside of the fork's window.
    """

    received: int
    received_bytes: int
    relayed: int
    foreign: int
    malformed: int
    opaque: int
    gated: int
    unroutable: int
    send_errors: int
    forked: int
    fork_dropped: int
    socket_dropped: int
    rtcp_received: int
    rtcp_relayed: int
    last_packet_ns: int
    ssrc: int
    unauthentic: int = 0
    unsealed: int = 0
    events: int = 0


@dataclass(frozen=True, slots=True)
class StreamStats:
    """Counters of one stream, by the party that the packets came from."""

    caller: SideStats
    callee: SideStats

    def __getitem__(self, side: Side) -> SideStats:
        return self.caller if side == Side.CALLER else self.callee
