"""Tell systemd how the daemon is doing (sd_notify(3)); does nothing elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Mapping


class ServiceManager:
    """The notification socket named by NOTIFY_SOCKET, if any."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Take the socket's address from the environment.

        Args:
            environment: Usually ``os.environ``.
        """
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

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
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(text.encode(), self._address)
