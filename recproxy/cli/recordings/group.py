"""The commands that read recordings."""

from __future__ import annotations

from typing import Final

from recproxy.cli.lazy import Entry, LazyGroup

__all__ = ["recordings"]

_HERE: Final = "recproxy.cli.recordings"

recordings = LazyGroup(
    "recordings",
    help="List, show, export and verify recordings.",
    entries={
        "list": Entry(f"{_HERE}.listing", "listing", "List recordings, newest first."),
        "show": Entry(f"{_HERE}.showing", "showing", "Show all that is known of one recording."),
        "export": Entry(f"{_HERE}.exporting", "exporting", "Decrypt a recording to an audio file."),
        "promote": Entry(
            f"{_HERE}.promoting", "promote", "Keep a recording longer, by the tag that its purpose declares."
        ),
        "rewrap": Entry(
            f"{_HERE}.rewrapping",
            "rewrap",
            "Wrap recordings to the long-lived key, before their epoch's is destroyed.",
        ),
        "request": Entry(f"{_HERE}.requesting", "request", "Ask to hear a recording, where two must agree."),
        "approve": Entry(f"{_HERE}.requesting", "approve", "Approve that another person hears a recording."),
        "requests": Entry(f"{_HERE}.requesting", "listing", "List who asked to hear what."),
        "verify": Entry(f"{_HERE}.verifying", "verifying", "Check that recordings are what was sealed."),
    },
)
