"""The commands that answer people who ask what was recorded of them."""

from __future__ import annotations

from typing import Final

from recproxy.cli.lazy import Entry, LazyGroup

__all__ = ["subject"]

_HERE: Final = "recproxy.cli.subject"

subject = LazyGroup(
    "subject",
    help="Answer people who ask what is recorded of them.",
    entries={
        "open": Entry(f"{_HERE}.opening", "opening", "Open a case; finds and freezes the recordings."),
        "find": Entry(f"{_HERE}.finding", "finding", "Look again, or by date, time and line."),
        "export": Entry(f"{_HERE}.exporting", "exporting", "Make the bundle: letter, audio, facts."),
        "erase": Entry(f"{_HERE}.deciding", "erase", "Shred, or say which law keeps it."),
        "rectify": Entry(f"{_HERE}.rectifying", "rectify", "Add what the person says of a recording."),
        "restrict": Entry(f"{_HERE}.restricting", "restrict", "Keep, but forbid the use."),
        "object": Entry(f"{_HERE}.restricting", "objecting", "Restrict at once, then decide."),
        "withdraw": Entry(f"{_HERE}.deciding", "withdraw", "Shred what rests on consent."),
        "status": Entry(f"{_HERE}.status", "status", "List cases and the days that are left."),
        "statistics": Entry(
            f"{_HERE}.status", "statistics", "Count requests by month: how fast, how often refused."
        ),
        "extend": Entry(f"{_HERE}.status", "extend", "Take two further months, once, for a reason."),
        "close": Entry(f"{_HERE}.status", "close", "End a case; what it froze goes its way."),
    },
)
