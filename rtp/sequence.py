"""Counters that wrap: 16-bit sequence numbers and 32-bit timestamps, extended without end.

RFC 3550 appendix A.1 extends the sequence number by counting its wraps. The same rule, "take the
value that lies nearest to the last one", serves both fields here, in either direction of time.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["SEQUENCE_BITS", "TIMESTAMP_BITS", "Extender", "distance", "extend", "unwrap"]

SEQUENCE_BITS = 16
TIMESTAMP_BITS = 32


def distance(value: int, reference: int, bits: int) -> int:
    """Tell how far a wrapped value lies ahead of (or behind) a reference.

    Args:
        value: Field as received; only the low `bits` count.
        reference: Any integer, wrapped or extended.
        bits: Width of the field, 16 or 32.

    Returns:
        Shortest signed way from reference to value, in [-2**(bits-1), 2**(bits-1)).
    """
    half = 1 << (bits - 1)
    return ((value - reference + half) & ((1 << bits) - 1)) - half


def extend(value: int, reference: int, bits: int) -> int:
    """Extend a wrapped value to the integer nearest to a reference.

    Args:
        value: Field as received, 0..2**bits-1.
        reference: An extended value of the same stream, near in time.
        bits: Width of the field, 16 or 32.

    Returns:
        The integer congruent to value (mod 2**bits) that lies nearest to reference; it may be
        negative when a packet from before the first wrap comes late.
    """
    return reference + distance(value, reference, bits)


def unwrap(values: npt.ArrayLike, reference: int, bits: int) -> npt.NDArray[np.int64]:
    """Extend many values, each relative to the one before it.

    Args:
        values: Fields as received, in arrival order.
        reference: Extended value that the first is near to.
        bits: Width of the field, 16 or 32.

    Returns:
        Extended values, same length and order.
    """
    wrapped = np.asarray(values).astype(np.int64)
    if wrapped.size == 0:
        return wrapped
    half = 1 << (bits - 1)
    steps = np.diff(wrapped, prepend=np.int64(reference & ((1 << bits) - 1)))
    steps = ((steps + half) & ((1 << bits) - 1)) - half
    extended: npt.NDArray[np.int64] = reference + np.cumsum(steps)
    return extended


class Extender:
    """Extends one field of one stream, packet by packet.

    The highest value seen is the reference, so one stray old packet cannot pull the count back.
    """

    __slots__ = ("_bits", "highest")

    def __init__(self, bits: int) -> None:
        """Start with no packet seen.

        Args:
            bits: Width of the field, 16 or 32.
        """
        self._bits = bits
        self.highest: int | None = None

    def extend(self, value: int) -> int:
        """Extend the next value.

        Args:
            value: Field as received.

        Returns:
            The extended value; the first one is returned as it is.
        """
        extended = value if self.highest is None else extend(value, self.highest, self._bits)
        if self.highest is None or extended > self.highest:
            self.highest = extended
        return extended
