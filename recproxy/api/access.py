"""Which role may do what: one table, and how often somebody may fail."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from recproxy.api.tokens import Role

__all__ = ["ROLES", "Failures"]

_ADMIN, _OPERATOR, _AUDITOR, _PRIVACY = Role.ADMIN, Role.OPERATOR, Role.AUDITOR, Role.PRIVACY
_ALL: Final = frozenset(Role)

ROLES: Final[Mapping[str, frozenset[Role]]] = {
    "me.show": _ALL,
    "calls.list": frozenset({_ADMIN, _OPERATOR, _PRIVACY}),
    "calls.show": frozenset({_ADMIN, _OPERATOR, _PRIVACY}),
    "calls.pause": frozenset({_OPERATOR}),
    "calls.resume": frozenset({_OPERATOR}),
    "calls.name": frozenset({_OPERATOR}),
    "recordings.list": frozenset({_OPERATOR, _AUDITOR, _PRIVACY}),
    "recordings.search": frozenset({_PRIVACY}),
    "recordings.show": frozenset({_OPERATOR, _AUDITOR, _PRIVACY}),
    "recordings.file": frozenset({_OPERATOR, _AUDITOR, _PRIVACY}),
    "recordings.tag": frozenset({_OPERATOR, _PRIVACY}),
    "transcripts.file": frozenset({_OPERATOR, _AUDITOR, _PRIVACY}),
    "transcripts.add": frozenset({_OPERATOR, _PRIVACY}),
    "transcripts.remove": frozenset({_PRIVACY}),
    "tickets.list": frozenset({_OPERATOR, _AUDITOR, _PRIVACY}),
    "tickets.request": frozenset({_OPERATOR, _AUDITOR, _PRIVACY}),
    "tickets.approve": frozenset({_OPERATOR, _AUDITOR, _PRIVACY}),
    "retention.show": _ALL,
    "holds.list": frozenset({_AUDITOR, _PRIVACY}),
    "holds.request": frozenset({_PRIVACY}),
    "holds.approve": frozenset({_PRIVACY}),
    "holds.release": frozenset({_PRIVACY}),
    "audit.list": frozenset({_AUDITOR, _PRIVACY}),
    "audit.verify": frozenset({_AUDITOR, _PRIVACY}),
    "policy.show": _ALL,
    "metrics.show": _ALL,
}
"""By operation, as OpenAPI names it. Who may hear a recording, its purpose says besides."""


class Failures:
    """Counts wrong tokens by client and of all, within a minute; what is beyond is not audited.

    A right token is never counted, so nobody can lock another out. Each line of the audit
    chain is synced, which the recorder must not be kept waiting for.

    Args:
        most: Wrong tokens of one client in a minute; of all, six times as many.
        clients: As many are remembered.
    """

    def __init__(self, most: int = 10, clients: int = 1024) -> None:
        self._most = most
        self._clients = clients
        self._of_all = (0.0, 0)
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def add(self, client: str, now: float) -> bool:
        """Count one.

        Args:
            client: Address, or that of the socket.
            now: Monotonic seconds.

        Returns:
            Whether it is still within the limit.
        """
        mine = self._seen[client] = _counted(self._seen.pop(client, (now, 0)), now)
        while len(self._seen) > self._clients:
            self._seen.popitem(last=False)
        self._of_all = _counted(self._of_all, now)
        return mine[1] <= self._most and self._of_all[1] <= self._most * _CLIENTS_WORTH


def _counted(seen: tuple[float, int], now: float) -> tuple[float, int]:
    """One more within the minute that began, or the first of a new one."""
    began, count = seen
    return (now, 1) if now - began >= _MINUTE_S else (began, count + 1)


_MINUTE_S: Final = 60.0
_CLIENTS_WORTH: Final = 6
