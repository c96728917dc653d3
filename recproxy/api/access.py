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
    "recordings.list": frozenset({_OPERATOR, _AUDITOR, _PRIVACY}),
    "recordings.search": frozenset({_PRIVACY}),
    "recordings.show": frozenset({_OPERATOR, _AUDITOR, _PRIVACY}),
    "recordings.file": frozenset({_OPERATOR, _AUDITOR, _PRIVACY}),
    "recordings.tag": frozenset({_OPERATOR, _PRIVACY}),
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
    """Counts wrong tokens by client, within a minute; what is beyond is not even looked at.

    A right token is never counted, so nobody can lock another out.

    Args:
        most: Wrong tokens of one client in a minute.
        clients: As many are remembered.
    """

    def __init__(self, most: int = 10, clients: int = 1024) -> None:
        self._most = most
        self._clients = clients
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def add(self, client: str, now: float) -> bool:
        """Count one.

        Args:
            client: Address, or that of the socket.
            now: Monotonic seconds.

        Returns:
            Whether it is still within the limit.
        """
        began, count = self._seen.pop(client, (now, 0))
        if now - began >= _MINUTE_S:
            began, count = now, 0
        self._seen[client] = (began, count + 1)
        while len(self._seen) > self._clients:
            self._seen.popitem(last=False)
        return count < self._most


_MINUTE_S: Final = 60.0
