"""Types of addresses and ports that several sections of the configuration share."""

from __future__ import annotations

from typing import Final, NewType

from msgspec import Meta

__all__ = ["PORT", "PORT_MAX", "IpAddress"]

PORT_MAX: Final = 65_535
PORT: Final = Meta(ge=1, le=PORT_MAX, description=f"a port from 1 to {PORT_MAX}")

IpAddress = NewType("IpAddress", str)  # numeric, in its canonical spelling
