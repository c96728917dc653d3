"""With which status and which headers a leg is ended. Pure."""

from __future__ import annotations

from typing import Final

from recproxy.call.commands import EndLeg
from recproxy.call.events import LegName
from recproxy.sip import failures
from recproxy.sip.bridge import Bridge
from recproxy.sip.headers import Reason

__all__ = ["ending"]

_NOT_AVAILABLE: Final = 480


def ending(bridge: Bridge, command: EndLeg) -> tuple[int, list[tuple[str, str]]]:
    """Status and headers for a leg, by what ended the other.

    Args:
        bridge: The call.
        command: Which leg, and with what.

    Returns:
        The status of a failure response, and headers of it or of a BYE or CANCEL.
    """
    extra: list[tuple[str, str]] = [("Reason", str(r)) for r in bridge.reasons.get(command.leg.other, ())]
    ours = command.leg is LegName.CALLEE or bridge.failure is None
    if command.code >= 300 and not extra and ours:  # noqa: PLR2004
        extra.append(("Reason", str(Reason("SIP", command.code, command.reason))))
    to = bridge.toward(command.leg)
    extra = [pair for pair in extra if to.headers.passes(pair[0])]
    code = command.code if command.code >= 300 else _NOT_AVAILABLE  # noqa: PLR2004
    if command.leg is LegName.CALLER and bridge.failure is not None:
        targets = failures.targets(bridge.failure)
        extra += targets + failures.passed_on(bridge.failure, bridge.trunk.headers)
        if code < 400 and not targets:  # noqa: PLR2004 - a redirection to nowhere
            code = _NOT_AVAILABLE
    elif (wait := command.retry_after_s or bridge.retry_after_s) is not None:
        extra.append(("Retry-After", str(wait)))
    return code, extra
