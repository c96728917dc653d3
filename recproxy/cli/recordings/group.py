"""The commands that read recordings."""

from __future__ import annotations

from typing import Final

from recproxy.cli.lazy import Entry, LazyGroup

__all__ = ["recordings", "transcript"]

_HERE: Final = "recproxy.cli.recordings"

transcript = LazyGroup(
    "transcript",
    help="Keep, read and remove what somebody wrote of the talk.",
    entries={
        "add": Entry(f"{_HERE}.transcripts", "add", "Keep a transcript, from standard input."),
        "show": Entry(f"{_HERE}.transcripts", "show", "Print the transcript of a recording."),
        "export": Entry(f"{_HERE}.transcripts", "export", "Decrypt the transcript of a recording to a file."),
        "list": Entry(f"{_HERE}.transcripts", "listing", "List transcripts, the first to expire first."),
        "remove": Entry(
            f"{_HERE}.transcripts", "remove", "Shred the transcript of a recording; the recording stays."
        ),
    },
)

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
        "transcript": Entry(
            f"{_HERE}.group", "transcript", "Keep, read and remove what somebody wrote of the talk."
        ),
        "verify": Entry(f"{_HERE}.verifying", "verifying", "Check that recordings are what was sealed."),
    },
)
