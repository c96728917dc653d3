"""Tell systemd how the daemon is doing (sd_notify(3)); does nothing elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Final

_PATIENCE_S: Final = 0.5  # the signalling thread waits no longer for a manager that does not read


class ServiceManager:
    """The notification socket named by NOTIFY_SOCKET, if any."""

    def __init__(self, environment: Mapping[str, str], failed: Callable[[str], None]) -> None:
        """Take the socket's address from the environment.

        Args:
            environment: Usually ``os.environ``.
            failed: Told why a message could not be sent, once until one can be; no call pays for it.
        """
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failed = failed
        self._silent = False

    def ready(self) -> None:
        """Start-up is done."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Shut-down has begun."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """The daemon is alive."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.settimeout(_PATIENCE_S)
                out.sendto(text.encode(), self._address)
        except OSError as err:
            if not self._silent:
                self._failed(f"{text} could not be sent to NOTIFY_SOCKET: {err.strerror or err}")
            self._silent = True
        else:
            self._silent = False
