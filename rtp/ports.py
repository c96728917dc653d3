"""The pool of RTP/RTCP port pairs of one address."""

import collections
import threading

from rtp.endpoints import PortPair
from rtp.errors import PortsExhausted, RelayError

__all__ = ["PortPair", "PortPool"]

_FIRST_UNPRIVILEGED = 1024
_LAST = 65535


class PortPool:
    """Hands out pairs, the one that rested longest first.

    A pair just given back goes to the end of the queue, so that late packets of the old call do
    not fall into a new one. Safe to use from several threads.
    """

    def __init__(self, address: str, first: int, last: int) -> None:
        """Make a pool.

        Args:
            address: Address that the pairs are bound to.
            first: First port of the range; an odd one is rounded up.
            last: Last port of the range, itself included.

        Raises:
            RelayError: The range is not within 1024..65535 or holds no pair.
        """
        if not (_FIRST_UNPRIVILEGED <= first <= _LAST and _FIRST_UNPRIVILEGED <= last <= _LAST):
            raise RelayError(
                f"RTP port range {first}-{last}: ports must lie within {_FIRST_UNPRIVILEGED}-{_LAST}"
            )
        pairs = range(first + first % 2, last, 2)
        if not pairs:
            raise RelayError(
                f"RTP port range {first}-{last} holds no pair of an even port and the next: widen it"
            )
        self.address = address
        self._range = (first, last)
        self._lock = threading.Lock()
        self._resting = collections.deque(pairs)
        self._in_use: set[int] = set()

    @property
    def free(self) -> int:
        """Pairs that can still be allocated."""
        with self._lock:
            return len(self._resting)

    @property
    def size(self) -> int:
        """Pairs in all, free or in use."""
        with self._lock:
            return len(self._resting) + len(self._in_use)

    def allocate(self) -> PortPair:
        """Take the pair that rested longest.

        Returns:
            A pair that nobody else holds until `release`.

        Raises:
            PortsExhausted: All pairs are in use.
        """
        with self._lock:
            if not self._resting:
                first, last = self._range
                raise PortsExhausted(
                    f"all {len(self._in_use)} port pairs of {self.address}:{first}-{last} are in use: "
                    "widen the RTP port range or lower the number of calls (two pairs a call)"
                )
            port = self._resting.popleft()
            self._in_use.add(port)
        return PortPair(self.address, port)

    def release(self, pair: PortPair) -> None:
        """Give a pair back.

        Args:
            pair: As handed out by `allocate`.

        Raises:
            RelayError: The pair was not handed out by this pool, or was given back already.
        """
        with self._lock:
            if pair.address != self.address or pair.rtp_port not in self._in_use:
                raise RelayError(f"port pair {pair.address}:{pair.rtp_port} is not handed out by this pool")
            self._in_use.remove(pair.rtp_port)
            self._resting.append(pair.rtp_port)
