"""Errors of the RTP engine: whose fault it was is told by the class."""

__all__ = ["PacketError", "PortsExhausted", "RelayError", "RtpError"]


class RtpError(Exception):
    """Root of the tree; never raised itself."""


class PacketError(RtpError):
    """A peer sent bytes that are not what they claim to be."""


class RelayError(RtpError):
    """The engine, its configuration or the machine under it cannot do what was asked."""


class PortsExhausted(RelayError):  # noqa: N818  (a state of the pool, not a defect)
    """Every port pair of the configured range is in use."""
