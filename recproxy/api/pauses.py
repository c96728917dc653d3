"""Where a recording was paused, as the audit chain has it: to the moment of its line, not to the sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from recproxy.jsonform import Json
from storage import CatalogueRow

__all__ = ["pauses_of"]


def pauses_of(row: CatalogueRow, events: Iterable[Mapping[str, object]]) -> list[dict[str, Json]]:
    """The pauses of a recording, in order.

    Args:
        row: Which; one that is open has none yet.
        events: Lines of the audit chain, oldest first; read only if there was a pause.

    Returns:
        ``from_s`` and ``to_s``, seconds from its beginning and within it, and ``why`` it was paused.
    """
    facts, began = row.facts, row.tags.started
    if facts is None or not facts.pauses:
        return []
    found: list[dict[str, Json]] = []
    length_s = (facts.ended - began).total_seconds()
    since: tuple[float, str] | None = None
    for line in events:
        if line.get("call") != row.tags.call:
            continue
        at_s = min(max(0.0, (datetime.fromisoformat(str(line["ts"])) - began).total_seconds()), length_s)
        if line["event"] == "rec.paused" and since is None:
            since = at_s, str(line.get("why", ""))
        elif line["event"] == "rec.resumed" and since is not None:
            found.append(_pause(since, at_s))
            since = None
    return found if since is None else [*found, _pause(since, length_s)]


def _pause(since: tuple[float, str], to_s: float) -> dict[str, Json]:
    return {"from_s": round(since[0], 3), "to_s": round(to_s, 3), "why": since[1]}
